import fc from "fast-check";
import { uuidv7 } from "uuidv7";
import { expect, test } from "vitest";
import type { DecidedChange } from "../../src/model/change.ts";
import { toChangeJson } from "../../src/model/change-json.ts";
import { appendChanges, inAccount } from "../../src/store/account-tx.ts";
import { readChanges } from "../../src/store/change-reads.ts";
import { type Database } from "../../src/store/database.ts";
import { expectChained } from "../support/hash-chain.ts";
import { makeAccount } from "../support/shard-owner.ts";
import { useDatabase } from "../support/open-database.ts";

let db: Database;

useDatabase((opened) => {
  db = opened;
});

const id = fc.uuid({ version: 7 });
const text = fc.string({ unit: fc.constantFrom("a", "$", "é", "\u{1F4E7}", "\0", "\\", '"', "\u2028", "\n", "1") });
const json = fc.oneof(
  fc.dictionary(
    fc.oneof(fc.constantFrom("mailboxId", "mailboxIds", "9", "10", "$seen"), fc.string({ unit: "grapheme" })),
    fc.oneof(text, id, fc.double({ noNaN: true, noDefaultInfinity: true }), fc.integer(), fc.constant(null), fc.array(text)),
  ),
);
const changeArbitrary = fc.record({
  kind: fc.constantFrom("message.created", "conflict.resolved"),
  messageId: fc.option(id),
  mailboxId: fc.option(id),
  placementId: fc.option(id),
  before: fc.option(json),
  after: fc.option(json),
  source: fc.constantFrom("imap", "api"),
  endpointId: fc.option(id),
  deviceId: fc.option(text),
  reason: text,
  rule: fc.option(text),
  confidence: fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
  evidence: fc.array(json, { maxLength: 3 }),
}) as fc.Arbitrary<DecidedChange>;

test("what is read of the log proves the hashes, whatever stands in it", async () => {
  const { context } = await makeAccount(db);
  await fc.assert(
    fc.asyncProperty(
      fc.array(changeArbitrary, { maxLength: 20 }),
      fc.date({ noInvalidDate: true, min: new Date(0), max: new Date("2200-01-01") }),
      async (changes, at) => {
        await inAccount(db, context.fence, context.accountId, (account) =>
          appendChanges({ ...account, input: { id: uuidv7(), at, freshId: uuidv7 } }, changes),
        );
      },
    ),
    { numRuns: 40 },
  );
  const page = await readChanges(db, context.accountId, { epoch: 0, seq: 0n }, 10_000);
  if (page.outcome !== "changes") throw new Error(page.outcome);
  const shown = page.changes.map(toChangeJson);
  expect(shown.length).toBeGreaterThan(100);
  expectChained(shown);
  const [first, , ...rest] = shown;
  if (first === undefined) throw new Error("nothing was written");
  expect(() => expectChained([first, ...rest])).toThrow("does not follow");
  expect(() => expectChained([Object.assign({}, first, { reason: `${first.reason}!` })])).toThrow("does not follow");
  const { rows } = await db.query<{ head_hash: Buffer }>({
    text: `select head_hash from accounts where id = $1`,
    values: [context.accountId],
  });
  expect(rows[0]?.head_hash.toString("hex")).toBe(shown.at(-1)?.hash);
});
