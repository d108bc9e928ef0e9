import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { fingerprint, fingerprintOfHead } from "../../src/mime/fingerprint.ts";

const octets = (text: string): Buffer => Buffer.from(text, "latin1");
const hex = (text: string): string => createHash("sha256").update(octets(text)).digest("hex");
const full = async (text: string): Promise<string> => (await fingerprint([octets(text)])).hFull.toString("hex");
const head = (text: string): string => fingerprintOfHead(octets(text)).hHead.toString("hex");

/** What IMAP and POP3 of one server showed of one mail, or two servers of one account, and what they have in common. */
const pairs: readonly { readonly what: string; readonly imap: string; readonly pop3: string; readonly common: string }[] = [
  {
    what: "no final line end: Dovecot lists 19 octets and sends 21",
    imap: "Subject: odd\r\n\r\nend",
    pop3: "Subject: odd\r\n\r\nend\r\n",
    common: "Subject: odd\n\nend",
  },
  {
    what: "a message that ends in a CR",
    imap: "Subject: a\r\n\r\nend\r",
    pop3: "Subject: a\r\n\r\nend\r\r\n",
    common: "Subject: a\n\nend",
  },
  {
    what: "CR CR LF in the body, which storage turned to CR LF",
    imap: "Subject: a\r\n\r\none\r\ntwo\rthree\r\n",
    pop3: "Subject: a\r\n\r\none\r\r\ntwo\rthree\r\n",
    common: "Subject: a\n\none\ntwo\rthree",
  },
  {
    what: "NUL, which no IMAP literal holds: Dovecot puts 0x80 in its place",
    imap: "Subject: a\u0080\r\n\r\none\u0080two\r\n",
    pop3: "Subject: a\0\r\n\r\none\0two\r\n",
    common: "Subject: a\u0080\n\none\u0080two",
  },
  {
    what: "an mbox that keeps its own fields",
    imap: "Subject: a\r\nFrom: b@example.com\r\n\r\nbody\r\n\r\n",
    pop3: "X-UIDL: 17\r\nSubject: a\r\nStatus: RO\r\nX-Keywords: one\r\n two\r\nFrom: b@example.com\r\n\r\nbody\r\n",
    common: "Subject: a\nFrom: b@example.com\n\nbody",
  },
  {
    what: "Yahoo: POP3 lacks Return-Path, IMAP lacks fields with an invalid name",
    imap: "Return-Path: <c@example.com>\r\nSubject: a\r\n\r\nbody",
    pop3: "Subject: a\r\nbad name: x\r\n with more\r\n\r\nbody\r\n",
    common: "Subject: a\n\nbody",
  },
  {
    what: "Zimbra: a continuation line of blanks",
    imap: "X-Long: one\r\n two\r\n\r\nbody\r\n",
    pop3: "X-Long: one\r\n \t\r\n two\r\n\r\nbody\r\n",
    common: "X-Long: one\n two\n\nbody",
  },
  {
    what: "a bare CR CR LF line ends the header block",
    imap: "Subject: a\r\n\r\nStatus: kept, for this is the body\r\n",
    pop3: "Subject: a\r\n\r\r\nStatus: kept, for this is the body\r\n",
    common: "Subject: a\n\nStatus: kept, for this is the body",
  },
];

describe("the hashes of a mail", () => {
  it.for(pairs)("are the same in both views: $what", async ({ imap, pop3, common }) => {
    expect(await full(imap)).toBe(hex(common));
    expect(await full(pop3)).toBe(hex(common));
    expect(head(imap)).toBe(hex(common.slice(0, common.indexOf("\n\n"))));
    expect(head(pop3)).toBe(head(imap));
  });

  it("tell two texts without any header field apart, however they are called mail", async () => {
    expect(await full("one\r\n\r\nbody")).not.toBe(await full("two\r\n\r\nbody"));
    expect(await full("Status: RO\r\none\r\n\r\nbody")).toBe(await full("one\r\n\r\nbody"));
    const long = "a line without a name\r\n".repeat(5000);
    expect(await full(`${long}Subject: late\r\n\r\n`)).toBe(hex(`${long}Subject: late`.replaceAll("\r\n", "\n")));
  });

  it("count the size with CRLF and without what is dropped", async () => {
    const crlf = "Subject: a\r\nStatus: RO\r\n more\r\n\r\nbody\r\n";
    expect((await fingerprint([octets(crlf)])).size).toBe("Subject: a\r\n\r\nbody\r\n".length);
    expect((await fingerprint([octets(crlf.replaceAll("\r\n", "\n"))])).size).toBe("Subject: a\r\n\r\nbody\r\n".length);
    expect(fingerprintOfHead(octets(crlf)).dropped).toBe("Status: RO\r\n more\r\n".length);
  });
});
