/** The journal of what had to be RETRed while IMAP was down: durable before the server is asked (semantics K11). */
import type { EndpointId, MailboxId } from "../model/ids.ts";
import type { ListedItem } from "../model/maildrop.ts";
import type { RetrievedItem } from "../reconciler/retrieved.ts";
import type { Scope } from "../reconciler/state.ts";
import type { AccountTx, InputTx } from "./account-tx.ts";
import { bindingColumns, placementColumns, type PlacementRow, toView } from "./slices.ts";

/** Notes items that are about to be RETRed. One whose marking was settled once stays settled. */
export const noteRetrievals = async (account: InputTx, scope: Scope, items: readonly ListedItem[]): Promise<void> => {
  const { at } = account.input;
  await account.tx.query({
    name: "retrievals_note",
    text: `insert into retrievals (account_id, endpoint_id, epoch, uidl, occurrence, tenant_id, retrieved_at)
           select $1, $2, $3, w.uidl, w.occurrence, $4, $5 from unnest($6::text[], $7::smallint[]) as w(uidl, occurrence)
           on conflict (account_id, endpoint_id, epoch, uidl, occurrence) do update set retrieved_at = excluded.retrieved_at
             where retrievals.outcome is null`,
    values: [
      account.accountId,
      scope.endpointId,
      scope.epoch,
      account.tenantId,
      at,
      items.map(({ uidl }) => uidl),
      items.map(({ occurrence }) => occurrence),
    ],
  });
};

export interface Retrieval {
  readonly endpointId: EndpointId;
  readonly epoch: number;
  readonly uidl: string;
  readonly occurrence: number;
  readonly item: RetrievedItem;
}

/** Open entries whose items IMAP shows, with what it says of them. */
export const loadRetrievals = async (account: AccountTx): Promise<Retrieval[]> => {
  const { rows } = await account.tx.query<
    PlacementRow & {
      readonly r_endpoint_id: EndpointId;
      readonly r_epoch: number;
      readonly uidl: string;
      readonly occurrence: number;
      readonly retrieved_at: Date;
      readonly b_endpoint_id: EndpointId;
      readonly b_mailbox_id: MailboxId;
      readonly read_over_api: boolean;
    }
  >({
    name: "retrievals_open",
    text: `select r.endpoint_id as r_endpoint_id, r.epoch as r_epoch, r.uidl, r.occurrence, r.retrieved_at,
             ${placementColumns}, ${bindingColumns}, b.endpoint_id as b_endpoint_id,
             exists (select from changes c where c.account_id = p.account_id and c.message_id = p.message_id and c.source = 'api'
                       and c.after->'keywords' ? '$seen') as read_over_api
           from retrievals r
           join bindings l on l.account_id = r.account_id and l.endpoint_id = r.endpoint_id and l.epoch = r.epoch and l.uidl = r.uidl and l.occurrence = r.occurrence
           join placements p on p.account_id = l.account_id and p.id = l.placement_id and p.lifecycle = 'live'
           join bindings b on b.account_id = p.account_id and b.placement_id = p.id and b.endpoint_id <> r.endpoint_id and b.active
           where r.account_id = $1 and r.outcome is null order by p.id, r.endpoint_id, r.epoch, r.uidl, r.occurrence, b.uid`,
    values: [account.accountId],
  });
  return rows.map((row) => ({
    endpointId: row.r_endpoint_id,
    epoch: row.r_epoch,
    uidl: row.uidl,
    occurrence: row.occurrence,
    item: {
      retrievedAt: row.retrieved_at.getTime(),
      placement: toView(row),
      imapEndpointId: row.b_endpoint_id,
      readOverApi: row.read_over_api,
    },
  }));
};

/** Closes entries with what became of them. */
export const endRetrievals = async (
  account: InputTx,
  ended: readonly (Pick<Retrieval, "endpointId" | "epoch" | "uidl" | "occurrence"> & { readonly outcome: string })[],
): Promise<void> => {
  if (ended.length === 0) return;
  await account.tx.query({
    name: "retrievals_end",
    text: `update retrievals r set outcome = w.outcome from unnest($2::uuid[], $3::int[], $4::text[], $5::smallint[], $6::text[]) as w(endpoint_id, epoch, uidl, occurrence, outcome)
           where r.account_id = $1 and r.endpoint_id = w.endpoint_id and r.epoch = w.epoch and r.uidl = w.uidl and r.occurrence = w.occurrence`,
    values: [
      account.accountId,
      ended.map(({ endpointId }) => endpointId),
      ended.map(({ epoch }) => epoch),
      ended.map(({ uidl }) => uidl),
      ended.map(({ occurrence }) => occurrence),
      ended.map(({ outcome }) => outcome),
    ],
  });
};

/**
 * Closes entries of items that nobody shows any more: they were taken before IMAP showed them, so that nothing is to be set back.
 * Only right when all that the maildrop lists is bound.
 */
export const endGoneRetrievals = async (account: InputTx): Promise<void> => {
  await account.tx.query({
    name: "retrievals_gone",
    text: `update retrievals r set outcome = 'gone'
           where r.account_id = $1 and r.outcome is null and not exists (
             select from bindings l join bindings x on x.account_id = l.account_id and x.placement_id = l.placement_id and x.active
             where l.account_id = r.account_id and l.endpoint_id = r.endpoint_id and l.epoch = r.epoch and l.uidl = r.uidl and l.occurrence = r.occurrence)`,
    values: [account.accountId],
  });
};

/** Entries that nothing is decided about yet. */
export const hasRetrievals = async (account: AccountTx): Promise<boolean> => {
  const { rowCount } = await account.tx.query({
    name: "retrievals_any",
    text: `select 1 from retrievals where account_id = $1 and outcome is null limit 1`,
    values: [account.accountId],
  });
  return rowCount > 0;
};
