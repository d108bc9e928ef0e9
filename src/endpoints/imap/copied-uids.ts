/** COPYUID (RFC 4315 §3): under which UIDs a server says to have put copies, told with COPY and, before the answer, with MOVE. */
import type { Answer } from "./asking.ts";
import { uint32Of } from "./tokens.ts";

/** In the order in which it is written, for that is what pairs the two sets; null: not a set, or of more than `most`. */
const uidsInOrder = (set: string, most: number): number[] | null => {
  const uids: number[] = [];
  for (const part of set.split(",")) {
    const [first, last = first] = part.split(":").map((word) => uint32Of(word));
    if (first == null || last == null || Math.abs(last - first) >= most - uids.length) return null;
    for (let uid = Math.min(first, last); uid <= Math.max(first, last); uid += 1) uids.push(uid);
  }
  return uids;
};

const pattern = /\[COPYUID (\d+) ([\d,:]+) ([\d,:]+)\]/i;

/** By the UIDs that were asked for; empty where nothing is told, or of another life of the mailbox. */
export const copiedUids = (
  { text, untagged }: Pick<Answer, "text" | "untagged">,
  uids: readonly number[],
  uidValidity: number,
): ReadonlyMap<number, number> => {
  const copied = new Map<number, number>();
  for (const line of [...untagged.map((response) => response.text), text]) {
    const [, validity = "", from = "", to = ""] = pattern.exec(line) ?? [];
    if (uint32Of(validity) !== uidValidity) continue;
    const [sources, targets] = [uidsInOrder(from, uids.length), uidsInOrder(to, uids.length)];
    if (sources === null || targets === null || sources.length !== targets.length) continue;
    sources.forEach((uid, at) => {
      const target = targets[at];
      if (target !== undefined && uids.includes(uid)) copied.set(uid, target);
    });
  }
  return copied;
};
