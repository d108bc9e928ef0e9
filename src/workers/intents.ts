/** Intents of the API, decided in the transaction that their caller commits: canonical state first, upstream follows (Q4). */
import { isDeepStrictEqual } from "node:util";
import type { MessageId } from "../model/ids.ts";
import type { IntentResult, MailIntent, WriteRequest, Writes, Written } from "../model/intent.ts";
import { reconcileIntent } from "../reconciler/intents.ts";
import { emptyDraft } from "../reconciler/state.ts";
import { type AccountTx, lockOwned } from "../store/account-tx.ts";
import type { Tx } from "../store/database.ts";
import { applyDecision } from "../store/decisions.ts";
import {
  argsOf,
  findWritableEndpoint,
  type IngestedIntent,
  type KnownIntent,
  loadHistory,
  loadIntents,
  loadPlacements,
  storeIntents,
} from "../store/intents.ts";

/** The first result; but whoever gives an id of his own to two different intents is told so. */
const resultAgain = ({ op }: MailIntent, { result, kind, args }: KnownIntent): IntentResult => {
  const same = kind === op.op && result.messageId === op.messageId && isDeepStrictEqual(args, argsOf(op));
  return same ? result : { status: "rejected", reason: "op_id_reused", messageId: op.messageId };
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

const decideRun = async (
  account: AccountTx,
  { deviceId, ...request }: Pick<WriteRequest, "deviceId" | "base">,
  intents: readonly MailIntent[],
): Promise<IngestedIntent[]> => {
  const base = request.base ?? account.headSeq;
  const head = account.headSeq;
  const placements = await loadPlacements(
    account,
    await findWritableEndpoint(account),
    intents.map(({ op }) => op.messageId),
  );
  const history = await loadHistory(account, [...placements.values()].flat(), base);
  const draft = emptyDraft();
  const ingested = intents.map((intent) => {
    const slice = { placements: placements.get(intent.op.messageId) ?? [], history, head };
    const result = reconcileIntent(draft, { op: intent.op, deviceId, base }, slice);
    return { intent, deviceId, base, result, seq: head + BigInt(draft.changes.length) };
  });
  await applyDecision(account, draft, { scope: null, contents: [], existing: new Set(), at: new Date(), inputId: null });
  await storeIntents(account, ingested);
  return ingested;
};

export class IntentWrites implements Writes<Tx> {
  async write(tx: Tx, request: WriteRequest): Promise<Written | null> {
    const account = await lockOwned(tx, request);
    if (account === null) return null;
    const known = await loadIntents(
      account,
      request.intents.map(({ opId }) => opId),
    );
    const results = new Map(
      request.intents.flatMap((intent) => {
        const before = known.get(intent.opId);
        return before === undefined ? [] : [[intent, resultAgain(intent, before)] as const];
      }),
    );
    for (const run of runsOf(request.intents.filter((intent) => !results.has(intent))))
      for (const { intent, result } of await decideRun(account, request, run)) results.set(intent, result);
    return {
      results: request.intents.map((intent) => results.get(intent) as IntentResult),
      state: { epoch: account.stateEpoch, seq: account.headSeq },
    };
  }
}
