/** Mail as it comes, made up: the same seed gives the same octets. All lines end in CRLF, all names are reserved ones. */

export interface MadeMessage {
  readonly raw: Buffer;
  readonly flags: readonly string[];
  readonly internalDate: Date;
  /** With its angle brackets; null in a message that has none. */
  readonly messageId: string | null;
  readonly kind: MessageKind;
}

export type MessageKind = "plain" | "alternative" | "attachment" | "eightBit" | "odd";

export interface MessageWishes {
  readonly count: number;
  /** 1 where not given. */
  readonly seed?: number;
  /** Mean size; sizes are spread log-normally, as those of real mail are (8192). */
  readonly meanBytes?: number;
  /** How wide: the standard deviation of the logarithm; 0 makes all alike (1). */
  readonly spread?: number;
  /** In place of a mixture like that of a real mailbox. */
  readonly kinds?: readonly MessageKind[];
}

const mixture: readonly MessageKind[] = [
  ...(["plain", "plain", "plain", "plain", "alternative", "alternative", "alternative", "attachment"] as const),
  ...(["eightBit", "odd"] as const),
];

const words = (
  "the of and to in for is on that by this with you it not or be are from at as your all have new more an was we will can about if " +
  "page my has search free but our one other do no information time they site he up may what which their news out use any there see " +
  "only so his when contact here business who web also now help get view online first been would how were services some these like"
).split(" ");
const people = [
  "ana",
  "bo",
  "cem",
  "dora",
  "elif",
  "finn",
  "gus",
  "hana",
  "ivo",
  "jun",
  "kaya",
  "lena",
  "milo",
  "nils",
  "omar",
  "pia",
];

/** Small, quick and good enough: mulberry32. */
class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** In [0, 1). */
  fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }

  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }

  pick<T>(from: readonly T[]): T {
    const picked = from[this.below(from.length)];
    if (picked === undefined) throw new Error("nothing to pick from");
    return picked;
  }

  /** Standard normal, by Box and Muller. */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.fraction())) * Math.cos(2 * Math.PI * this.fraction());
  }

  sentence(length: number): string {
    return Array.from({ length }, () => this.pick(words)).join(" ");
  }
}

/** Lines to cut bodies out of: making each body word by word would cost more than storing it. */
interface Pool {
  readonly text: Buffer;
  readonly base64: Buffer;
}

const poolSize = 300_000;

const makePool = (chance: Chance): Pool => {
  const lines: string[] = [];
  for (let size = 0; size < poolSize;) {
    const line = chance.fraction() < 0.1 ? "" : chance.sentence(8 + chance.below(5)).slice(0, 76);
    lines.push(line);
    size += line.length + 2;
  }
  const noise = Buffer.from(Uint8Array.from({ length: poolSize }, () => chance.below(256)));
  return {
    text: Buffer.from(`${lines.join("\r\n")}\r\n`),
    base64: Buffer.from(noise.toString("base64").replaceAll(/.{76}/g, "$&\r\n")),
  };
};

/** About `size` octets of whole lines. */
const cut = (pool: Buffer, size: number, chance: Chance): Buffer => {
  const parts: Buffer[] = [];
  for (let left = Math.max(4, size); left > 0;) {
    const start = pool.indexOf("\r\n", chance.below(pool.length >> 1)) + 2;
    const end = pool.lastIndexOf("\r\n", Math.min(pool.length - 2, start + left)) + 2;
    if (end <= start) break;
    parts.push(pool.subarray(start, end));
    left -= end - start;
    if (left < 76) break;
  }
  return parts.length === 0 ? Buffer.from("short\r\n") : Buffer.concat(parts);
};

interface Draft {
  readonly number: number;
  readonly chance: Chance;
  readonly pool: Pool;
  /** Octets left for the body. */
  readonly size: number;
  readonly headers: string[];
}

const boundaryOf = (draft: Draft): string => `=_${draft.number}_${draft.chance.below(1e9).toString(36)}`;

const part = (boundary: string, headers: readonly string[], body: Buffer | string): Buffer =>
  Buffer.concat([Buffer.from(`--${boundary}\r\n${headers.join("\r\n")}\r\n\r\n`), Buffer.from(body), Buffer.from("\r\n")]);

const close = (boundary: string): Buffer => Buffer.from(`--${boundary}--\r\n`);

const plain = (draft: Draft): Buffer => {
  draft.headers.push("Content-Type: text/plain; charset=utf-8");
  return cut(draft.pool.text, draft.size, draft.chance);
};

const alternative = (draft: Draft): Buffer => {
  const boundary = boundaryOf(draft);
  draft.headers.push(`Content-Type: multipart/alternative; boundary="${boundary}"`);
  const text = cut(draft.pool.text, draft.size / 3, draft.chance);
  const html = Buffer.concat([
    Buffer.from("<html><body><p>\r\n"),
    cut(draft.pool.text, (draft.size * 2) / 3, draft.chance),
    Buffer.from("</p></body></html>"),
  ]);
  return Buffer.concat([
    part(boundary, ["Content-Type: text/plain; charset=utf-8"], text),
    part(boundary, ["Content-Type: text/html; charset=utf-8"], html),
    close(boundary),
  ]);
};

const attachment = (draft: Draft): Buffer => {
  const { chance, number, pool, size } = draft;
  const boundary = boundaryOf(draft);
  draft.headers.push(`Content-Type: multipart/mixed;\r\n\tboundary="${boundary}"`);
  const name = chance.pick([`filename="report ${number}.pdf"`, `filename*=utf-8''r%C3%A9sum%C3%A9%20${number}.pdf`]);
  const headers = [
    "Content-Type: application/pdf",
    `Content-Disposition: attachment;\r\n ${name}`,
    "Content-Transfer-Encoding: base64",
  ];
  return Buffer.concat([
    Buffer.from("This is a multi-part message in MIME format.\r\n"),
    part(boundary, ["Content-Type: text/plain; charset=us-ascii"], cut(pool.text, Math.min(600, size / 4), chance)),
    part(boundary, headers, cut(pool.base64, size - Math.min(600, size / 4), chance)),
    close(boundary),
  ]);
};

const eightBit = (draft: Draft): Buffer => {
  const latin = draft.chance.fraction() < 0.5;
  draft.headers.push(`Content-Type: text/plain; charset=${latin ? "iso-8859-1" : "utf-8"}`, "Content-Transfer-Encoding: 8bit");
  const greeting = Buffer.from("Grüße aus Ærø: naïve façade, ½ ¿cómo?\r\n", latin ? "latin1" : "utf8");
  return Buffer.concat([greeting, cut(draft.pool.text, draft.size, draft.chance)]);
};

type Oddity = (draft: Draft) => Buffer | undefined;

const without = (name: string): Oddity => {
  return ({ headers }) => {
    const at = headers.findIndex((header) => header.startsWith(`${name}:`));
    if (at !== -1) headers.splice(at, 1);
    return undefined;
  };
};

/** Each answers with a whole body, or undefined for the usual one. */
const oddities: readonly Oddity[] = [
  without("Message-ID"),
  without("Date"),
  without("From"),
  ({ headers }) => void headers.push("Subject: a second subject", "To: second@example.com"),
  ({ headers }) => void headers.push("X-Empty:", `X-Long: ${"x".repeat(3000)}`),
  ({ headers, chance }) => void headers.push(`X-Folded: ${Array.from({ length: 30 }, () => chance.pick(words)).join("\r\n ")}`),
  ({ headers }) => void headers.push("Content-Type: text/plain; charset=x-unknown-charset", "Content-Transfer-Encoding: rot13"),
  ({ headers }) => void headers.push("Content-Type: multipart/mixed; boundary=never-used"),
  () => Buffer.alloc(0),
  () => Buffer.from("From the start of a line\r\n.\r\n..\r\n.dots and no last line end"),
  ({ chance, pool }) => Buffer.from(cut(pool.text, 5000, chance).toString("latin1").replaceAll("\r\n", " ")),
];

const odd = (draft: Draft): Buffer => draft.chance.pick(oddities)(draft) ?? cut(draft.pool.text, draft.size, draft.chance);

const bodies: Readonly<Record<MessageKind, (draft: Draft) => Buffer>> = { plain, alternative, attachment, eightBit, odd };

const firstDate = Date.UTC(2024, 0, 1);

const subjectOf = (chance: Chance, number: number): string => {
  const subject = `${chance.sentence(2 + chance.below(6))} ${number}`;
  const flavour = chance.fraction();
  if (flavour < 0.12) return `=?utf-8?B?${Buffer.from(`Grüße ${subject} ✓`).toString("base64")}?=`;
  return flavour < 0.4 ? `Re: ${subject}` : subject;
};

const headersOf = (number: number, chance: Chance, messageId: string, ids: readonly string[]): string[] => {
  const from = chance.pick(people);
  const date = new Date(firstDate + number * 60_000).toUTCString().replace("GMT", "+0000");
  const headers = [
    `Received: from mx.example.org (mx.example.org [192.0.2.${chance.below(255)}])\r\n\tby mail.example.net with ESMTPS; ${date}`,
    `From: "${from}, ${chance.pick(people)}" <${from}@example.org>`,
    `To: ${chance.pick(people)}@example.net, <${chance.pick(people)}@example.com>`,
    `Subject: ${subjectOf(chance, number)}`,
    `Date: ${date}`,
    `Message-ID: ${messageId}`,
    "MIME-Version: 1.0",
  ];
  if (ids.length > 0 && chance.fraction() < 0.4) {
    const parent = chance.pick(ids);
    headers.push(`In-Reply-To: ${parent}`, `References: ${chance.pick(ids)}\r\n ${parent}`);
  }
  return headers;
};

const flagsOf = (chance: Chance): string[] =>
  (
    [
      ["\\Seen", 0.8],
      ["\\Answered", 0.15],
      ["\\Flagged", 0.05],
    ] as const
  )
    .filter(([, share]) => chance.fraction() < share)
    .map(([flag]) => flag);

/** Messages one after the other, so that twenty thousand need no room together. */
export function* makeMessages(wishes: MessageWishes): Generator<MadeMessage> {
  const { count, seed = 1, meanBytes = 8192, spread = 1, kinds = mixture } = wishes;
  const chance = new Chance(seed);
  const pool = makePool(chance);
  const ids: string[] = [];
  for (let number = 1; number <= count; number += 1) {
    const messageId = `<${number}.${seed}.${chance.below(1e9).toString(36)}@mail.example.org>`;
    const headers = headersOf(number, chance, messageId, ids);
    const wanted = Math.exp(Math.log(meanBytes) - (spread * spread) / 2 + spread * chance.normal());
    const used = headers.reduce((sum, header) => sum + header.length + 2, 100);
    const kind = chance.pick(kinds);
    const body = bodies[kind]({ number, chance, pool, size: Math.max(100, wanted - used), headers });
    const raw = Buffer.concat([Buffer.from(`${headers.join("\r\n")}\r\n\r\n`), body]);
    const kept = headers.some((header) => header.startsWith("Message-ID:"));
    if (kept) ids.push(messageId);
    if (ids.length > 200) ids.splice(0, 100);
    const internalDate = new Date(firstDate + number * 60_000 + 1000);
    yield { raw, flags: flagsOf(chance), internalDate, messageId: kept ? messageId : null, kind };
  }
}
