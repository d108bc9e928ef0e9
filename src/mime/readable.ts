/** Text for people: what a preview shows and what a search finds. */
import { cutText } from "./words.ts";

const previewLength = 256;
const searchBytes = 64 * 1024;
/** Marks that senders fill previews with, and marks without a shape. */
// oxlint-disable-next-line no-misleading-character-class -- the marks are left out one by one, combining or not
const invisible = /[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;
const blanks = /[\0-\u0020\u007f-\u00a0\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/g;

/** White space folded, control characters, NUL and invisible marks left out. */
export const foldText = (text: string): string => text.replace(invisible, "").replace(blanks, " ").trim();

/** The first 256 characters (code points) of folded text. */
export const previewOf = (folded: string): string => {
  const start = cutText(folded, previewLength * 2);
  let units = 0;
  let characters = 0;
  for (const character of start) {
    if (characters === previewLength) break;
    characters += 1;
    units += character.length;
  }
  return start.slice(0, units).trimEnd();
};

/** As much of the folded text as 64 KiB of UTF-8 hold, never half a character. */
export const searchTextOf = (folded: string): string => {
  if (folded.length * 3 <= searchBytes) return folded;
  const octets = Buffer.from(cutText(folded, searchBytes), "utf8");
  if (octets.length <= searchBytes) return octets.toString("utf8");
  let end = searchBytes;
  while (end > 0 && ((octets[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return octets.toString("utf8", 0, end);
};
