/** Names of mailboxes: what of a path is one, which are taken, and which of two that want the same gets it (semantics D5, D11). */
import type { MailboxId } from "../model/ids.ts";

/** Longest canonical name, in characters. */
export const longestName = 255;

export const cleanName = (name: string): string => name.replaceAll("\u0000", "").slice(0, longestName) || "unnamed";

/** The names of a path from the root down. */
export const segmentsOf = ({ path, delimiter }: { readonly path: string; readonly delimiter: string | null }): string[] =>
  delimiter === null ? [path] : path.split(delimiter).filter((part, index) => part !== "" || index === 0);

/** D5: "Tax" becomes "Tax (2)", "Tax (3)" … until it is one that nobody has. */
export const freeName = (name: string, isTaken: (name: string) => boolean): string => {
  if (!isTaken(name)) return name;
  for (let n = 2; ; n += 1) {
    const suffix = ` (${n})`;
    const tried = name.slice(0, longestName - suffix.length) + suffix;
    if (!isTaken(tried)) return tried;
  }
};

/** Names and paths that many servers take for one (D11). */
export const foldCase = (name: string): string => name.toLowerCase();

/** What names are compared by; a root and the mailboxes below it are one place. */
export const placeKey = (parentId: MailboxId | null, name: string): string => `${parentId ?? ""}/${name}`;

export interface Merged<T> {
  readonly value: T;
  /** Which of two contradicting words did not count; null: there was no contradiction. */
  readonly lost: "canonical" | "observed" | null;
}

/** One field of three legs (D4): who moved it since the shadow has it; if both did, the later one, in doubt upstream (P4). */
export const mergeField = <T>(
  { shadow, observed, canonical }: { readonly shadow: T; readonly observed: T; readonly canonical: T },
  canonicalIsLater: boolean,
): Merged<T> => {
  if (observed === shadow) return { value: canonical, lost: null };
  if (canonical === shadow || canonical === observed) return { value: observed, lost: null };
  return canonicalIsLater ? { value: canonical, lost: "observed" } : { value: observed, lost: "canonical" };
};
