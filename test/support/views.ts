/** One mail as different servers and protocols show it (semantics 2.2, 2.3 and 7.1 E16). All give the message's octets only. */

const latin1 = (raw: Buffer): string => raw.toString("latin1");
const octets = (text: string): Buffer => Buffer.from(text, "latin1");

/** Puts a line at the head of the header block. */
const before = (raw: Buffer, line: string): Buffer => Buffer.concat([octets(`${line}\r\n`), raw]);

/** Puts a line at the end of the header block of a mail with CRLF line ends; a mail without body is left alone. */
const within = (raw: Buffer, line: string): Buffer => {
  const at = raw.indexOf("\r\n\r\n");
  return at < 0 ? raw : Buffer.concat([raw.subarray(0, at + 2), octets(`${line}\r\n`), raw.subarray(at + 2)]);
};

const endsInNewline = (raw: Buffer): boolean => raw.at(-1) === 10;

export const views: Readonly<Record<string, (raw: Buffer) => Buffer>> = {
  "as it is": (raw) => raw,
  "bare LF": (raw) => octets(latin1(raw).replaceAll("\r\n", "\n")),
  "NUL as IMAP shows it": (raw) => octets(latin1(raw).replaceAll("\0", "\u0080")),
  "CR CR LF": (raw) => octets(latin1(raw).replaceAll("\r\n", "\r\r\n")),
  "POP3 completes the last line": (raw) => (endsInNewline(raw) ? raw : Buffer.concat([raw, octets("\r\n")])),
  "mbox adds a blank line": (raw) => Buffer.concat([raw, octets("\r\n\r\n")]),
  "no final line end": (raw) => octets(latin1(raw).replace(/[\r\n]+$/, "")),
  "mbox status": (raw) =>
    within(before(raw, "X-UIDL: 0000001a4b2e5c3f"), "Status: RO\r\nX-Status: A\r\nX-Keywords: work\r\n  home"),
  "return path": (raw) => before(raw, "Return-Path: <ana@example.com>"),
  "isync mark": (raw) => within(raw, "X-TUID: 4dh3kd93kfj3"),
  "length and spelling": (raw) => within(raw, "CONTENT-LENGTH : 812"),
  "a line without a name": (raw) => within(raw, "not a field\r\nb\u00e4d: name"),
  "a From_ line": (raw) => before(raw, "From ana@example.com Thu Mar  7 10:00:00 2024"),
  "a blank continuation": (raw) => within(raw, " \t"),
};
