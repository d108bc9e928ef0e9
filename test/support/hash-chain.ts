/** The chain over an account's log, worked out again from what the API gives: as a reader would, and not as the daemon does. */
import { createHash } from "node:crypto";

const canonical = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1));
  return `{${fields.map(([name, inner]) => `${JSON.stringify(name)}:${canonical(inner)}`).join(",")}}`;
};

export interface Chained {
  readonly seq: number;
  readonly hash: string;
}

/** @throws Error at the first change that does not follow from the one before. `last` is the hash of what came before the first. */
export const expectChained = (changes: readonly Chained[], last = ""): void => {
  let previous = last;
  for (const { hash, ...entry } of changes) {
    const expected = createHash("sha256")
      .update(previous + canonical(entry))
      .digest("hex");
    if (hash !== expected) throw new Error(`change ${entry.seq} does not follow from the one before: ${JSON.stringify(entry)}`);
    previous = hash;
  }
};
