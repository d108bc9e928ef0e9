/** What becomes of commands, in their rows. */
import { uuidv7 } from "uuidv7";
import { expect, it } from "vitest";
import type { PlacementId } from "../../src/model/ids.ts";
import type { InputTx } from "../../src/store/account-tx.ts";
import { type CommandMove, moveCommands } from "../../src/store/commands.ts";
import { type Database } from "../../src/store/database.ts";
import { listMaskedStores } from "../../src/store/ended-commands.ts";
import { replaceBy } from "../../src/store/successors.ts";
import { MailRows } from "../support/mail-rows.ts";
import { useDatabase } from "../support/open-database.ts";

let db: Database;

useDatabase((opened) => {
  db = opened;
});

it("a try counts though nothing was sent, and they begin anew where a part was done", async () => {
  const { accountId, tenantId, endpointId } = await MailRows.account(db);
  const id = uuidv7();
  await db.query({
    text: `insert into commands (account_id, id, tenant_id, endpoint_id, mailbox_id, op_id, verb, args, reason, status)
           values ($1, $2, $3, $4, $2, 'op', 'remove', '{}', 'api_write', 'planned')`,
    values: [accountId, id, tenantId, endpointId],
  });
  const move = async (rest: Partial<CommandMove>): Promise<unknown> => {
    const moved = { id, opId: "op", status: "planned", outcome: "not_empty_yet", dueAt: null, changes: [], ...rest } as const;
    await db.transaction((tx) => moveCommands({ tx, accountId, input: { at: new Date() } } as unknown as InputTx, [moved]));
    const { rows } = await db.query<{ attempts: number }>({ text: "select attempts from commands where id = $1", values: [id] });
    return rows[0]?.attempts;
  };
  expect([await move({ tried: true }), await move({ tried: true }), await move({})]).toEqual([1, 2, 2]);
  expect(await move({ progress: true })).toBe(0);
});

it("what a mailbox did not keep is gone through a page at a time, by the last that wanted it", async () => {
  const rows = await MailRows.account(db);
  const { accountId, tenantId, endpointId } = rows;
  const mailboxId = await rows.mailbox("Work");
  const ids: string[] = [];
  for (const uid of [1, 2, 3, 4, 5]) ids.push(...(await rows.message({ placements: [{ mailboxId, uid }] })).placements);
  await db.query({
    text: `insert into commands (account_id, id, tenant_id, endpoint_id, placement_id, op_id, verb, args, reason, status, ended_at)
           select $1, gen_random_uuid(), $2, $3, p.id, op, 'store', '{}', 'api_write', 'masked', now() - age * interval '1 day'
           from unnest($4::uuid[]) as p(id), (values ('last', 1), ('first', 2)) as o(op, age)`,
    values: [accountId, tenantId, endpointId, ids],
  });
  const page = (after: string | null) =>
    db.transaction((tx) =>
      listMaskedStores({ tx, accountId } as InputTx, { endpointId, mailboxId }, { after: after as PlacementId | null, limit: 2 }),
    );
  const found: unknown[] = [];
  for (let after: string | null = null; ;) {
    const some = await page(after);
    expect(some.length).toBeLessThanOrEqual(2);
    found.push(...some.map(({ opId, placement }) => [opId, placement.id]));
    after = some.at(-1)?.placement.id ?? null;
    if (after === null) break;
  }
  expect(found).toEqual(ids.toSorted().map((id) => ["last", id]));
});

it("P12: of three versions the first waits for the last, and of others nothing does", async () => {
  const rows = await MailRows.account(db);
  const { accountId, tenantId, endpointId } = rows;
  const mailboxId = await rows.mailbox("Drafts");
  const [v0, v1, other] = (await Promise.all([1, 2, 3].map((uid) => rows.message({ placements: [{ mailboxId, uid }] })))).map(
    ({ placements }) => placements[0] as PlacementId,
  ) as [PlacementId, PlacementId, PlacementId];
  const v2 = uuidv7() as PlacementId;
  for (const id of [v0, other])
    await db.query({
      text: `insert into commands (account_id, id, tenant_id, endpoint_id, placement_id, op_id, verb, args, reason, status)
             values ($1, gen_random_uuid(), $2, $3, $4, 'op', 'expunge', '{}', 'api_write', 'planned')`,
      values: [accountId, tenantId, endpointId, id],
    });
  const replace = (replaced: PlacementId, by: PlacementId) =>
    db.transaction((tx) => replaceBy({ tx, accountId } as InputTx, endpointId, [replaced], by));
  const waits = async (): Promise<unknown> => {
    const text = "select placement_id as id, args->>'after' as after from commands where account_id = $1";
    const found = await db.query<{ id: string; after: string | null }>({ text, values: [accountId] });
    return Object.fromEntries(found.rows.map(({ id, after }) => [id, after]));
  };
  await replace(v0, v1);
  expect(await waits()).toEqual({ [v0]: v1, [other]: null });
  // The one between never came there, so that nothing is owed for it.
  await replace(v1, v2);
  expect(await waits()).toEqual({ [v0]: v2, [other]: null });
});
