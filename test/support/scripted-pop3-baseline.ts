/** How a sane and small POP3 server answers (RFC 1939, RFC 2449). */
import { headOf, type ScriptedMailbox, type ScriptedMessage, textOf } from "./scripted-mailbox.ts";

/** Dots doubled at line starts, and a last line that ends. */
const stuffed = (text: string): string => text.replaceAll(/^\./gm, "..").replace(/(?<!\r\n)$/, "\r\n");

const topOf = (raw: string, lines: number): string =>
  headOf(raw) +
  textOf(raw)
    .split(/(?<=\r\n)/)
    .slice(0, lines)
    .join("");

const noSuchMessage = "-ERR no such message\r\n";

/** One line about each message, or about the one that is asked for. */
const listing = (
  shown: readonly ScriptedMessage[],
  asked: string | undefined,
  about: (message: ScriptedMessage, at: number) => string,
): string => {
  if (asked === undefined) return `+OK\r\n${shown.map((message, at) => `${at + 1} ${about(message, at)}\r\n`).join("")}.\r\n`;
  const message = shown[Number(asked) - 1];
  return message === undefined ? noSuchMessage : `+OK ${asked} ${about(message, Number(asked) - 1)}\r\n`;
};

/** What one session shows, numbered from 1; `gone`: UIDs that no session shows any more. */
export const shownOf = ({ messages, state }: ScriptedMailbox, gone: ReadonlySet<number>): readonly ScriptedMessage[] =>
  messages
    .filter(({ uid }) => !gone.has(uid))
    .slice(state.newest === undefined ? 0 : -state.newest)
    .slice(0, state.window);

export const answerPop3 = (shown: readonly ScriptedMessage[], uidls: readonly string[] | undefined, command: string): string => {
  const [verb = "", first, second] = command.trim().split(/\s+/);
  const message = shown[Number(first) - 1];
  switch (verb.toUpperCase()) {
    case "CAPA":
      return "+OK\r\nUSER\r\nUIDL\r\nTOP\r\nRESP-CODES\r\n.\r\n";
    case "STAT":
      return `+OK ${shown.length} ${shown.reduce((sum, { raw }) => sum + raw.length, 0)}\r\n`;
    case "LIST":
      return listing(shown, first, ({ raw }) => String(raw.length));
    case "UIDL":
      return listing(shown, first, ({ uid }, at) => uidls?.[at] ?? `uid-${uid}`);
    case "RETR":
      return message === undefined ? noSuchMessage : `+OK\r\n${stuffed(message.raw)}.\r\n`;
    case "TOP":
      return message === undefined ? noSuchMessage : `+OK\r\n${stuffed(topOf(message.raw, Number(second)))}.\r\n`;
    case "USER":
    case "PASS":
    case "APOP":
    case "AUTH":
    case "DELE":
    case "NOOP":
    case "RSET":
    case "QUIT":
    case "UTF8":
    case "LANG":
      return "+OK\r\n";
    default:
      return "-ERR unknown command\r\n";
  }
};
