/** Where a placement is when several say where (semantics 3.3): what comes after all it knows wins, else the higher rank. */
import type { ChangeKind } from "../model/change.ts";
import type { MailboxId } from "../model/ids.ts";
import type { Role } from "../model/mail.ts";

/** An entry of the log that says where a placement is, or that it is gone. */
export interface LocationEntry {
  readonly seq: bigint;
  readonly kind: ChangeKind;
  /** null: no device of the API said it. */
  readonly deviceId: string | null;
  /** Who said it, as in the dots of keywords. */
  readonly source: string;
  readonly reason: string;
  readonly rule: string | null;
  readonly from: MailboxId | null;
  readonly to: MailboxId | null;
}

export const rankOf = { restore: 6, move: 5, junk: 4, trash: 3, removal: 2 } as const;
export type Rank = (typeof rankOf)[keyof typeof rankOf];

const isBin = (role: Role | null): boolean => role === "trash" || role === "junk";

/** Of a move; who takes mail out of Trash or Junk brings it back. */
export const rankOfMove = (from: Role | null, to: Role | null): Rank => {
  if (to === "trash") return rankOf.trash;
  if (to === "junk") return rankOf.junk;
  return isBin(from) ? rankOf.restore : rankOf.move;
};

/** What somebody wants of the place of a placement; `mailboxId` null: that it is nowhere. */
export interface Assertion {
  readonly rank: Rank;
  readonly mailboxId: MailboxId | null;
  readonly source: string;
  readonly seq: bigint;
}

/** What a device took away, or nobody knows who, was not asked to go: it only closed a binding, and then a policy decided. */
const removals = new Set(["user_expunge", "retention", "mailbox_deleted", "api_remove"]);

const rankOfEntry = (entry: LocationEntry, roleOf: (id: MailboxId | null) => Role | null): Rank | null => {
  switch (entry.kind) {
    case "message.created":
      return rankOf.move;
    case "message.moved":
      return rankOfMove(roleOf(entry.from), roleOf(entry.to));
    case "message.removed":
      return removals.has(entry.reason) ? rankOf.removal : null;
    case "message.restored":
      // What was kept and is shown again was never away.
      if (entry.rule === "ID-5c") return null;
      return roleOf(entry.to) === "trash" ? rankOf.trash : rankOf.restore;
    default:
      return null;
  }
};

/** The assertion that stands; null: none of the entries is one. */
export const standing = (
  entries: readonly LocationEntry[],
  roleOf: (id: MailboxId | null) => Role | null,
): (Assertion & { readonly deviceId: string | null }) | null => {
  for (const entry of entries.toReversed()) {
    const rank = rankOfEntry(entry, roleOf);
    if (rank === null) continue;
    const mailboxId = entry.kind === "message.removed" ? null : entry.to;
    return { rank, mailboxId, source: entry.source, seq: entry.seq, deviceId: entry.deviceId };
  }
  return null;
};

export type Verdict =
  /** `beaten`: what it had no knowledge of; null: it comes after all. */
  | { readonly outcome: "wins"; readonly rule: "P1" | "P2" | "P4" | "P5"; readonly beaten: Assertion | null }
  | { readonly outcome: "agrees" }
  | { readonly outcome: "loses"; readonly rule: "P2"; readonly to: Assertion };

/** P1–P5 for what a device says now, given what stands since the base of what it says. */
export const contest = (
  said: Pick<Assertion, "rank" | "mailboxId">,
  stands: (Assertion & { readonly deviceId: string | null }) | null,
  deviceId: string,
): Verdict => {
  if (stands === null || stands.deviceId === deviceId) return { outcome: "wins", rule: "P1", beaten: null };
  if (said.mailboxId === stands.mailboxId) return { outcome: "agrees" };
  if (said.rank < stands.rank) return { outcome: "loses", rule: "P2", to: stands };
  if (said.rank > stands.rank) return { outcome: "wins", rule: "P2", beaten: stands };
  // It is said now, after all that was ever seen upstream: the intervals do not overlap, and the later wins.
  return { outcome: "wins", rule: stands.deviceId === null ? "P4" : "P5", beaten: stands };
};

/** Where a placement was before the entries; null: nowhere. */
export const placeBefore = (
  entries: readonly LocationEntry[],
  now: { readonly mailboxId: MailboxId; readonly lifecycle: "live" | "removed" },
): MailboxId | null => {
  const first = entries.find(({ kind }) => kind !== "message.merged");
  if (first === undefined) return now.lifecycle === "live" ? now.mailboxId : null;
  if (first.kind === "message.created") return null;
  return first.kind === "message.restored" && first.rule !== "ID-5c" ? null : first.from;
};
