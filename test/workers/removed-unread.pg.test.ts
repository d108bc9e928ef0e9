/** What was removed here, and whose mailbox is numbered anew and not read again yet (ID-8). */
import { describe, expect, it } from "vitest";
import type { Session } from "../../src/endpoints/endpoint.ts";
import type { PlacementId } from "../../src/model/ids.ts";
import type { MailIntent } from "../../src/model/intent.ts";
import type { FetchedItem, HeadItem } from "../../src/model/observation.ts";
import { type ExpungeStep, reviewExpunge } from "../../src/reconciler/moves.ts";
import { listOpenCommands } from "../../src/store/commands.ts";
import { type Database } from "../../src/store/database.ts";
import { commitItems, prepareBatch } from "../../src/workers/commit.ts";
import { beginEpoch } from "../../src/workers/epoch.ts";
import { settleLeftOver } from "../../src/workers/epoch-holds.ts";
import { IntentWrites } from "../../src/workers/intents.ts";
import type { MailboxLane } from "../../src/workers/lane-state.ts";
import { commitPairs } from "../../src/workers/rebinding.ts";
import { recognise } from "../../src/workers/recognise.ts";
import { defaultTenant, itemOf, makeAccount } from "../support/shard-owner.ts";
import { useDatabase } from "../support/open-database.ts";

let db: Database;

useDatabase((opened) => {
  db = opened;
});

const textOf = (name: string, body = name): string => `Subject: ${name}\r\nMessage-ID: <${name}@example.test>\r\n\r\n${body}\r\n`;

interface State {
  readonly id: PlacementId;
  readonly messageId: string;
  readonly name: string;
  readonly box: string;
  readonly lifecycle: string;
  readonly missing: boolean;
}

/** INBOX with three mails, Archive with a copy of the first, and Work; all read to the end. */
const begin = async () => {
  const { context, mailbox } = await makeAccount(db);
  const { accountId, endpointId } = context;
  await db.query({
    text: `insert into endpoints (account_id, id, tenant_id, protocol, host, port, security, auth_type, auth_user, credentials)
           values ($1, $2, $3, 'imap', 'mail.example.test', 993, 'tls', 'password', 'ana', 'sealed')`,
    values: [accountId, endpointId, defaultTenant],
  });
  const [inbox, archive, work] = [await mailbox("INBOX", 4), await mailbox("Archive", 2), await mailbox("Work", 2)];
  const read = async (box: MailboxLane, items: readonly FetchedItem[]) => {
    const batch = await prepareBatch(context, items);
    const { cursor } = box;
    const move = cursor === null ? null : { cursor, backfillLow: 1, audited: true };
    await commitItems(context, box, { batch, reason: "backfilled", move });
  };
  await read(
    inbox,
    ["one", "two", "three"].map((name, at) => itemOf(at + 1, textOf(name))),
  );
  await read(archive, [itemOf(1, textOf("one"))]);
  await read(work, []);
  const state = async (name: string, box: string): Promise<State> => {
    const { rows } = await db.query<State>({
      text: `select p.id, p.message_id as "messageId", b.name as box, p.lifecycle, p.absent_since is not null as missing
             from placements p join messages m on m.account_id = p.account_id and m.id = p.message_id
             join mailboxes b on b.account_id = p.account_id and b.id = p.mailbox_id
             where p.account_id = $1 and m.subject = $2 and b.name = $3 order by p.created_seq limit 1`,
      values: [accountId, name, box],
    });
    return rows[0] as State;
  };
  let said = 0;
  const say = async (op: MailIntent["op"]) => {
    const { rows } = await db.query<{ head: bigint }>({
      text: `select head_seq as head from accounts where id = $1`,
      values: [accountId],
    });
    const intents = [{ opId: `op${(said += 1)}`, op }];
    const request = { tenantId: defaultTenant, accountId, deviceId: "phone", base: rows[0]?.head ?? 0n, intents };
    const written = await db.transaction((tx) =>
      new IntentWrites({ maxMessageBytes: 1e6, spoolDir: "/nowhere" }).write(tx, request),
    );
    return written?.results[0]?.reason;
  };
  const removed = async () => {
    const { messageId } = await state("one", "INBOX");
    return say({ op: "patch", messageId, keywords: {}, mailboxIds: { [inbox.mailboxId]: false } } as MailIntent["op"]);
  };
  const purged = async (name: string) => {
    const { messageId } = await state(name, "INBOX");
    return say({ op: "purge", messageId } as MailIntent["op"]);
  };
  const renumber = (): Promise<void> =>
    beginEpoch(context, inbox, {
      path: inbox.path,
      startedAt: new Date(),
      endedAt: new Date(),
      uidValidity: 2,
      uidNext: 4,
      highestModseq: 1n,
      exists: 3,
      permanentFlags: [],
      numbersLast: true,
      method: "full",
      flags: [],
      vanished: [],
      present: null,
    });
  /** What becomes of the removals that are owed. */
  const steps = async (): Promise<ExpungeStep[]> => {
    const open = await listOpenCommands(db, accountId, endpointId);
    return open
      .filter(({ verb }) => verb === "expunge")
      .map((command) =>
        reviewExpunge(command, { durable: command.content !== null, room: true, succession: "done", lasting: true }),
      );
  };
  return { context, inbox, archive, work, read, state, removed, purged, renumber, steps };
};

const waits = { kind: "wait", outcome: "unbound" };

describe.each([
  ["before its mailbox was numbered anew", false],
  ["after that", true],
] as const)("what was removed %s", (_when, after) => {
  const beginRemoved = async () => {
    const account = await begin();
    if (after) await account.renumber();
    await account.removed();
    if (!after) await account.renumber();
    expect(await account.steps()).toMatchObject([waits]);
    return account;
  };

  it("P7, I15: is removed under its new number, and lives no more", async () => {
    const { inbox, read, state, steps } = await beginRemoved();
    await read(inbox, [itemOf(2, textOf("two")), itemOf(3, textOf("one"))]);
    expect(await steps()).toMatchObject([{ kind: "send", uid: 3 }]);
    expect(await state("one", "INBOX")).toMatchObject({ lifecycle: "removed" });
  });

  it("I16: is done where it is not among what is read", async () => {
    const { context, inbox, read, steps } = await beginRemoved();
    await read(inbox, [itemOf(2, textOf("two")), itemOf(3, textOf("three"))]);
    await settleLeftOver(context, inbox);
    expect(await steps()).toMatchObject([{ kind: "end", outcome: "already_so" }]);
  });

  it("P7: does not live by a copy elsewhere", async () => {
    const { work, read, state, steps } = await beginRemoved();
    await read(work, [itemOf(1, textOf("one"))]);
    expect([await state("one", "INBOX"), await state("one", "Work")]).toMatchObject([
      { lifecycle: "removed" },
      { lifecycle: "live" },
    ]);
    expect(await steps()).toMatchObject([waits]);
  });

  it("I2: does not take another version along that has its header block and its length", async () => {
    const { context, inbox, read, state, steps } = await beginRemoved();
    const listed = [textOf("one", "eno"), textOf("two"), textOf("three")].map((text, at): HeadItem => {
      const octets = Buffer.from(text);
      const head = octets.subarray(0, octets.indexOf("\r\n\r\n") + 4);
      return { ...itemOf(at + 1, text), modseq: null, size: octets.length, head };
    });
    const session = {
      profile: {},
      async *heads() {
        yield listed;
      },
    } as unknown as Session;
    const turn = { ranges: () => [{ from: 1, to: 3 }], until: Date.now() + 60_000 };
    await recognise(context, session, inbox, turn, new AbortController().signal);
    expect(inbox).toMatchObject({ held: 0, bound: 2 });
    await read(inbox, [itemOf(1, textOf("one", "eno"))]);
    expect(await steps()).toMatchObject([waits]);
    expect((await state("one", "INBOX")).lifecycle).toBe("removed");
  });
});

it("I2: what was removed while it was compared by its header block is not bound by that", async () => {
  const { context, inbox, state, removed, renumber } = await begin();
  await renumber();
  const { id: placementId } = await state("one", "INBOX");
  await removed();
  const item = { uid: 1, flags: [], modseq: null, receivedAt: 0, objectId: null };
  expect(await commitPairs(context, inbox, [{ pair: { uid: 1, placementId, level: "L4" }, item }])).toEqual([]);
});

it("P10: what has no number in a new epoch is not destroyed until the mailbox is read", async () => {
  const { inbox, read, purged, renumber } = await begin();
  await renumber();
  expect(await purged("two")).toBe("mailbox_renumbered");
  await read(inbox, [itemOf(2, textOf("two"))]);
  expect(await purged("two")).toBe("purged");
});

it("C3: what was put there and bound, and is not shown in a new epoch, is missing", async () => {
  const { context, inbox, read, state, renumber } = await begin();
  const { id } = await state("two", "INBOX");
  await db.query({
    text: `insert into commands (account_id, id, tenant_id, endpoint_id, placement_id, verb, args, reason, op_id, status, sent_at, fence, attempts)
           values ($1, gen_random_uuid(), $2, $3, $4, 'append', '{}', 'api_write', 'op', 'sent', now(), '{}', 1)`,
    values: [context.accountId, defaultTenant, context.endpointId, id],
  });
  await renumber();
  await read(inbox, [itemOf(1, textOf("one")), itemOf(3, textOf("three"))]);
  await settleLeftOver(context, inbox);
  expect(await state("two", "INBOX")).toMatchObject({ missing: true });
});
