/**
 * Where a placement is when several say where (semantics 3.3): a register of dots, as keywords have them, in which the higher rank
 * wins and of equal ranks the later (P2–P5). What was beaten comes back when its winner is taken back by who said it.
 */
import type { ChangeKind } from "../model/change.ts";
import type { MailboxId, PlacementId } from "../model/ids.ts";
import type { Role } from "../model/mail.ts";
import { assertInto, type Dot, fold, placeOf, toSource } from "./dots.ts";
import type { PlacementView } from "./state.ts";

/** An entry of the log that says where a placement is, or that it is gone. */
export interface LocationEntry {
  readonly seq: bigint;
  readonly kind: ChangeKind;
  /** null: no device of the API made it. */
  readonly deviceId: string | null;
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

/** What an intent says of a placement; `mailboxId` null: that it is nowhere. */
export interface SaidPlace {
  readonly placementId: PlacementId;
  readonly mailboxId: MailboxId | null;
  readonly rank: Rank;
}

/** The same of an earlier intent, whether it changed anything or not. */
export interface EarlierPlace extends SaidPlace {
  readonly seq: bigint;
  readonly silent: boolean;
  readonly deviceId: string;
  readonly base: bigint;
}

/** Later than the base of the intent at hand; each in the order of the log. */
export interface LocationHistory {
  readonly located: readonly LocationEntry[];
  readonly placed: readonly EarlierPlace[];
}

export interface PlaceDot extends Dot {
  readonly rank: Rank;
  readonly mailboxId: MailboxId | null;
  /** A device of the API said it. */
  readonly api: boolean;
}

/** What a device took away, or nobody knows who, was not asked to go: it only closed a binding, and then a policy decided. */
const removals = new Set(["user_expunge", "retention", "mailbox_deleted", "label_removed"]);

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
      return entry.rule === "ID-5c" ? null : rankOf.restore;
    default:
      return null;
  }
};

/** Since the base, with the bases of all that was said; what intents changed is there as what they said. */
export const placeDots = (
  { located, placed }: LocationHistory,
  roleOf: (id: MailboxId | null) => Role | null,
): readonly PlaceDot[] => {
  const found: { readonly dot: PlaceDot; readonly base: bigint }[] = [];
  for (const entry of located) {
    const { seq, source, deviceId, to } = entry;
    if (deviceId !== null && entry.kind !== "message.created") continue;
    const rank = rankOfEntry(entry, roleOf);
    if (rank === null) continue;
    const mailboxId = entry.kind === "message.removed" ? null : to;
    found.push({ dot: { rank, mailboxId, place: placeOf(seq, false), source, api: deviceId !== null }, base: seq - 1n });
  }
  for (const { rank, mailboxId, seq, silent, deviceId, base } of placed)
    found.push({ dot: { rank, mailboxId, place: placeOf(seq, silent), source: toSource(deviceId), api: true }, base });
  return fold(found);
};

const isStronger = (a: PlaceDot, b: PlaceDot): boolean => a.rank > b.rank || (a.rank === b.rank && a.place > b.place);

export interface Standing {
  readonly winner: PlaceDot;
  /** The strongest that wanted something else; null: nobody did. */
  readonly beaten: PlaceDot | null;
  /** Why the one stands over the other; P1 where nobody does. */
  readonly rule: "P1" | "P2" | "P4" | "P5";
}

/** P1–P5 for what is said now, given what may still stand. */
export const contest = (dots: readonly PlaceDot[], said: PlaceDot, base: bigint): Standing => {
  const alive = assertInto(dots, said, base);
  const winner = alive.reduce((best, dot) => (isStronger(dot, best) ? dot : best), said);
  const others = alive.filter(({ mailboxId }) => mailboxId !== winner.mailboxId);
  const beaten = others.reduce<PlaceDot | null>((best, dot) => (best === null || isStronger(dot, best) ? dot : best), null);
  if (beaten === null) return { winner, beaten, rule: "P1" };
  // It is said now, after all that was ever seen upstream: the intervals do not overlap, and the later wins.
  return { winner, beaten, rule: winner.rank > beaten.rank ? "P2" : beaten.api && winner.api ? "P5" : "P4" };
};

/** Where a placement was before the entries; null: nowhere. */
export const placeBefore = (
  { located }: Pick<LocationHistory, "located">,
  now: { readonly mailboxId: MailboxId; readonly lifecycle: PlacementView["lifecycle"] },
): MailboxId | null => {
  const first = located.find(({ kind }) => kind !== "message.merged");
  if (first === undefined) return now.lifecycle === "live" ? now.mailboxId : null;
  if (first.kind === "message.created") return null;
  return first.kind === "message.restored" && first.rule !== "ID-5c" ? null : first.from;
};

/** Where a device takes a placement to be: what it had seen, and then what it said itself. */
export const placeFor = (
  deviceId: string,
  history: LocationHistory,
  now: { readonly mailboxId: MailboxId; readonly lifecycle: PlacementView["lifecycle"] },
): MailboxId | null => {
  const own = history.placed.findLast((one) => one.deviceId === deviceId);
  return own === undefined ? placeBefore(history, now) : own.mailboxId;
};
