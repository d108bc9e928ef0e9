/** Items of INBOX that another view of the account showed before: bound by their header blocks, so that no body is read twice (K12). */
import type { Session } from "../endpoints/endpoint.ts";
import { fingerprintOfHead } from "../mime/fingerprint.ts";
import type { PlacementId } from "../model/ids.ts";
import type { HeadItem, UidRange } from "../model/observation.ts";
import { identify } from "../reconciler/identify.ts";
import { type Claimed, reconcileItems } from "../reconciler/items.ts";
import type { Scope } from "../reconciler/state.ts";
import type { InputTx } from "../store/account-tx.ts";
import { applyDecision } from "../store/decisions.ts";
import { loadUnshown } from "../store/claims.ts";
import { defineInput, ingest } from "../store/inputs.ts";
import { loadBound, loadKnown } from "../store/slices.ts";
import { step } from "../telemetry/failpoint.ts";
import {
  type LaneContext,
  type LaneFacts,
  laneFacts,
  type MailboxFacts,
  mailboxFacts,
  type MailboxLane,
  scopeOf,
} from "./lane-state.ts";
import { isPreserving } from "./preserving.ts";
import { mayBeUnshown } from "./unshown.ts";

/** Header blocks of so many items, or more, are worth a look of their own where they may save one body of `worthIt`. */
const many = 500;
const worthIt = 10;
/** Items bound in one transaction. */
const atOnce = 2_000;

type JoinReason = "backfilled" | "delivered";

interface Join {
  readonly item: Omit<HeadItem, "head">;
  readonly placementId: PlacementId;
  readonly confidence: number;
}

const ownerOf = ({ accountId, endpointId }: LaneContext, { mailboxId }: MailboxLane) => ({ accountId, endpointId, mailboxId });

/** Which of the placements the items are, by header block and size (L4). */
const readJoins = async (
  context: LaneContext,
  mailbox: MailboxLane,
  batches: AsyncIterable<readonly HeadItem[]>,
): Promise<Join[]> => {
  const found: Omit<HeadItem, "head">[] = [];
  const items: Parameters<typeof identify>[0]["items"][number][] = [];
  for await (const batch of batches)
    for (const { head, ...item } of batch) {
      const { hHead, dropped } = fingerprintOfHead(head);
      const tells = { hHead: hHead.toString("hex"), dropped };
      found.push(item);
      items.push({ uidl: String(item.uid), occurrence: 0, size: item.size, meaning: null, head: tells, body: null });
    }
  const heads = new Set(items.flatMap(({ head }) => head?.hHead ?? []));
  const { claimable } = await loadUnshown(context.db, ownerOf(context, mailbox), { heads: [...heads] });
  const { items: identified } = identify({ items, claimable, known: new Map(), imap: "none", regenerated: false });
  return identified.flatMap((answer, index) => {
    const item = found[index];
    if (answer.kind !== "bind" || item === undefined) return [];
    return [{ item, placementId: answer.placementId, confidence: answer.confidence }];
  });
};

interface JoinsFacts {
  readonly lane: LaneFacts;
  readonly mailbox: MailboxFacts;
  readonly joins: readonly Join[];
  readonly reason: JoinReason;
}

/** With its message, where mail that comes is copied (V21). */
const claimsOf = async (account: InputTx, scope: Scope, { lane, mailbox, joins, reason }: JoinsFacts) => {
  const ids = joins.map(({ placementId }) => placementId);
  const { views, claimable } = await loadUnshown(account.tx, { ...scope, accountId: account.accountId }, { ids });
  const preserves = await isPreserving(account, { lane, mailbox, reason });
  const hashes = new Map(claimable.flatMap(({ id, sha256 }) => (sha256 === null ? [] : [[id, sha256] as const])));
  const asked = preserves ? [...new Set(hashes.values())].map((hash) => Buffer.from(hash, "hex")) : [];
  const known = await loadKnown(account, scope.endpointId, asked);
  const claimOf = ({ placementId, confidence }: Join): Claimed | null => {
    const placement = views.get(placementId);
    if (placement === undefined) return null;
    return { placement, confidence, ...(preserves && { message: known.get(hashes.get(placementId) ?? "") ?? null }) };
  };
  return { preserves, claimOf };
};

/** What changed since the header blocks were read is left to be read whole. */
const decideJoins = async (account: InputTx, facts: JoinsFacts): Promise<number[]> => {
  const { joins } = facts;
  const scope = scopeOf(facts.lane, facts.mailbox);
  const { preserves, claimOf } = await claimsOf(account, scope, facts);
  const { bound, closed } = await loadBound(
    account,
    scope,
    joins.map(({ item }) => item.uid),
  );
  const claimed = new Map<number, Claimed>();
  for (const join of joins) {
    const claim = claimOf(join);
    if (claim !== null && !bound.has(join.item.uid)) claimed.set(join.item.uid, claim);
  }
  const items = joins.flatMap(({ item }) =>
    claimed.has(item.uid) ? [{ ...item, receivedAt: item.internalDate.getTime(), sha256: null }] : [],
  );
  const freshIds = Array.from({ length: 2 * items.length }, () => account.input.freshId());
  const decision = reconcileItems({ scope, items, bound, known: new Map(), claimed, preserves, freshIds, reason: "delivered" });
  const existing = new Set([...bound.keys(), ...closed]);
  await applyDecision(account, decision, { scope, contents: [], existing });
  return decision.bindings.map(({ uid }) => uid);
};

const joinsFound = defineInput("observation", "imap.joins", decideJoins);

const commitJoins = (
  context: LaneContext,
  mailbox: MailboxLane,
  joins: readonly Join[],
  reason: JoinReason,
): Promise<number[]> => {
  step("before join");
  return ingest(context, joinsFound, { lane: laneFacts(context), mailbox: mailboxFacts(mailbox), joins, reason });
};

/**
 * Binds what is known of the ranges. `reason`: how the mail came to this endpoint.
 * @returns the UIDs that are bound now, ascending.
 */
export const joinKnown = async (
  context: LaneContext,
  session: Session,
  mailbox: MailboxLane,
  { ranges, reason }: { readonly ranges: readonly UidRange[]; readonly reason: JoinReason },
  signal: AbortSignal,
): Promise<readonly number[]> => {
  if (!context.twoViews || mailbox.role !== "inbox" || mailbox.cursor === null || ranges.length === 0) return [];
  const count = Math.min(
    mailbox.exists,
    ranges.reduce((sum, { from, to }) => sum + to - from + 1, 0),
  );
  if (count >= many) mailbox.unshown = null;
  if (!(await mayBeUnshown(context, mailbox.mailboxId, mailbox))) return [];
  if (count >= many && (mailbox.unshown ?? 0) * worthIt < count) return [];
  const request = { path: mailbox.path, uidValidity: mailbox.cursor.uidValidity, ranges };
  const joins = await readJoins(context, mailbox, session.heads(request, signal));
  const joined: number[] = [];
  for (let at = 0; at < joins.length; at += atOnce)
    joined.push(...(await commitJoins(context, mailbox, joins.slice(at, at + atOnce), reason)));
  mailbox.bound += joined.length;
  return joined.sort((a, b) => a - b);
};
