/**
 * Mail that others wrote: the shared corpus where this machine has it (beside the checkout, or in SAMEBOX_TEST_CORPUS),
 * made-up mail elsewhere, so that what is promised about the corpus is always checked on something.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { hostileMail, type NamedMail } from "./hostile-mail.ts";
import { makeMessages } from "./messages.ts";

const folder = process.env["SAMEBOX_TEST_CORPUS"] ?? fileURLToPath(new URL("../../../shared/corpus", import.meta.url));
const block = 512;

const field = (header: Buffer, from: number, length: number): string => {
  const end = header.indexOf(0, from);
  return header.toString("utf8", from, end < 0 ? from + length : Math.min(end, from + length));
};

/** The plain files of a ustar archive (POSIX.1-1988), in order. */
function* untar(archive: Buffer): Generator<NamedMail> {
  for (let at = 0; at + block <= archive.length && archive[at] !== 0;) {
    const header = archive.subarray(at, at + block);
    const size = Number.parseInt(field(header, 124, 12), 8);
    const name = [field(header, 345, 155), field(header, 0, 100)].filter((part) => part !== "").join("/");
    const start = at + block;
    if (header[156] === 48) yield { name, raw: archive.subarray(start, start + size) };
    at = start + Math.ceil(size / block) * block;
  }
}

function* archived(kind: "mail" | "hostile"): Generator<NamedMail> {
  const within = join(folder, kind);
  for (const name of existsSync(within) ? readdirSync(within).toSorted() : []) {
    const unpack = name.endsWith(".tar.zst") ? zstdDecompressSync : name.endsWith(".tar.gz") ? gunzipSync : null;
    if (unpack !== null) yield* untar(unpack(readFileSync(join(within, name))));
  }
}

function* madeUp(kind: "mail" | "hostile"): Generator<NamedMail> {
  let number = 0;
  for (const { raw } of makeMessages({ count: kind === "mail" ? 300 : 0 })) yield { name: `made up ${(number += 1)}`, raw };
}

export const corpusIsHere = existsSync(folder);

/** Real mail, or hostile and edge messages; those made up to hurt are always among the latter. */
export function* corpus(kind: "mail" | "hostile"): Generator<NamedMail> {
  if (kind === "hostile") yield* hostileMail();
  yield* corpusIsHere ? archived(kind) : madeUp(kind);
}
