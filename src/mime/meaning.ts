/**
 * What a message says, however it is written down (semantics 2.1, level L5): for servers that make up the octets anew at each
 * reading, so that neither encodings, boundaries, folding nor the order of fields are the same twice. Reads the whole message.
 */
import { createHash, type Hash } from "node:crypto";
import { PartReading, type Reading, readParts, readTree, type Source, textOf } from "./contents.ts";
import { readHeaders } from "./headers.ts";
import { foldText } from "./readable.ts";
import { transferDecoder } from "./transfer.ts";
import type { Part } from "./tree.ts";

/** Decoded octets of one text that are looked at; of a message with a longer one nothing is claimed. */
const textLimit = 8 * 1024 * 1024;

/** Content that is the same octets in every rendering. */
class OctetsHash implements Reading {
  readonly part: Part;
  readonly satisfied = false;
  private readonly decoder;
  private readonly hash: Hash = createHash("sha256");

  constructor(part: Part) {
    this.part = part;
    this.decoder = transferDecoder(part.headers.encoding);
  }

  push(chunk: Buffer): void {
    this.hash.update(this.decoder.push(chunk));
  }

  end(): void {
    this.hash.update(this.decoder.end());
  }

  digest(): Buffer {
    return this.hash.digest();
  }
}

const leavesOf = (root: Part): Part[] => {
  const leaves: Part[] = [];
  const waiting = [root];
  for (let part = waiting.pop(); part !== undefined; part = waiting.pop()) {
    if (part.children.length === 0) leaves.push(part);
    else waiting.push(...part.children.toReversed());
  }
  return leaves;
};

/** Without a transfer encoding the content is lines, whose ends are not the same in every rendering. */
const isLines = ({ headers }: Part): boolean => headers.contentType.startsWith("text/") || headers.encoding === "identity";

/**
 * SHA-256 over Message-ID, date, sender and subject as decoded, and the decoded content of every leaf in order, white space in
 * texts folded. null when the message cannot be read to its end: too many parts, too deep, or a text of more than 8 MiB.
 * `head` is the message's start with the header block. Rejects when reading the octets does.
 */
export const meaningOf = async (source: Source, head: Buffer): Promise<Buffer | null> => {
  const tree = await readTree(source);
  if (typeof tree === "string") return null;
  const readings = leavesOf(tree).map((part) =>
    isLines(part) ? new PartReading(part, { keep: textLimit, counts: false }) : new OctetsHash(part),
  );
  await readParts(source, readings);
  const { messageId, sentAt, from, subject } = readHeaders(head);
  const facts = [messageId, sentAt?.getTime() ?? null, from[0]?.email.toLowerCase() ?? null, foldText(subject ?? "")];
  const hash = createHash("sha256").update(JSON.stringify(facts));
  for (const reading of readings) {
    if (reading instanceof OctetsHash) hash.update(reading.digest());
    else if (reading.cut) return null;
    else
      hash.update(
        createHash("sha256")
          .update(foldText(textOf(reading)))
          .digest(),
      );
  }
  return hash.digest();
};
