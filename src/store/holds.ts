/** What breakers hold back, and since when (semantics 4.4). */
import type { HoldDecision } from "../model/hold.ts";
import type { EndpointId, MailboxId } from "../model/ids.ts";
import type { CutHistory } from "../reconciler/holds.ts";
import { holds } from "../telemetry/metrics.ts";
import { type AccountTx, appendChanges, type InputTx } from "./account-tx.ts";

/** Of one mailbox. */
export interface OpenHold {
  readonly id: string;
  readonly mailboxId: MailboxId;
  readonly count: number;
  readonly history: CutHistory | null;
  /** What somebody said of it, and on which device; null: nobody did. */
  readonly decided: { readonly as: HoldDecision; readonly by: string } | null;
}

interface HoldEvent {
  readonly holdId: string;
  readonly mailboxId: MailboxId;
  readonly reason: string;
  readonly count: number;
  readonly outcome?: string;
  readonly rule?: string;
  /** Who decided; absent: nobody had to. */
  readonly by?: string;
}

const logHold = async (
  account: InputTx,
  endpointId: EndpointId,
  kind: "hold.opened" | "hold.closed",
  { mailboxId, rule = "B1", by, ...after }: HoldEvent,
): Promise<void> => {
  holds.inc({ reason: after.reason, event: kind === "hold.opened" ? "opened" : "closed" });
  const none = { messageId: null, placementId: null, before: null, confidence: null, evidence: [] };
  const who = by === undefined ? ({ source: "rule", deviceId: null } as const) : ({ source: "api", deviceId: by } as const);
  await appendChanges(account, [{ kind, mailboxId, endpointId, after, ...who, reason: after.reason, rule, ...none }]);
};

export const loadHolds = async (account: AccountTx, reason: string): Promise<ReadonlyMap<MailboxId, OpenHold>> => {
  const { rows } = await account.tx.query<{
    id: string;
    mailbox_id: MailboxId;
    count: number;
    evidence: CutHistory[];
    decision: HoldDecision | null;
    decided_by: string | null;
  }>({
    name: "holds_open",
    text: `select id, mailbox_id, count, evidence, decision, decided_by from holds
           where account_id = $1 and reason = $2 and closed_at is null and mailbox_id is not null`,
    values: [account.accountId, reason],
  });
  return new Map(
    rows.map(({ id, mailbox_id: mailboxId, count, evidence, decision, decided_by: by }) => [
      mailboxId,
      {
        id,
        mailboxId,
        count,
        history: evidence[0] ?? null,
        decided: decision === null || by === null ? null : { as: decision, by },
      },
    ]),
  );
};

/** Opens a hold, or brings an open one up to date; writes nothing where nothing changed. */
export const keepHold = async (
  account: InputTx,
  endpointId: EndpointId,
  open: OpenHold | null,
  now: {
    readonly mailboxId: MailboxId;
    readonly reason: string;
    readonly count: number;
    readonly history: CutHistory | null;
    /** B1 where it is not given. */
    readonly rule?: string;
  },
): Promise<void> => {
  const { mailboxId, reason, count, history } = now;
  const rule = now.rule ?? "B1";
  if (open !== null && open.count === count && open.history === history) return;
  const evidence = JSON.stringify(history === null ? [] : [history]);
  if (open !== null) {
    await account.tx.query({
      name: "hold_update",
      text: `update holds set count = $4, evidence = $5 where account_id = $1 and mailbox_id = $2 and reason = $3 and closed_at is null`,
      values: [account.accountId, mailboxId, reason, count, evidence],
    });
    return;
  }
  const holdId = account.input.freshId();
  await account.tx.query({
    name: "hold_open",
    text: `insert into holds (account_id, id, tenant_id, mailbox_id, reason, count, evidence, since) values ($1, $2, $3, $4, $5, $6, $7, $8)`,
    values: [account.accountId, holdId, account.tenantId, mailboxId, reason, count, evidence, account.input.at],
  });
  await logHold(account, endpointId, "hold.opened", { holdId, mailboxId, reason, count, rule });
};

/** `reappeared`: nothing is missing any more; `released`: it was given up as `kept`; `rebound`: its mail was found again. */
export type HoldOutcome = "reappeared" | "released" | "octets_sound" | "rebound" | HoldDecision;

export const closeHold = async (
  account: InputTx,
  endpointId: EndpointId,
  { id: holdId, mailboxId, count, decided }: OpenHold,
  { reason, outcome, rule }: { readonly reason: string; readonly outcome: HoldOutcome; readonly rule?: string },
): Promise<void> => {
  await account.tx.query({
    name: "hold_close",
    text: `update holds set closed_at = $3, outcome = $4 where account_id = $1 and id = $2 and closed_at is null`,
    values: [account.accountId, holdId, account.input.at, outcome],
  });
  const by = outcome === decided?.as ? { by: decided.by } : {};
  await logHold(account, endpointId, "hold.closed", {
    holdId,
    mailboxId,
    reason,
    count,
    outcome,
    ...(rule !== undefined && { rule }),
    ...by,
  });
};

/** What was said of this epoch of the mailbox; null: nothing had to be. */
export const epochDecision = async (account: AccountTx, mailboxId: MailboxId, epoch: number): Promise<OpenHold["decided"]> => {
  const { rows } = await account.tx.query<NonNullable<OpenHold["decided"]>>({
    name: "hold_epoch_decision",
    text: `select outcome as "as", decided_by as "by" from holds where account_id = $1 and mailbox_id = $2 and reason = 'epoch' and outcome in ('approved', 'rejected')
             and (evidence->0->>'epoch')::int = $3 limit 1`,
    values: [account.accountId, mailboxId, epoch],
  });
  return rows[0] ?? null;
};
