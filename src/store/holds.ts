/** What breaker B1 holds back, and since when (semantics 4.4). */
import { uuidv7 } from "uuidv7";
import type { EndpointId, MailboxId } from "../model/ids.ts";
import type { CutHistory } from "../reconciler/holds.ts";
import { type AccountTx, appendChanges } from "./account-tx.ts";

/** Of one mailbox. */
export interface OpenHold {
  readonly mailboxId: MailboxId;
  readonly count: number;
  readonly history: CutHistory | null;
}

const logHold = async (
  account: AccountTx,
  endpointId: EndpointId,
  kind: "hold.opened" | "hold.closed",
  {
    mailboxId,
    at,
    rule = "B1",
    ...after
  }: { mailboxId: MailboxId; reason: string; count: number; outcome?: string; at: Date; rule?: string },
): Promise<void> => {
  const none = { messageId: null, placementId: null, before: null, deviceId: null, confidence: null, evidence: [] };
  const why = { source: "rule", reason: after.reason, rule } as const;
  await appendChanges(account, [{ kind, mailboxId, endpointId, after, ...why, ...none }], at, null);
};

export const loadHolds = async (account: AccountTx, reason: string): Promise<ReadonlyMap<MailboxId, OpenHold>> => {
  const { rows } = await account.tx.query<{ mailbox_id: MailboxId; count: number; evidence: CutHistory[] }>({
    name: "holds_open",
    text: `select mailbox_id, count, evidence from holds where account_id = $1 and reason = $2 and closed_at is null and mailbox_id is not null`,
    values: [account.accountId, reason],
  });
  return new Map(
    rows.map((row) => [row.mailbox_id, { mailboxId: row.mailbox_id, count: row.count, history: row.evidence[0] ?? null }]),
  );
};

/** Opens a hold, or brings an open one up to date; writes nothing where nothing changed. */
export const keepHold = async (
  account: AccountTx,
  endpointId: EndpointId,
  open: OpenHold | null,
  now: {
    readonly mailboxId: MailboxId;
    readonly reason: string;
    readonly count: number;
    readonly history: CutHistory | null;
    /** B1 where it is not given. */
    readonly rule?: string;
    readonly at: Date;
  },
): Promise<void> => {
  const { mailboxId, reason, count, history, at } = now;
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
  await account.tx.query({
    name: "hold_open",
    text: `insert into holds (account_id, id, tenant_id, mailbox_id, reason, count, evidence, since) values ($1, $2, $3, $4, $5, $6, $7, $8)`,
    values: [account.accountId, uuidv7(), account.tenantId, mailboxId, reason, count, evidence, at],
  });
  await logHold(account, endpointId, "hold.opened", { mailboxId, reason, count, rule, at });
};

/** `reappeared`: nothing is missing any more; `released`: it was given up as `kept`. */
export const closeHold = async (
  account: AccountTx,
  endpointId: EndpointId,
  { mailboxId, count }: OpenHold,
  {
    reason,
    outcome,
    at,
    rule = "B1",
  }: {
    readonly reason: string;
    readonly outcome: "reappeared" | "released" | "octets_sound";
    readonly rule?: string;
    readonly at: Date;
  },
): Promise<void> => {
  await account.tx.query({
    name: "hold_close",
    text: `update holds set closed_at = $4, outcome = $5 where account_id = $1 and mailbox_id = $2 and reason = $3 and closed_at is null`,
    values: [account.accountId, mailboxId, reason, at, outcome],
  });
  await logHold(account, endpointId, "hold.closed", { mailboxId, reason, count, outcome, rule, at });
};
