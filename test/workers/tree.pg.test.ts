import { expect, it } from "vitest";
import { type Database } from "../../src/store/database.ts";
import { refreshMailboxes } from "../../src/workers/tree.ts";
import { makeAccount } from "../support/shard-owner.ts";
import { useDatabase } from "../support/open-database.ts";

let db: Database;

useDatabase((opened) => {
  db = opened;
});

it("a mailbox that had another one in its place is read again where it is found (D9)", async () => {
  const { context, mailbox } = await makeAccount(db);
  const [found, other] = [await mailbox("Proj", 2), await mailbox("Work", 2)];
  found.replaced = other.replaced = true;
  await db.query({
    text: `update upstream_mailboxes set path = 'Old' where account_id = $1 and mailbox_id = $2`,
    values: [context.accountId, found.mailboxId],
  });
  await refreshMailboxes(context, new Map());
  expect([found, other].map(({ path, replaced }) => [path, replaced])).toEqual([
    ["Old", false],
    ["Work", true],
  ]);
});
