import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readHeaders } from "../../src/mime/headers.ts";

const unprintable = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/u;
const names = ["Message-ID", "In-Reply-To", "References", "Subject", "From", "To", "Cc", "Bcc", "Date", "Content-Type"];
const pieces = [
  ...[
    "=?utf-8?q?=00=0A=E2?=",
    "=?utf-8?B?4py?=",
    "=?",
    "?=",
    "<a@b>",
    "<",
    ">",
    "(",
    ")",
    '"',
    "\\",
    ",",
    ";",
    ":",
    "[",
    "]",
    "@",
  ],
  ...[
    "\r\n ",
    "\n\t",
    "\r",
    "\0",
    "\x1b",
    "\xe2\x80\xae",
    "\xc3",
    "\xff",
    " ",
    "a",
    "1 Mar 2024 10:00",
    "+0100",
    "charset=utf-8",
  ],
];

const octets = fc.uint8Array({ maxLength: 2000 }).map((bytes) => Buffer.from(bytes));
const value = fc.array(fc.constantFrom(...pieces), { maxLength: 30 }).map((parts) => parts.join(""));
const field = fc.tuple(fc.constantFrom(...names), value).map(([name, text]) => `${name}: ${text}\r\n`);
const block = fc.array(field, { maxLength: 12 }).map((fields) => Buffer.from(`${fields.join("")}\r\n`, "latin1"));
const anything = fc.oneof(octets, block, fc.tuple(block, octets).map(Buffer.concat.bind(Buffer)));

const textsOf = (head: Buffer): string[] => {
  const { messageId, inReplyTo, references, subject, from, to, cc, bcc } = readHeaders(head);
  const addresses = [...from, ...to, ...cc, ...bcc].flatMap(({ name, email }) => [name, email]);
  return [messageId, inReplyTo, subject, ...references, ...addresses].filter((text) => text !== null);
};

describe("reading headers", () => {
  it("takes any octets and gives printable lines of bounded length", () => {
    fc.assert(
      fc.property(anything, (head) => {
        for (const text of textsOf(head)) {
          expect(text).not.toMatch(unprintable);
          expect(text.isWellFormed()).toBe(true);
          expect(text.length).toBeLessThanOrEqual(2000);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("does not look behind the empty line", () => {
    fc.assert(
      fc.property(block, octets, (head, body) => {
        fc.pre(!/\n\r?\n[^]/.test(head.toString("latin1")));
        expect(readHeaders(Buffer.concat([head, body]))).toEqual(readHeaders(head));
      }),
    );
  });

  it("gives names and addresses back as they were written", () => {
    const word = fc.stringMatching(/^[A-Za-zäöüéñ]{1,12}$/);
    const mailbox = fc.record({
      name: fc.array(word, { minLength: 1, maxLength: 3 }).map((words) => words.join(" ")),
      email: fc.tuple(fc.stringMatching(/^[a-z0-9.+_-]{1,12}$/), fc.constant("example.com")).map((parts) => parts.join("@")),
    });
    const spell = ({ name, email }: { name: string; email: string }, how: number): string =>
      [`${name} <${email}>`, `"${name}" <${email}>`, `=?utf-8?B?${Buffer.from(name).toString("base64")}?= <${email}>`][how] ?? "";
    fc.assert(
      fc.property(fc.array(fc.tuple(mailbox, fc.nat(2)), { minLength: 1, maxLength: 8 }), (list) => {
        const text = list.map(([one, how]) => spell(one, how)).join(",\r\n ");
        expect(readHeaders(Buffer.from(`To: ${text}\r\n\r\n`)).to).toEqual(list.map(([one]) => one));
      }),
    );
  });

  it("gives every second of 400 years back from the usual form of a date", () => {
    const seconds = fc.integer({ min: Date.UTC(1901, 0) / 1000, max: Date.UTC(2300, 0) / 1000 });
    fc.assert(
      fc.property(seconds, (at) => {
        const date = new Date(at * 1000);
        expect(readHeaders(Buffer.from(`Date: ${date.toUTCString().replace("GMT", "+0000")}\r\n\r\n`)).sentAt).toEqual(date);
      }),
    );
  });
});
