/** An item is seen elsewhere than where an operation wants it, which no look has confirmed yet: who wins (P2–P4). */
import type { MailboxId, PlacementId } from "../model/ids.ts";
import type { Role } from "../model/mail.ts";
import { type Rank, rankOfMove } from "./location.ts";
import { type Draft, type PlacementView, record, type Scope } from "./state.ts";

/** Where an operation wants a placement whose item is elsewhere. */
export interface PendingMove {
  readonly rank: Rank;
  /** As in the dots of keywords. */
  readonly source: string;
  /** When it was ingested, in ms since 1970. */
  readonly at: number;
}

export interface Contests {
  readonly pending: ReadonlyMap<PlacementId, PendingMove>;
  readonly roleOf: (id: MailboxId) => Role | null;
  /** When the read ended that showed the items, in ms since 1970. */
  readonly readAt: number;
}

export interface Contest {
  /** `wanted`: it is to be moved from where it is seen now to where it was wanted. */
  readonly winner: "seen" | "wanted";
  readonly rule: "P2" | "P4";
  readonly evidence: { readonly winner: unknown; readonly loser: unknown };
}

/**
 * null: nobody wanted it elsewhere, or both want the same (P3). At equal rank the server stands, for others see it there already;
 * but what was read before the operation came is older (P4).
 */
export const contestSeen = (scope: Scope, placement: PlacementView, contests: Contests | undefined): Contest | null => {
  const wanted = contests?.pending.get(placement.id);
  const { mailboxId, binding } = placement;
  if (contests === undefined || wanted === undefined || binding === null) return null;
  if (mailboxId === scope.mailboxId || mailboxId === binding.mailboxId) return null;
  const rank = rankOfMove(contests.roleOf(binding.mailboxId), contests.roleOf(scope.mailboxId));
  const said = [
    { mailboxId: scope.mailboxId, rank, source: "endpoint", endpointId: scope.endpointId },
    { mailboxId, rank: wanted.rank, source: wanted.source },
  ] as const;
  const seenWins = rank === wanted.rank ? contests.readAt >= wanted.at : rank > wanted.rank;
  return {
    winner: seenWins ? "seen" : "wanted",
    rule: rank === wanted.rank ? "P4" : "P2",
    evidence: { winner: said[seenWins ? 0 : 1], loser: said[seenWins ? 1 : 0] },
  };
};

export const noteContest = (draft: Draft, scope: Scope, placement: PlacementView, { winner, rule, evidence }: Contest): void => {
  const mailboxId = winner === "seen" ? scope.mailboxId : placement.mailboxId;
  record(draft, {
    kind: "conflict.resolved",
    messageId: placement.messageId,
    mailboxId,
    placementId: placement.id,
    before: null,
    after: { mailboxId },
    source: "imap",
    endpointId: scope.endpointId,
    deviceId: null,
    reason: "concurrent_location",
    rule,
    confidence: null,
    evidence: [evidence],
  });
};
