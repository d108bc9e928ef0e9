/**
 * Removes from a maildrop what the account's policy no longer wants there (semantics K4, K7). Before anything is marked, the
 * stored octets are read a second time; what was said is durable before it is said; and it is done when a listing lacks it.
 */
import { createHash } from "node:crypto";
import type { MaildropItem, MaildropListing, MaildropRemoval } from "../endpoints/endpoint.ts";
import { FingerprintReader } from "../mime/fingerprint.ts";
import type { Policy } from "../model/account.ts";
import type { EndpointId } from "../model/ids.ts";
import { InvariantError } from "../model/failure.ts";
import { keyOf } from "../reconciler/maildrop.ts";
import { readRemovals, removableItems } from "../reconciler/removal.ts";
import type { Scope } from "../reconciler/state.ts";
import { readOctets } from "../store/blob-reads.ts";
import { defineInput, ingest } from "../store/inputs.ts";
import { loadMaildrop } from "../store/maildrops.ts";
import {
  type DueRemoval,
  endRemovals,
  journalDamage,
  journalSent,
  journalUnknown,
  listDueRemovals,
  listOpenRemovals,
} from "../store/removals.ts";
import { step } from "../telemetry/failpoint.ts";
import type { MaildropContext } from "./maildrop-commit.ts";

/** A second reading of what is stored: are these the octets and is this the normal form that were read upstream? */
const isSound = async ({ db, accountId }: MaildropContext, { stored }: DueRemoval): Promise<boolean> => {
  if (stored === null) return true;
  const { sha256, size, hFull } = stored;
  const digest = createHash("sha256");
  const reader = new FingerprintReader();
  try {
    if (size > 0)
      for await (const part of readOctets(db, accountId, stored, { from: 0, to: size - 1 })) {
        digest.update(part);
        reader.push(part);
      }
  } catch (error) {
    if (!(error instanceof InvariantError)) throw error;
    return false;
  }
  return digest.digest().equals(sha256) && reader.end().hFull.equals(hFull);
};

interface JudgedFacts {
  readonly scope: Scope;
  readonly found: Parameters<typeof journalDamage>[2];
}

const octetsJudged = defineInput("tick", "pop3.octets-judged", (account, { scope, found }: JudgedFacts) =>
  journalDamage(account, scope, found),
);

interface SentFacts {
  readonly scope: Scope;
  readonly sent: readonly DueRemoval[];
  /** As it was when they were planned. */
  readonly serverCopy: Policy["serverCopy"];
}

const removalsSent = defineInput("outcome", "pop3.removals-sent", async (account, { scope, sent, serverCopy }: SentFacts) => {
  if (serverCopy === "leave" || serverCopy !== account.policy.serverCopy) return false;
  await journalSent(account, scope, sent, serverCopy);
  return true;
});

const removalsUnanswered = defineInput(
  "outcome",
  "pop3.removals-unanswered",
  (account, { endpointId }: { readonly endpointId: EndpointId }) => journalUnknown(account, endpointId),
);

interface EndedFacts {
  readonly scope: Scope;
  readonly ends: Parameters<typeof endRemovals>[2];
}

const removalsEnded = defineInput("outcome", "pop3.removals-ended", (account, { scope, ends }: EndedFacts) =>
  endRemovals(account, scope, ends),
);

/** Removals that may be carried out now, with where they belong. */
export interface PlannedRemovals {
  readonly scope: Scope;
  readonly items: readonly DueRemoval[];
}

/** What is due and proven to be stored. Damage is journaled, and held against the owner's eyes. */
export const planRemovals = async (context: MaildropContext, signal: AbortSignal): Promise<PlannedRemovals | null> => {
  const { db, accountId, endpointId, policy } = context;
  const reason = policy.serverCopy;
  if (reason === "leave") return null;
  const due = await listDueRemovals(db, accountId, endpointId, policy);
  const [first] = due;
  if (first === undefined) return null;
  const { epoch } = await loadMaildrop(db, accountId, endpointId);
  const scope = { endpointId, mailboxId: first.mailboxId, epoch };
  const sound: DueRemoval[] = [];
  const damaged: DueRemoval[] = [];
  for (const item of due) {
    if (signal.aborted) return null;
    ((await isSound(context, item)) ? sound : damaged).push(item);
  }
  const mended = sound.filter(({ wasDamaged }) => wasDamaged);
  if (damaged.length + mended.length > 0) {
    for (const { placementId } of damaged) context.log.error({ placement: placementId }, "stored octets are damaged");
    const found = { damaged, sound: mended, reason };
    await ingest(context, octetsJudged, { scope, found });
  }
  return sound.length === 0 ? null : { scope, items: sound };
};

/** One session that removes. @returns how many items were marked; what became of them the next listing tells. */
export const removeCopies = async (
  context: MaildropContext,
  session: MaildropRemoval,
  { scope, items }: PlannedRemovals,
  signal: AbortSignal,
): Promise<number> => {
  const listing = await session.list(signal);
  const marked = listing.complete
    ? removableItems(items, listing.items).map((index) => listing.items[index] as MaildropItem)
    : [];
  if (marked.length === 0) return 0;
  const keys = new Set(marked.map(keyOf));
  const sent = items.filter((item) => keys.has(keyOf(item)));
  step("before removals are journaled");
  if (!(await ingest(context, removalsSent, { scope, sent, serverCopy: context.policy.serverCopy }))) return 0;
  step("before DELE");
  await session.mark(marked, signal);
  step("before QUIT");
  const confirmed = await session.commit(signal);
  step("after QUIT");
  if (!confirmed) await ingest(context, removalsUnanswered, { endpointId: scope.endpointId });
  return marked.length;
};

/** Reads a complete listing for the ends of our own removals (V1). @returns how many are not known yet, and whether some ended. */
export const settleRemovals = async (
  context: MaildropContext,
  scope: Scope,
  { listing, doubtful }: { readonly listing: MaildropListing; readonly doubtful: boolean },
): Promise<{ readonly open: number; readonly ended: boolean }> => {
  const { db, accountId, endpointId } = context;
  const said = await listOpenRemovals(db, accountId, endpointId);
  if (said.length === 0 || !listing.complete) return { open: said.filter(({ givenUp }) => !givenUp).length, ended: false };
  const ends = readRemovals({ open: said, listed: listing.items, epoch: scope.epoch, doubtful, now: Date.now() });
  if (ends.gone.length + ends.left.length === 0) return { open: ends.open.length, ended: false };
  step("before removals end");
  await ingest(context, removalsEnded, { scope, ends });
  step("after removals end");
  return { open: ends.open.length, ended: true };
};
