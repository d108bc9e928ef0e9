/** Intents about mailboxes, decided in the transaction that their caller commits: canonical state first, upstream follows (Q4). */
import { isDeepStrictEqual } from "node:util";
import { uuidv7 } from "uuidv7";
import type { MailboxId } from "../model/ids.ts";
import type { MailboxOp, MailboxResult, MailboxWriteRequest, MailboxWrites, MailboxWritten } from "../model/mailbox-intent.ts";
import { reconcileMailboxIntent } from "../reconciler/mailbox-intents.ts";
import { type AccountTx, lockOwned } from "../store/account-tx.ts";
import type { Tx } from "../store/database.ts";
import { findWritableEndpoint } from "../store/intent-slices.ts";
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

const decide = async (account: AccountTx, request: MailboxWriteRequest): Promise<MailboxResult> => {
  const { op, opId, deviceId } = request;
  const before = account.headSeq;
  const base = request.base ?? before;
  const endpointId = await findWritableEndpoint(account);
  const known = await loadMailboxes(account, endpointId);
  const removed = op.op === "mailbox.remove" ? op.mailboxId : null;
  const contents = removed === null ? { live: 0, changedSeq: 0n } : await readContents(account, endpointId, removed);
  const freshId = uuidv7() as MailboxId;
  const decided = reconcileMailboxIntent({ op, deviceId, base, known, writable: endpointId !== null, contents, freshId });
  const { result, moveTo: to, plans } = decided;
  if (removed !== null && to !== null) await moveAll(account, endpointId, { from: removed, to, deviceId, opId });
  await writeMailboxes(account, decided, new Date());
  const args = { ...argsOf(op), made: result.mailboxId };
  const said = { opId, deviceId, base, kind: op.op, args, said: null, result: { ...result, messageId: null, warnings: [] } };
  await storeIntents(account, [{ ...said, seq: account.headSeq, changes: Number(account.headSeq - before) }]);
  if (endpointId === null) return result;
  await wantMailboxes(account, endpointId, plans, opId);
  return result;
};

export class MailboxIntentWrites implements MailboxWrites<Tx> {
  async write(tx: Tx, request: MailboxWriteRequest): Promise<MailboxWritten | null> {
    const account = await lockOwned(tx, request);
    if (account === null) return null;
    const first = (await loadIntents(account, [request.opId])).get(request.opId);
    const result = first === undefined ? await decide(account, request) : resultAgain(request.op, first);
    return { result, state: { epoch: account.stateEpoch, seq: account.headSeq } };
  }
}
