/** Intents about mailboxes, decided in the transaction that their caller commits: canonical state first, upstream follows (Q4). */
import { isDeepStrictEqual } from "node:util";
import type { MailboxId } from "../model/ids.ts";
import type { MailboxOp, MailboxResult, MailboxWriteRequest, MailboxWrites, MailboxWritten } from "../model/mailbox-intent.ts";
import { reconcileMailboxIntent } from "../reconciler/mailbox-intents.ts";
import type { InputTx } from "../store/account-tx.ts";
import type { Tx } from "../store/database.ts";
import { findWritableEndpoint } from "../store/intent-slices.ts";
import { defineInput, ingestOwned } from "../store/inputs.ts";
import { loadIntents, storeIntents } from "../store/intents.ts";
import { readContents, wantMailboxes } from "../store/mailbox-commands.ts";
import { writeMailboxes } from "../store/mailbox-writes.ts";
import { loadMailboxes } from "../store/slices.ts";
import { moveAll } from "./emptying.ts";

type Args = Readonly<Record<string, unknown>>;

const argsOf = ({ op: _op, ...args }: MailboxOp): Args => args;

/** The first result; but whoever gives an id of his own to two different intents is told so. */
const resultAgain = (
  op: MailboxOp,
  first: { readonly kind: string; readonly args: Args; readonly result: object },
): MailboxResult => {
  const { made = null, ...args } = first.args;
  if (first.kind !== op.op || !isDeepStrictEqual(args, argsOf(op)))
    return { status: "rejected", reason: "op_id_reused", mailboxId: null };
  const { status, reason } = first.result as MailboxResult;
  return { status, reason, mailboxId: made as MailboxId | null };
};

type MailboxFacts = Omit<MailboxWriteRequest, "tenantId" | "accountId">;

const decide = async (account: InputTx, request: MailboxFacts): Promise<MailboxResult> => {
  const { op, opId, deviceId } = request;
  const before = account.headSeq;
  const base = request.base ?? before;
  const endpointId = await findWritableEndpoint(account);
  const known = await loadMailboxes(account, endpointId);
  const removed = op.op === "mailbox.remove" ? op.mailboxId : null;
  const contents = removed === null ? { live: 0, changedSeq: 0n } : await readContents(account, endpointId, removed);
  const freshId = account.input.freshId() as MailboxId;
  const decided = reconcileMailboxIntent({ op, deviceId, base, known, writable: endpointId !== null, contents, freshId });
  const { result, moveTo: to, plans } = decided;
  if (removed !== null && to !== null) await moveAll(account, endpointId, { from: removed, to, deviceId, opId });
  await writeMailboxes(account, decided);
  const args = { ...argsOf(op), made: result.mailboxId };
  const said = { opId, deviceId, base, kind: op.op, args, said: null, result: { ...result, messageId: null, warnings: [] } };
  await storeIntents(account, [{ ...said, seq: account.headSeq, changes: Number(account.headSeq - before) }]);
  if (endpointId === null) return result;
  await wantMailboxes(account, endpointId, plans, opId);
  return result;
};

const mailboxWritten = defineInput("intent", "api.mailbox", async (account, facts: MailboxFacts): Promise<MailboxWritten> => {
  const first = (await loadIntents(account, [facts.opId])).get(facts.opId);
  const result = first === undefined ? await decide(account, facts) : resultAgain(facts.op, first);
  return { result, state: { epoch: account.stateEpoch, seq: account.headSeq } };
});

export class MailboxIntentWrites implements MailboxWrites<Tx> {
  write(tx: Tx, { tenantId, accountId, ...facts }: MailboxWriteRequest): Promise<MailboxWritten | null> {
    return ingestOwned(tx, { tenantId, accountId }, mailboxWritten, facts);
  }
}
