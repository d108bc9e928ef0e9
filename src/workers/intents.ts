/** Intents of the API, decided in the transaction that their caller commits: canonical state first, upstream follows (Q4). */
import { isDeepStrictEqual } from "node:util";
import { fingerprint } from "../mime/fingerprint.ts";
import type { MailboxId, MessageId, PlacementId } from "../model/ids.ts";
import type { IntentResult, MailIntent, MailOp } from "../model/intent.ts";
import type { ImportRequest, WriteRequest, Writes, Written } from "../model/writes.ts";
import type { Octets } from "../model/octets.ts";
import { missingTrash } from "../reconciler/default-mailboxes.ts";
import { emptyIntentDraft, type Intent, type IntentSlice } from "../reconciler/intent-slice.ts";
import type { SaidPlace } from "../reconciler/location.ts";
import { reconcileIntent } from "../reconciler/intents.ts";
import { inverseOf, mailboxBefore } from "../reconciler/undo.ts";
import type { AccountTx, InputTx } from "../store/account-tx.ts";
import { planIntentCommands } from "../store/commands.ts";
import { loadRefused } from "../store/ended-commands.ts";
import type { Tx } from "../store/database.ts";
import { applyDecision } from "../store/decisions.ts";
import {
  findWritableEndpoint,
  loadAccountSlice,
  loadChange,
  loadHistory,
  loadHomes,
  loadMessagePlacements,
} from "../store/intent-slices.ts";
import { defineInput, ingestOwned } from "../store/inputs.ts";
import { erasePurged, type JournaledIntent, loadIntents, storeIntents, takeLeft } from "../store/intents.ts";
import { loadStandIns } from "../store/stand-ins.ts";
import { wantMailboxes } from "../store/mailbox-commands.ts";
import { writeMailboxes } from "../store/mailbox-writes.ts";
import { loadMailboxes } from "../store/slices.ts";
import { collectOctets, decideImport, importArgs, type ImportedMail, type WriteSession } from "./imports.ts";
import { reviveKnown } from "./kept-contents.ts";

/** More than so many thrown away in one request need the exact base of each (Q3). */
const mostTrashed = 50;

const argsOf = ({ op: _op, messageId: _messageId, ...args }: MailOp): Readonly<Record<string, unknown>> => args;

const identityOf = ({ op }: MailIntent) => ({ kind: op.op, args: argsOf(op), messageId: op.messageId });

/** The first result; but whoever gives an id of his own to two different intents is told so. */
const resultAgain = (
  now: Pick<JournaledIntent, "kind" | "args"> & Pick<IntentResult, "messageId">,
  { result, kind, args }: Pick<JournaledIntent, "kind" | "args" | "result">,
): IntentResult => {
  const same = kind === now.kind && (now.messageId ?? result.messageId) === result.messageId && isDeepStrictEqual(args, now.args);
  return same ? result : { status: "rejected", reason: "op_id_reused", messageId: now.messageId, warnings: [] };
};

/** So that each is decided on what those before it made: no message twice in one run. */
const runsOf = (intents: readonly MailIntent[]): MailIntent[][] => {
  const runs: MailIntent[][] = [];
  let seen = new Set<MessageId>();
  for (const intent of intents) {
    const { messageId } = intent.op;
    if (runs.length === 0 || seen.has(messageId)) {
      runs.push([]);
      seen = new Set();
    }
    seen.add(messageId);
    runs.at(-1)?.push(intent);
  }
  return runs;
};

interface Session extends WriteSession {
  readonly base: bigint | null;
  /** It throws so much away that each needs an exact base. */
  readonly bulk: boolean;
  /** One of several operations. */
  readonly many: boolean;
}

const trashes = ({ op }: MailIntent, trash: MailboxId | null): boolean =>
  op.op === "delete" || (op.op === "patch" && trash !== null && op.mailboxIds[trash] === true);

const trashIn = (mailboxes: IntentSlice["mailboxes"]): MailboxId | null =>
  mailboxes.entries().find(([, role]) => role === "trash")?.[0] ?? null;

/** Somebody throws mail away for the first time where no server has a place for that: one is made here, and then there. */
const makeTrash = async ({ account, deviceId, endpointId }: Session, opId: string): Promise<void> => {
  const known = await loadMailboxes(account, endpointId);
  const decision = missingTrash({ known, freshId: account.input.freshId() as MailboxId, deviceId });
  await writeMailboxes(account, decision);
  if (endpointId === null) return;
  const missing = decision.mailboxes.filter(({ created }) => created);
  await wantMailboxes(
    account,
    endpointId,
    missing.map(({ id }) => ({ mailboxId: id, verb: "place" })),
    opId,
  );
};

/** All that the run is decided on; a function, so that each intent gets its own part. */
const loadSlices = async (session: Session, intents: readonly MailIntent[]) => {
  const { account, endpointId, began } = session;
  const messageIds = intents.map(({ op }) => op.messageId);
  const placements = await loadMessagePlacements(account, endpointId, messageIds);
  const all = [...placements.values()].flat();
  const ofAccount = await loadAccountSlice(account, { endpointId, began });
  const history = session.base === null ? new Map() : await loadHistory(account, all, session.base);
  const returns = intents.filter(({ op }) => op.op === "restore" || op.op === "undo");
  const homes = returns.length === 0 ? new Map<PlacementId, MailboxId>() : await loadHomes(account, messageIds);
  const undone = new Map<MailIntent, IntentSlice["undone"]>();
  for (const intent of returns) if (intent.op.op === "undo") undone.set(intent, await loadChange(account, intent.op.seq));
  const left = returns.flatMap(({ op }) => (placements.get(op.messageId) ?? []).map(({ mailboxId }) => mailboxId));
  const before = [...undone.values()].flatMap((change) => mailboxBefore(change) ?? []);
  const standIns = await loadStandIns(account.tx, account.accountId, [...new Set([...left, ...before])]);
  return (intent: MailIntent): IntentSlice => ({
    ...ofAccount,
    placements: placements.get(intent.op.messageId) ?? [],
    history,
    homes,
    standIns,
    undone: undone.get(intent) ?? null,
    freshIds: intent.op.op === "patch" ? Object.keys(intent.op.mailboxIds).map(() => account.input.freshId()) : [],
  });
};

/** What later intents with an older base are held against. */
const saidBy = ({ op }: MailIntent, { undone }: IntentSlice, places: readonly SaidPlace[]): JournaledIntent["said"] => {
  const inverse = undone === null ? null : inverseOf(undone);
  const keywords = op.op === "patch" ? op.keywords : inverse !== null && inverse.kind !== "remove" ? inverse.keywords : {};
  if (places.length + Object.keys(keywords).length === 0) return null;
  return { placementId: undone?.placementId ?? null, keywords, places };
};

const decideRun = async (session: Session, intents: readonly MailIntent[]): Promise<JournaledIntent[]> => {
  const { account, deviceId } = session;
  let sliceOf = await loadSlices(session, intents);
  const first = intents[0];
  if (first === undefined) return [];
  const throwing = intents.find((intent) => intent.op.op === "delete" && sliceOf(intent).placements.length > 0);
  if (throwing !== undefined && trashIn(sliceOf(first).mailboxes) === null) {
    await makeTrash(session, throwing.opId);
    sliceOf = await loadSlices(session, intents);
  }
  const draft = emptyIntentDraft();
  const messageIds = intents.map(({ op }) => op.messageId);
  const refused = session.endpointId === null ? new Set() : await loadRefused(account, session.endpointId, messageIds);
  const head = account.headSeq;
  const base = session.base ?? head;
  const touched: { readonly opId: string; readonly placements: readonly PlacementId[] }[] = [];
  const journaled = intents.map((intent): JournaledIntent => {
    const slice = sliceOf(intent);
    const from = [draft.placements.length, draft.newPlacements.length] as const;
    const destructive = session.bulk && trashes(intent, trashIn(slice.mailboxes));
    const wanted: Intent = { op: intent.op, deviceId, base, exact: session.base !== null, destructive };
    const before = { changes: draft.changes.length, places: draft.places.length };
    const result = reconcileIntent(draft, wanted, slice);
    const changes = draft.changes.length - before.changes;
    const places = draft.places.slice(before.places);
    const seq = head + BigInt(draft.changes.length);
    const written = [...draft.placements.slice(from[0]), ...draft.newPlacements.slice(from[1])];
    // What is so here and was refused upstream is tried again when it is wanted again.
    const wantedAgain = result.status === "applied" ? slice.placements.map(({ id }) => id).filter((id) => refused.has(id)) : [];
    touched.push({ opId: intent.opId, placements: [...written.map(({ id }) => id), ...wantedAgain] });
    return {
      opId: intent.opId,
      deviceId,
      base,
      kind: intent.op.op,
      args: argsOf(intent.op),
      said: saidBy(intent, slice, places),
      result,
      seq,
      changes,
    };
  });
  await applyDecision(account, draft, { scope: null, contents: [], existing: new Set() });
  const purged = journaled.filter(({ kind, result }) => kind === "purge" && result.status === "applied");
  const destroyed = purged.flatMap(({ result }) => result.messageId ?? []);
  await erasePurged(account, destroyed);
  const left = await takeLeft(account, "message_id", destroyed);
  await storeIntents(account, journaled);
  // One request is of one device: the last operation that wanted something stands for all.
  const last = touched.findLast(({ placements }) => placements.length > 0);
  if (session.endpointId !== null && last !== undefined) {
    const wanted = [...touched.flatMap(({ placements }) => placements), ...left];
    await planIntentCommands(account, session.endpointId, wanted, { opId: last.opId, named: session.many });
  }
  return journaled;
};

const openSession = async (account: InputTx, { deviceId }: Pick<WriteRequest, "deviceId">): Promise<WriteSession> => ({
  account,
  deviceId,
  endpointId: await findWritableEndpoint(account),
  began: account.headSeq,
});

const stateOf = ({ stateEpoch, headSeq }: AccountTx): Written["state"] => ({ epoch: stateEpoch, seq: headSeq });

type WriteFacts = Omit<WriteRequest, "tenantId" | "accountId">;

const decideWrite = async (account: InputTx, request: WriteFacts): Promise<Written> => {
  const { base, intents } = request;
  const opened = await openSession(account, request);
  const known = await loadIntents(
    account,
    intents.map(({ opId }) => opId),
  );
  const results = new Map<string, IntentResult>();
  for (const intent of intents) {
    const before = known.get(intent.opId);
    if (before !== undefined) results.set(intent.opId, resultAgain(identityOf(intent), before));
  }
  const { mailboxes } = await loadAccountSlice(account, opened);
  const bulk = intents.filter((intent) => trashes(intent, trashIn(mailboxes))).length > mostTrashed;
  for (const run of runsOf(intents.filter(({ opId }) => !results.has(opId))))
    for (const { opId, result } of await decideRun({ ...opened, base, bulk, many: intents.length > 1 }, run))
      results.set(opId, result);
  return { results: intents.map(({ opId }) => results.get(opId) as IntentResult), state: stateOf(account) };
};

const mailWritten = defineInput("intent", "api.mail", decideWrite);

type ImportFacts = ImportedMail & Pick<ImportRequest, "deviceId">;

const decideImported = async (account: InputTx, request: ImportFacts): Promise<Written> => {
  const { opId, op, octets, print } = request;
  const session = await openSession(account, request);
  const before = (await loadIntents(account, [opId])).get(opId);
  const identity = { kind: "import", args: importArgs(op, octets), messageId: null };
  const { result } =
    before === undefined ? await decideImport(session, { opId, op, octets, print }) : { result: resultAgain(identity, before) };
  return { results: [result], state: stateOf(account) };
};

const mailImported = defineInput("intent", "api.import", decideImported, {
  keep: ({ octets: { sha256, size }, ...rest }: ImportFacts) => ({ ...rest, blob: { sha256, size } }),
  revive: async ({ blob, ...rest }, stored) => ({ ...rest, octets: await reviveKnown(blob, stored) }),
});

export class IntentWrites implements Writes<Tx> {
  readonly #limits: { readonly maxMessageBytes: number; readonly spoolDir: string };

  constructor(limits: { readonly maxMessageBytes: number; readonly spoolDir: string }) {
    this.#limits = limits;
  }

  write(tx: Tx, { tenantId, accountId, ...facts }: WriteRequest): Promise<Written | null> {
    return ingestOwned(tx, { tenantId, accountId }, mailWritten, facts);
  }

  collect(source: AsyncIterable<Buffer>): Promise<Octets | null> {
    return collectOctets(source, { maxBytes: this.#limits.maxMessageBytes, spoolDir: this.#limits.spoolDir });
  }

  async importMail(tx: Tx, { tenantId, accountId, ...request }: ImportRequest): Promise<Written | null> {
    const print = await fingerprint(request.octets.parts());
    return ingestOwned(tx, { tenantId, accountId }, mailImported, { ...request, print });
  }
}
