/** Mail brought over the API: taken in as it arrives, stored with what is decided of it. */
import { startOctets } from "../endpoints/octets.ts";
import type { fingerprint } from "../mime/fingerprint.ts";
import { readHeaders } from "../mime/headers.ts";
import type { EndpointId, MessageId, PlacementId } from "../model/ids.ts";
import type { ImportOp } from "../model/intent.ts";
import type { Octets } from "../model/octets.ts";
import { reconcileImport } from "../reconciler/import.ts";
import type { IntentPlacement } from "../reconciler/intent-slice.ts";
import { emptyDraft } from "../reconciler/state.ts";
import type { InputTx } from "../store/account-tx.ts";
import { storeBlobsIn } from "../store/blob-writes.ts";
import { planIntentCommands } from "../store/commands.ts";
import { applyDecision } from "../store/decisions.ts";
import { findByOctets, loadAccountSlice, loadMessagePlacements } from "../store/intent-slices.ts";
import { type JournaledIntent, storeIntents } from "../store/intents.ts";
import { findReplaced, replaceBy } from "../store/successors.ts";

/** A request at work on its account. */
export interface WriteSession {
  readonly account: InputTx;
  readonly deviceId: string;
  /** Where mail is written back to; null: nowhere (K2). */
  readonly endpointId: EndpointId | null;
  /** The last change before the request. */
  readonly began: bigint;
}

/** Large mail goes to the spool as it comes. @returns null when it is more than `maxBytes`: the rest is not read then. */
export const collectOctets = async (
  source: AsyncIterable<Buffer>,
  { maxBytes, spoolDir }: { readonly maxBytes: number; readonly spoolDir: string },
): Promise<Octets | null> => {
  const writer = startOctets({ size: null, spoolDir });
  let size = 0;
  try {
    for await (const chunk of source) {
      size += chunk.length;
      if (size > maxBytes) break;
      await writer.write(chunk);
    }
    if (size <= maxBytes) return await writer.finish();
  } catch (error) {
    await writer.abort();
    throw error;
  }
  await writer.abort();
  return null;
};

/** What makes an import the one that it is. */
export const importArgs = (op: ImportOp, octets: Octets): Readonly<Record<string, unknown>> => ({
  ...(op.replaces !== null && { replaces: op.replaces }),
  mailboxId: op.mailboxId,
  keywords: op.keywords,
  receivedAt: op.receivedAt,
  sha256: octets.sha256.toString("hex"),
});

export interface ImportedMail {
  readonly opId: string;
  readonly op: ImportOp;
  readonly octets: Octets;
  /** Of the octets, read before it is decided: whoever decides again may not have them any more. */
  readonly print: Awaited<ReturnType<typeof fingerprint>>;
}

/** Decides and stores one import, under the account's lock. */
export const decideImport = async (
  { account, deviceId, endpointId, began }: WriteSession,
  { opId, op, octets, print }: ImportedMail,
): Promise<JournaledIntent> => {
  const known = await findByOctets(account, octets.sha256);
  const placementsOf = async (id: MessageId | null): Promise<readonly IntentPlacement[]> =>
    id === null ? [] : ((await loadMessagePlacements(account, endpointId, [id])).get(id) ?? []);
  const head = account.headSeq;
  const draft = emptyDraft();
  const { result, placementId, replacedIds } = reconcileImport(
    draft,
    { op, deviceId },
    {
      ...(await loadAccountSlice(account, { endpointId, began })),
      known: known === null ? null : { id: known, placements: await placementsOf(known) },
      replaced: op.replaces === null ? null : await placementsOf(op.replaces),
      freshMessageId: account.input.freshId() as MessageId,
      freshPlacementId: account.input.freshId() as PlacementId,
    },
  );
  if (draft.newMessages.length > 0) await storeBlobsIn(account.tx, account, [octets]);
  const content = {
    receivedAt: new Date(op.receivedAt),
    headers: readHeaders(octets.head),
    octets,
    fingerprint: print,
  };
  await applyDecision(account, draft, { scope: null, contents: [content], existing: new Set() });
  const said = { placementId, keywords: Object.fromEntries(op.keywords.map((keyword) => [keyword, true])), places: [] };
  const journaled: JournaledIntent = {
    opId,
    deviceId,
    base: head,
    kind: "import",
    args: importArgs(op, octets),
    said: result.status === "rejected" || op.keywords.length === 0 ? null : said,
    result,
    seq: head + BigInt(draft.changes.length),
    changes: draft.changes.length,
  };
  await storeIntents(account, [journaled]);
  if (endpointId !== null && placementId !== null) {
    const earlierIds = await findReplaced(account, endpointId, replacedIds);
    await planIntentCommands(account, endpointId, [placementId, ...replacedIds, ...earlierIds], { opId });
    await replaceBy(account, endpointId, [...replacedIds, ...earlierIds], placementId);
  }
  return journaled;
};
