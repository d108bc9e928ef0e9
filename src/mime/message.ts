/** What is taken out of one message: the summary for lists and search, the bodies for readers, one part for a download. */
import type { AttachmentInfo, ParsedMessage } from "../model/mail.ts";
import { bodiesOf } from "./bodies.ts";
import { PartReading, plainTextOf, readParts, readTree, type Source, textOf } from "./contents.ts";
import { readHeaders } from "./headers.ts";
import { foldText, previewOf, searchTextOf } from "./readable.ts";
import type { Encoding } from "./transfer.ts";
import type { Part, TreeFailure } from "./tree.ts";

export type MessageBody =
  | {
      readonly status: "parsed";
      /** Plain text with LF line ends, or null when the message has none. */
      readonly text: string | null;
      /** Sanitised, or null when the message has no HTML. Its `cid:` addresses name content ids of the attachments. */
      readonly html: string | null;
      /** True when a body was longer than what is given (4 MiB of text, 2 MiB of HTML). */
      readonly truncated: boolean;
    }
  | { readonly status: "failed"; readonly reason: string };

/** Where a part stands, for whoever streams it. */
export type PartPlace =
  | {
      readonly status: "found";
      readonly contentType: string;
      readonly filename: string | null;
      /** Decoded size in bytes. */
      readonly size: number;
      readonly encoding: Encoding;
      readonly start: number;
      readonly end: number;
    }
  | { readonly status: "absent" }
  | { readonly status: "failed"; readonly reason: string };

/** Decoded octets and UTF-16 units that are enough for 64 KiB of search text. */
const plainRead = 128 * 1024;
const htmlRead = 512 * 1024;
const searchUnits = 96 * 1024;
/** Messages within the message lend their words to the search. */
const nestedRead = 128 * 1024;
const nestedLimit = 4;
const nestedDepth = 3;
const textLimit = 4 * 1024 * 1024;
const htmlLimit = 2 * 1024 * 1024;

const isFailure = (tree: Part | TreeFailure): tree is TreeFailure => typeof tree === "string";
const isHtml = ({ headers }: Part): boolean => headers.contentType === "text/html";
const isMessage = ({ headers }: Part): boolean =>
  headers.contentType === "message/rfc822" || headers.contentType === "message/global";

const memorySource = (octets: Buffer): Source => ({ size: octets.length, chunks: () => [octets] });

/** The part is shown inside the HTML by its content id. */
const isInline = ({ parent, headers }: Part): boolean =>
  headers.contentId !== null &&
  headers.disposition !== "attachment" &&
  (headers.disposition === "inline" || parent?.headers.contentType === "multipart/related");

const infoOf = ({ part, size }: PartReading): AttachmentInfo => ({
  partId: part.partId,
  filename: part.headers.filename,
  contentType: part.headers.contentType,
  size: part.headers.encoding === "identity" ? part.bodyEnd - part.bodyStart : size,
  contentId: part.headers.contentId,
  inline: isInline(part),
});

/** The words of a message within a message; its own parts are no attachments of the outer one. */
const nestedText = async (reading: PartReading, depth: number): Promise<string> => {
  const octets = reading.octets();
  const words = await summarise(memorySource(octets), depth + 1);
  const subject = readHeaders(octets).subject ?? "";
  return words.status === "parsed" ? `${subject} ${words.searchText}` : subject;
};

/** The summary of a message that is `depth` messages deep. */
export const summarise = async (source: Source, depth = 0): Promise<ParsedMessage> => {
  const tree = await readTree(source);
  if (isFailure(tree)) return { status: "failed", reason: tree };
  const bodies = bodiesOf(tree);
  const texts = new Map(
    [...bodies.text, ...bodies.html].map((part) => [
      part,
      new PartReading(part, { keep: isHtml(part) ? htmlRead : plainRead, counts: false }),
    ]),
  );
  let nested = depth < nestedDepth ? nestedLimit : 0;
  const attached = bodies.attached.map((part) => {
    const keep = isMessage(part) && nested > 0 ? nestedRead : 0;
    if (keep > 0) nested -= 1;
    return { reading: new PartReading(part, { keep, counts: part.headers.encoding !== "identity" }), lendsWords: keep > 0 };
  });
  await readParts(source, [...texts.values(), ...attached.map(({ reading }) => reading)]);
  const fold = (parts: readonly Part[]): string =>
    foldText(
      parts
        .flatMap((part) => texts.get(part) ?? [])
        .map((reading) => plainTextOf(reading, searchUnits))
        .join("\n"),
    );
  // Some writers send an empty plain text beside the HTML.
  const own = fold(bodies.text) || fold(bodies.html);
  const within: string[] = [];
  for (const { reading, lendsWords } of attached) if (lendsWords) within.push(foldText(await nestedText(reading, depth)));
  const names = bodies.attached.flatMap(({ headers }) => headers.filename ?? []);
  return {
    status: "parsed",
    preview: previewOf(own === "" ? within.join(" ").trim() : own),
    attachments: attached.map(({ reading }) => infoOf(reading)),
    searchText: searchTextOf(foldText([own, ...names, ...within].join(" "))),
  };
};

const escapeText = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** The readings of one body that fit into `limit` decoded octets together. */
const reserve = (parts: readonly Part[], limit: number): Map<Part, PartReading> => {
  let room = limit;
  const readings = new Map<Part, PartReading>();
  for (const part of parts) {
    if (room <= 0) break;
    const length = part.bodyEnd - part.bodyStart;
    // Room for one more than there is: a part that fits is then never taken for a cut one.
    readings.set(part, new PartReading(part, { keep: Math.min(room, length + 1), counts: false }));
    room -= length;
  }
  return readings;
};

export const readBody = async (source: Source): Promise<MessageBody> => {
  const tree = await readTree(source);
  if (isFailure(tree)) return { status: "failed", reason: tree };
  const bodies = bodiesOf(tree);
  const plain = bodies.text.some((part) => !isHtml(part)) ? bodies.text : [];
  const rich = bodies.html.some(isHtml) ? bodies.html : [];
  const plainReadings = reserve(plain, textLimit);
  const richReadings = reserve(rich, htmlLimit);
  await readParts(source, [...plainReadings.values()]);
  await readParts(source, [...richReadings.values()]);
  const text = [...plainReadings.values()].map((reading) => plainTextOf(reading, textLimit)).join("\n");
  const html = [...richReadings.values()].map((reading) =>
    isHtml(reading.part) ? textOf(reading) : `<pre>${escapeText(textOf(reading))}</pre>`,
  );
  // Loaded here, because only readers of bodies need it and it is the heaviest package of the room.
  const clean = html.length === 0 ? null : (await import("./sanitise.ts")).sanitiseHtml(html.join("\n"));
  const shortened = (parts: readonly Part[], limit: number): boolean =>
    parts.reduce((sum, part) => sum + part.bodyEnd - part.bodyStart, 0) > limit;
  return {
    status: "parsed",
    text: plain.length === 0 ? null : text,
    html: clean,
    truncated: shortened(plain, textLimit) || shortened(rich, htmlLimit),
  };
};

export const findPart = async (source: Source, partId: string): Promise<PartPlace> => {
  const tree = await readTree(source);
  if (isFailure(tree)) return { status: "failed", reason: tree };
  const part = leafAt(tree, partId);
  if (part === null) return { status: "absent" };
  const reading = new PartReading(part, { keep: 0, counts: part.headers.encoding !== "identity" });
  await readParts(source, [reading]);
  const { contentType, filename, size } = infoOf(reading);
  return {
    status: "found",
    contentType,
    filename,
    size,
    encoding: part.headers.encoding,
    start: part.bodyStart,
    end: part.bodyEnd,
  };
};

const leafAt = (root: Part, partId: string): Part | null => {
  if (root.children.length === 0) return partId === root.partId ? root : null;
  let part: Part | undefined = root;
  for (const step of partId.split(".", 1000)) {
    if (!/^[1-9]\d{0,5}$/.test(step)) return null;
    part = part.children[Number(step) - 1];
    if (part === undefined) return null;
  }
  return part.children.length === 0 ? part : null;
};
