/** What a mailbox that is gone, or numbered anew, leaves without an item. */
import { uuidv7 } from "uuidv7";
import { expect, it } from "vitest";
import type { PlacementId } from "../../src/model/ids.ts";
import type { InputTx } from "../../src/store/account-tx.ts";
import { allowWholeMailbox, markUnbound } from "../../src/store/candidates.ts";
import { type Database, type Queryable } from "../../src/store/database.ts";
import { MailRows } from "../support/mail-rows.ts";
import { useDatabase } from "../support/open-database.ts";

let db: Database;

useDatabase((opened) => {
  db = opened;
});

it.each([
  ["is missing", "elsewhere", null, true],
  ["is not, while it is being put where it is wanted", "elsewhere", "planned", false],
  ["is not, where the server would not take it where it is wanted", "elsewhere", "failed", false],
  ["is not, where the other mailbox cannot hold it", "elsewhere", "masked", false],
  ["is missing, when it was put there and went", "elsewhere", "confirmed", true],
  ["is missing here, though the server would not take it here once", "here", "failed", true],
] as const)("what a new epoch shows no more %s (wanted %s, its APPEND %s)", async (_name, wanted, append, missing) => {
  const rows = await MailRows.account(db);
  const { accountId, tenantId, endpointId } = rows;
  const [inbox, work] = [await rows.mailbox("INBOX", { role: "inbox" }), await rows.mailbox("Work")];
  const { placements } = await rows.message({ placements: [{ mailboxId: inbox, uid: 7 }] });
  const id = placements[0] as PlacementId;
  await db.query({
    text: `update bindings set active = false, closed_reason = 'epoch' where account_id = $1`,
    values: [accountId],
  });
  if (wanted === "elsewhere")
    await db.query({
      text: `update placements set mailbox_id = $2 where account_id = $1 and id = $3`,
      values: [accountId, work, id],
    });
  if (append !== null)
    await db.query({
      text: `insert into commands (account_id, id, tenant_id, endpoint_id, placement_id, op_id, verb, args, reason, status, sent_at, ended_at)
             select $1, $2, $3, $4, $5, 'op', 'append', '{}', 'api_write', $6, s.at, s.at from (select case when $6 <> 'planned' then now() end as at) s`,
      values: [accountId, uuidv7(), tenantId, endpointId, id, append],
    });
  await db.transaction((tx) =>
    markUnbound({ tx, accountId, input: { at: new Date() } } as unknown as InputTx, endpointId, inbox),
  );
  const { rows: found } = await db.query<{ missing: boolean }>({
    text: `select absent_since is not null as missing from placements where account_id = $1 and id = $2`,
    values: [accountId, id],
  });
  expect(found).toEqual([{ missing }]);
});

it("a statement on a whole mailbox may take long, and the next transaction's may not", async () => {
  const timeout = async (tx: Queryable): Promise<unknown> => (await tx.query({ text: "show statement_timeout" })).rows[0];
  const inside = await db.transaction(async (tx) => {
    await allowWholeMailbox({ tx });
    return timeout(tx);
  });
  expect([inside, await timeout(db)]).toEqual([{ statement_timeout: "5min" }, { statement_timeout: "30s" }]);
});
