import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fingerprint, fingerprintOfHead, FingerprintReader, type Fingerprint } from "../../src/mime/fingerprint.ts";
import { NormalForm } from "../../src/mime/normal-form.ts";
import { corpus, corpusIsHere } from "../support/corpus.ts";
import { makeMessages } from "../support/messages.ts";
import { views } from "../support/views.ts";

const normalForm = (raw: Buffer): Buffer => {
  const pieces: Buffer[] = [];
  const form = new NormalForm({ octets: (octets) => pieces.push(Buffer.from(octets)), headEnded: () => undefined });
  form.push(raw);
  form.end();
  return Buffer.concat(pieces);
};

const printOf = (raw: Buffer, cuts: readonly number[] = []): Fingerprint => {
  const reader = new FingerprintReader();
  let from = 0;
  for (const cut of [...cuts.map((share) => Math.floor(share * raw.length)).toSorted((a, b) => a - b), raw.length]) {
    reader.push(raw.subarray(from, cut));
    from = cut;
  }
  const { hFull, hHead, size } = reader.end();
  return { hFull, hHead, size };
};

/** Mail-like octets: every piece that the rules speak of, in any order. */
const pieces = [
  ...[
    "\r\n",
    "\n",
    "\r",
    "\r\r\n",
    "\n\n",
    "\r\n\r\n",
    " ",
    "\t",
    ":",
    "a",
    "Subject: x",
    "Status: RO",
    "x-uidl : 3",
    "Return-Path:",
  ],
  ...[
    "no field",
    "b\u00e4d: name",
    " continued",
    "Message-ID: <a@example.com>",
    "X-TUID: 1",
    "\0",
    "\u00ff",
    "From a",
    ": x",
    "body",
  ],
];
const mailLike = fc.array(fc.constantFrom(...pieces), { maxLength: 40 }).map((parts) => Buffer.from(parts.join(""), "latin1"));
const anything = fc.oneof(
  { weight: 4, arbitrary: mailLike },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 500 }).map((bytes) => Buffer.from(bytes)) },
);
const shares = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 });
const manyReturns = views["CR CR LF"];
const mails = [...makeMessages({ count: 200, meanBytes: 600 })].map(({ raw }) => raw);
const made = fc.constantFrom(...mails);

/** Octets of line ends that nothing follows. */
const finalEnds = (raw: Buffer): number => raw.length - raw.toString("latin1").replace(/[\r\n]+$/u, "").length;

describe("the normal form", () => {
  it("PB12: of a normal form is itself", () => {
    fc.assert(
      fc.property(anything, (raw) => {
        const once = normalForm(raw);
        expect(normalForm(once)).toEqual(once);
      }),
      { numRuns: 5000 },
    );
  });

  it("is the same however the octets are cut", () => {
    fc.assert(
      fc.property(anything, shares, (raw, cuts) => {
        expect(printOf(raw, cuts)).toEqual(printOf(raw));
      }),
      { numRuns: 3000 },
    );
  });

  it("PB12: is the same in every view of one mail, and so is the size, but for final line ends", () => {
    const view = fc.constantFrom(...Object.values(views));
    fc.assert(
      fc.property(made, view, view, (raw, one, other) => {
        const a = printOf(one(raw));
        const b = printOf(other(one(raw)));
        expect(b.hFull).toEqual(a.hFull);
        expect(b.hHead).toEqual(a.hHead);
        // Servers that turn CR CR LF to CR LF do so for both views.
        const final = Math.max(8, finalEnds(one(raw)), finalEnds(other(one(raw))));
        if (one !== manyReturns && other !== manyReturns) expect(Math.abs(a.size - b.size)).toBeLessThanOrEqual(final);
      }),
      { numRuns: 500 },
    );
  });

  it("keeps apart what differs in one octet of the body or of a field that is kept", () => {
    fc.assert(
      fc.property(made, fc.double({ min: 0, max: 0.999, noNaN: true }), (raw, share) => {
        const at = Math.floor(share * raw.length);
        const octet = raw[at] ?? 0;
        // Letters and digits only, and not the name of a field: those make a line another kind of line.
        fc.pre(/[a-z0-9]/i.test(String.fromCharCode(octet)));
        const other = Buffer.from(raw);
        other[at] = octet === 120 ? 121 : 120;
        expect(printOf(other).hFull).not.toEqual(printOf(raw).hFull);
      }),
      { numRuns: 1000 },
    );
  });

  it("has one hash for the header block, from the block alone and from the whole", () => {
    fc.assert(
      fc.property(made, fc.constantFrom(...Object.values(views)), (raw, view) => {
        const shown = view(raw);
        const end = shown.indexOf("\r\n\r\n");
        fc.pre(end >= 0);
        const { hHead, dropped } = fingerprintOfHead(shown.subarray(0, end + 4));
        const whole = printOf(shown);
        expect(hHead).toEqual(whole.hHead);
        // What the server lists, less what is dropped, is the size to compare.
        expect(shown.length - dropped).toBe(whole.size);
      }),
      { numRuns: 500 },
    );
  });
});

describe.for(["hostile", "mail"] as const)("the %s corpus", (kind) => {
  it("has normal forms of normal forms, equal views, and no two mails with one hash that are not views of one", async () => {
    const byHash = new Map<string, { name: string; raw: Buffer }>();
    let count = 0;
    for (const { name, raw } of corpus(kind)) {
      if (raw.length > 8 * 1024 * 1024) continue;
      count += 1;
      const once = normalForm(raw);
      expect(normalForm(once).equals(once), name).toBe(true);
      const print = await fingerprint([raw]);
      const key = print.hFull.toString("hex");
      const earlier = byHash.get(key);
      if (earlier !== undefined) expect(normalForm(earlier.raw).equals(once), `${name} and ${earlier.name}`).toBe(true);
      byHash.set(key, { name, raw });
      for (const view of ["POP3 completes the last line", "mbox adds a blank line", "return path"])
        expect(printOf(views[view]?.(raw) ?? raw).hFull.equals(print.hFull), `${name}: ${view}`).toBe(true);
    }
    expect(count).toBeGreaterThanOrEqual(corpusIsHere ? 500 : 20);
  }, 120_000);
});
