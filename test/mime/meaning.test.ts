import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { meaningOf } from "../../src/mime/meaning.ts";

const hashOf = async (raw: string | Buffer): Promise<string | null> => {
  const octets = typeof raw === "string" ? Buffer.from(raw, "latin1") : raw;
  return (await meaningOf({ size: octets.length, chunks: () => [octets] }, octets))?.toString("hex") ?? null;
};

interface Content {
  readonly subject: string;
  readonly text: string;
  readonly file: Buffer;
}

interface Rendering {
  readonly encoding: "base64" | "quoted-printable" | "8bit";
  readonly boundary: string;
  readonly newline: "\r\n" | "\n";
  readonly zone: number;
  readonly extra: string;
  readonly end: string;
}

const quoted = (octets: Buffer): string =>
  [...octets]
    .map((octet) => `=${octet.toString(16).toUpperCase().padStart(2, "0")}`)
    .join("")
    .replaceAll(/(.{60})/g, "$1=\r\n");

const encoded = (octets: Buffer, { encoding }: Rendering): string =>
  encoding === "base64"
    ? octets.toString("base64").replaceAll(/(.{76})/g, "$1\r\n")
    : encoding === "quoted-printable"
      ? quoted(octets)
      : octets.toString("latin1");

const sentAt = Date.UTC(2024, 2, 7, 10, 0, 0);
const dateIn = (zone: number): string =>
  `${new Date(sentAt + zone * 3_600_000).toUTCString().slice(5, 25)} ${zone < 0 ? "-" : "+"}${String(Math.abs(zone)).padStart(2, "0")}00`;

/** One mail as a server may make it up. */
const render = ({ subject, text, file }: Content, how: Rendering): string => {
  const { boundary, extra } = how;
  const word = `=?utf-8?B?${Buffer.from(subject).toString("base64")}?=`;
  const lines = [
    ...[
      `Subject: ${word}`,
      `From: "Ana" <ana@example.com>`,
      extra,
      `Date: ${dateIn(how.zone)}`,
      "Message-ID:",
      " <1@example.com>",
    ],
    ...["MIME-Version: 1.0", `Content-Type: multipart/mixed; boundary="${boundary}"`, "", `--${boundary}`],
    ...["Content-Type: text/plain; charset=utf-8", `Content-Transfer-Encoding: ${how.encoding}`, ""],
    ...[encoded(Buffer.from(text), how), `--${boundary}`, "Content-Type: image/png", "Content-Transfer-Encoding: base64", ""],
    ...[file.toString("base64"), `--${boundary}--`],
  ];
  return `${lines.join("\r\n")}${how.end}`.replaceAll("\r\n", how.newline);
};

const words = fc.array(fc.stringMatching(/^[a-zäöüß]{1,8}$/), { minLength: 1, maxLength: 30 }).map((list) => list.join(" "));
const content = fc.record({
  subject: words,
  text: words,
  file: fc.uint8Array({ minLength: 1, maxLength: 50 }).map((bytes) => Buffer.from(bytes)),
});
const rendering: fc.Arbitrary<Rendering> = fc.record({
  encoding: fc.constantFrom("base64", "quoted-printable", "8bit"),
  boundary: fc.stringMatching(/^b[0-9A-Z]{8}$/),
  newline: fc.constantFrom("\r\n", "\n"),
  zone: fc.integer({ min: -11, max: 12 }),
  extra: fc.constantFrom("X-Made-Up: today", "Received: by mx.example.com", "X-Priority: 3"),
  end: fc.constantFrom("", "\r\n", "\r\n\r\n"),
});

describe("what a message says", () => {
  it("is the same however a server writes it down", async () => {
    await fc.assert(
      fc.asyncProperty(content, rendering, rendering, async (said, one, other) => {
        expect(await hashOf(render(said, one))).toBe(await hashOf(render(said, other)));
      }),
      { numRuns: 400 },
    );
  });

  it("is another thing when the subject, the text or the file is", async () => {
    await fc.assert(
      fc.asyncProperty(content, content, rendering, async (said, other, how) => {
        fc.pre(said.subject !== other.subject && said.text !== other.text && !said.file.equals(other.file));
        const changed = (["subject", "text", "file"] as const).map((key) => ({ ...said, [key]: other[key] }));
        const hashes = await Promise.all([said, ...changed].map((one) => hashOf(render(one, how))));
        expect(new Set(hashes).size).toBe(4);
      }),
      { numRuns: 200 },
    );
  });

  it("is another thing in a mail with another Message-ID, and nothing is claimed of what cannot be read", async () => {
    const raw = "Message-ID: <1@example.com>\r\nSubject: a\r\n\r\nbody\r\n";
    expect(await hashOf(raw)).not.toBe(await hashOf(raw.replace("<1@", "<2@")));
    const bomb = `Content-Type: multipart/mixed; boundary=b\r\n\r\n${"--b\r\n\r\n\r\n".repeat(3000)}--b--`;
    expect(await hashOf(bomb)).toBeNull();
    expect(await hashOf(`Subject: a\r\n\r\n${"long ".repeat(2_000_000)}`)).toBeNull();
  });
});
