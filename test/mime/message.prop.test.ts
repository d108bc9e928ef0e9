import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Source } from "../../src/mime/contents.ts";
import { findPart, readBody, summarise } from "../../src/mime/message.ts";
import { transferDecoder } from "../../src/mime/transfer.ts";
import type { AttachmentInfo } from "../../src/model/mail.ts";

const unprintable = /[\p{Cc}\p{Zl}\p{Zp}]/u;
const pieces = [
  ...[
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "\n\n",
    "--a",
    "--b",
    "--a--",
    "--b--",
    "-",
    "--",
    " ",
    "\0",
    "\xff",
    "=",
    "=\r\n",
    "=C3",
    "text",
  ],
  ...["Content-Type: multipart/mixed; boundary=a\r\n\r\n", "Content-Type: multipart/alternative;\r\n boundary=b\r\n\r\n"],
  ...[
    "Content-Type: text/html; charset=utf-16\r\n",
    "Content-Type: message/rfc822\r\n\r\n",
    "Content-Type: multipart/digest; boundary=a\n\n",
  ],
  ...[
    "Content-Transfer-Encoding: base64\r\n",
    "Content-Transfer-Encoding: quoted-printable\n",
    "Content-Disposition: attachment\r\n",
  ],
  ...["QUJD", "<p>", "<script>", "</script>", "&amp;", "+AGE-", "\x1b$B"],
];
const rubbish = fc.uint8Array({ maxLength: 500 }).map((octets) => Buffer.from(octets));
const shaped = fc.array(fc.constantFrom(...pieces), { maxLength: 60 }).map((parts) => Buffer.from(parts.join(""), "latin1"));
const anything = fc.oneof({ arbitrary: shaped, weight: 4 }, { arbitrary: rubbish, weight: 1 });

const whole = (raw: Buffer): Source => ({ size: raw.length, chunks: () => [raw] });

/** The same octets in chunks of these sizes, over and over. */
const cut = (raw: Buffer, sizes: readonly number[]): Source => ({
  size: raw.length,
  *chunks() {
    for (let at = 0, turn = 0; at < raw.length; turn += 1) {
      const end = at + (sizes[turn % sizes.length] ?? 1);
      yield raw.subarray(at, end);
      at = end;
    }
  },
});
const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 });

/** The decoded octets of a part, as the parser's caller reads them. */
const contentOf = async (raw: Buffer, partId: string): Promise<Buffer> => {
  const place = await findPart(whole(raw), partId);
  if (place.status !== "found") throw new Error(`${partId} is ${place.status}`);
  const decoder = transferDecoder(place.encoding);
  return Buffer.concat([decoder.push(raw.subarray(place.start, place.end)), decoder.end()]);
};

describe("taking a message apart", () => {
  it("takes any octets, and gives previews of printable text and parts that are there", async () => {
    await fc.assert(
      fc.asyncProperty(anything, async (raw) => {
        const parsed = await summarise(whole(raw));
        const body = await readBody(whole(raw));
        expect(body.status).toBe("parsed");
        if (parsed.status === "failed") throw new Error(parsed.reason);
        expect(parsed.preview).not.toMatch(unprintable);
        expect(Array.from(parsed.preview).length).toBeLessThanOrEqual(256);
        expect(parsed.searchText.isWellFormed()).toBe(true);
        for (const { partId, size } of parsed.attachments) expect((await contentOf(raw, partId)).length).toBe(size);
      }),
      { numRuns: 1000 },
    );
  });

  it("gives the same in whatever chunks the octets come", async () => {
    await fc.assert(
      fc.asyncProperty(anything, sizes, async (raw, chunks) => {
        // Whether a message has bare CR line ends is told by its first chunk, which is a whole MiB where it matters.
        const pieceByPiece = cut(raw, [raw.includes(10) ? raw.indexOf(10) + 1 : Math.max(1, raw.length), ...chunks]);
        expect(await summarise(pieceByPiece)).toEqual(await summarise(whole(raw)));
        expect(await readBody(pieceByPiece)).toEqual(await readBody(whole(raw)));
      }),
      { numRuns: 1000 },
    );
  });

  it("gives attachments back octet for octet, however they were encoded and wherever they stood", async () => {
    const content = fc.oneof(
      fc.uint8Array({ maxLength: 300 }).map((octets) => Buffer.from(octets)),
      fc
        .array(fc.constantFrom("\r\n", "--", "--b", "\n", "x", " ", "=", "--bb\r\n"), { maxLength: 20 })
        .map((parts) => Buffer.from(parts.join(""))),
    );
    const lineEnd = fc.constantFrom("\r\n", "\n");
    const encoding = fc.constantFrom("base64", "quoted-printable", "8bit");
    const attachment = fc.record({ content, encoding, width: fc.integer({ min: 4, max: 76 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(attachment, { minLength: 1, maxLength: 5 }), lineEnd, sizes, async (attachments, end, chunks) => {
        // A CR before the LF that belongs to the boundary cannot be told from the line end of others.
        fc.pre(
          end === "\r\n" || attachments.every(({ content: octets, encoding: name }) => name !== "8bit" || octets.at(-1) !== 13),
        );
        const parts = attachments.map(({ content: octets, encoding: name, width }) =>
          Buffer.concat([
            Buffer.from(["--=_outer", "Content-Disposition: attachment", `Content-Transfer-Encoding: ${name}`, "", ""].join(end)),
            encoded(octets, name, width, end),
            Buffer.from(end),
          ]),
        );
        const head = ['Content-Type: multipart/mixed; boundary="=_outer"', "", ""].join(end);
        const raw = Buffer.concat([Buffer.from(head), ...parts, Buffer.from("--=_outer--")]);
        const parsed = await summarise(cut(raw, chunks));
        const list: readonly AttachmentInfo[] = parsed.status === "parsed" ? parsed.attachments : [];
        expect(list.map(({ size }) => size)).toEqual(attachments.map(({ content: { length } }) => length));
        for (const [index, { partId }] of list.entries())
          expect(await contentOf(raw, partId)).toEqual(attachments[index]?.content);
      }),
      { numRuns: 500 },
    );
  });
});

const encoded = (octets: Buffer, name: string, width: number, end: string): Buffer => {
  if (name === "8bit") return octets;
  if (name === "base64")
    return Buffer.from(octets.toString("base64").replaceAll(new RegExp(`.{${width}}(?=.)`, "g"), `$&${end}`));
  const plain = [...octets].map((octet) => `=${octet.toString(16).toUpperCase().padStart(2, "0")}`);
  return Buffer.from(plain.map((code, at) => (at % width === width - 1 ? `${code}=${end}` : code)).join(""));
};

describe("a transfer encoding", () => {
  const inChunks = (name: "base64" | "quoted-printable", source: Source): Buffer => {
    const decoder = transferDecoder(name);
    const decoded: Buffer[] = [];
    for (const chunk of source.chunks() as Iterable<Buffer>) decoded.push(Buffer.from(decoder.push(chunk)));
    return Buffer.concat([...decoded, decoder.end()]);
  };

  it("base64 is decoded as Node does it, with line ends anywhere and in any chunks", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), fc.integer({ min: 1, max: 80 }), sizes, (octets, width, chunks) => {
        const text = Buffer.from(octets)
          .toString("base64")
          .replaceAll(new RegExp(`.{${width}}`, "g"), "$&\r\n");
        expect(inChunks("base64", cut(Buffer.from(text), chunks))).toEqual(Buffer.from(text, "base64"));
      }),
    );
  });

  it("base64 goes on behind padding in the middle, for some writers encode piece by piece", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 20 }), { maxLength: 10 }), sizes, (list, chunks) => {
        const text = list.map((octets) => Buffer.from(octets).toString("base64")).join("\n");
        expect(inChunks("base64", cut(Buffer.from(text), chunks))).toEqual(Buffer.concat(list));
      }),
    );
  });

  it.each(["base64", "quoted-printable"] as const)("%s of anything is decoded alike in any chunks", (name) => {
    const text = fc.array(fc.constantFrom("=", "==", "QUJD", "Q", "4", "1", "=41", "=4", "\r", "\n", " ", "\t", "\xff", "!"), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(text, sizes, (parts, chunks) => {
        const octets = Buffer.from(parts.join(""), "latin1");
        expect(inChunks(name, cut(octets, chunks))).toEqual(inChunks(name, whole(octets)));
      }),
      { numRuns: 2000 },
    );
  });
});
