/** Mail that is gone from IMAP: much of an account, what a server removes by age, and what a POP3 device takes in one go. */
import { describe, expect, it } from "vitest";
import { alteredChangesOf, mailboxesOf, type SeenChange, statusOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount } from "../support/daemon.ts";
import { queryOnce } from "../support/database-server.ts";
import type { Dovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { useGround } from "../support/ground.ts";
import { drain, sweep } from "../support/pop3-account.ts";
import type { FreshDatabase } from "../support/postgres.ts";

let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;

const patience = { timeoutMs: 60_000 };
const mail = (subject: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@masses.test>\r\n\r\nbody of ${subject}\r\n`);
const mails = (name: string, count: number): Buffer[] => Array.from({ length: count }, (_, at) => mail(`${name}${at}`));

useGround({ users: 6 }, (ground) => {
  ({ server, fresh, daemon } = ground);
});

const deliver = (n: number, mailbox: string, messages: readonly Buffer[]): Promise<number> =>
  server.deliver({ user: server.account(n).user, mailbox, messages });

const expunge = (n: number, mailbox: string, ...which: readonly string[]): Promise<unknown> =>
  server.doveadm("expunge", "-u", server.account(n).user, "mailbox", mailbox, ...which);

const decisionsOf = async (accountId: string): Promise<readonly SeenChange[]> =>
  (await alteredChangesOf(daemon, accountId)).filter(({ kind }) => kind === "message.kept" || kind === "message.removed");

/** Waits until so many were decided about. */
const decided = (accountId: string, count: number): Promise<readonly SeenChange[]> =>
  eventually(
    `${count} are decided`,
    async () => {
      const log = await decisionsOf(accountId);
      expect(log).toHaveLength(count);
      return log;
    },
    patience,
  );

const storyOf = ({ kind, reason, rule }: SeenChange): string => `${kind} ${reason} ${rule}`;

interface ShownHold {
  readonly id: string;
  readonly reason: string;
  readonly count: number;
}

const holdsOf = async (accountId: string): Promise<readonly ShownHold[]> =>
  (await daemon.call<{ items: ShownHold[] }>("GET", `/v1/accounts/${accountId}/holds`)).body.items;

const held = (accountId: string, counts: readonly number[]): Promise<readonly ShownHold[]> =>
  eventually(
    `${counts.join()} are held`,
    async () => {
      const holds = await holdsOf(accountId);
      expect(holds.map(({ reason, count }) => [reason, count])).toEqual(counts.map((count) => ["mass_vanish", count]));
      return holds;
    },
    patience,
  );

const approveAll = async (accountId: string): Promise<void> => {
  for (const { id } of await holdsOf(accountId))
    expect((await daemon.call("POST", `/v1/accounts/${accountId}/holds/${id}/approve`)).status).toBe(202);
  await eventually("nothing is held", async () => (await holdsOf(accountId)).length === 0, patience);
};

describe("breaker B1", () => {
  it("S18: holds a tenth of an account of which no mailbox lost much", { timeout: 360_000 }, async () => {
    const boxes = ["INBOX", "Sent", "Archive", "Drafts", "Lists"];
    await server.doveadm("mailbox", "create", "-s", "-u", server.account(1).user, "Lists");
    for (const box of boxes) await deliver(1, box, mails(box, 60));
    const accountId = await liveAccount(daemon, dovecotAccount(server, 1));
    for (const box of boxes) await expunge(1, box, "1:12");
    await eventually(
      "what is not believed is held",
      async () => {
        const waiting = (await holdsOf(accountId)).reduce((sum, { count }) => sum + count, 0);
        const removed = (await decisionsOf(accountId)).length;
        expect(waiting + removed).toBe(60);
        // Looks may have come between the mailboxes: what was removed before counts.
        expect(removed).toBeLessThan(50);
        return true;
      },
      patience,
    );
    await approveAll(accountId);
    expect(new Set((await decided(accountId, 60)).map(storyOf))).toEqual(new Set(["message.removed user_expunge V17"]));
  });

  it("S18: holds what follows, within ten minutes, on what was too little to be held", { timeout: 360_000 }, async () => {
    await deliver(2, "INBOX", mails("m", 60));
    const accountId = await liveAccount(daemon, dovecotAccount(server, 2));
    await expunge(2, "INBOX", "1:15");
    await decided(accountId, 15);
    await expunge(2, "INBOX", "1:10");
    await held(accountId, [10]);
    await approveAll(accountId);
    // Somebody has looked at it: what follows now is counted anew.
    await expunge(2, "INBOX", "1:3");
    await decided(accountId, 28);
  });
});

/** All that is known of when mail came says that it came so many days earlier. */
const earlier = (days: number): Promise<unknown> => queryOnce(fresh.url, `update changes set at = at - interval '${days} days'`);

describe("a server that empties Trash by age", () => {
  const toTrash = async (n: number, count: number): Promise<void> => {
    await using device = await server.device(n);
    await device.select("INBOX");
    await device.command(`MOVE 1:${count} Trash`);
  };

  it("V10: is learned from what goes at one age, and told from what a person removes there", { timeout: 360_000 }, async () => {
    await deliver(3, "INBOX", mails("m", 9));
    const accountId = await liveAccount(daemon, dovecotAccount(server, 3));
    const trash = (await mailboxesOf(daemon, accountId)).get("Trash")?.id;
    const moved = (count: number) =>
      eventually(
        `${count} are in Trash`,
        async () => {
          const log = (await alteredChangesOf(daemon, accountId)).filter(({ kind }) => kind === "message.moved");
          return log.length === count && log.every(({ after }) => after?.["mailboxId"] === trash);
        },
        patience,
      );
    await toTrash(3, 3);
    await moved(3);
    await earlier(20);
    await toTrash(3, 3);
    await moved(6);
    await earlier(10.5);
    // Of one age, too, but older mail stays: a person removes it.
    await expunge(3, "Trash", "4:6");
    expect(new Set((await decided(accountId, 3)).map(storyOf))).toEqual(new Set(["message.removed user_expunge V11"]));
    await toTrash(3, 1);
    await moved(7);
    await expunge(3, "Trash", "1:3");
    expect(new Set((await decided(accountId, 6)).slice(3).map(storyOf))).toEqual(new Set(["message.removed retention V10"]));
    await eventually("it is in the profile", async () => {
      expect((await statusOf(daemon, accountId)).endpoint.profile).toMatchObject({ trashRetentionDays: 30 });
      return true;
    });
    await expunge(3, "Trash", "1");
    expect((await decided(accountId, 7)).slice(6).map(storyOf)).toEqual(["message.removed user_expunge V11"]);
  });
});

describe("a POP3 device that takes what is new", () => {
  it("V13: is told by the shape of what it takes, where mod-sequences were not learned", { timeout: 360_000 }, async () => {
    await deliver(4, "INBOX", mails("m", 8));
    const accountId = await liveAccount(daemon, { ...dovecotAccount(server, 4), policy: { pop3Devices: "declared" } });
    await expunge(4, "INBOX", "6:8");
    const run = await decided(accountId, 3);
    expect(run.map((change) => [storyOf(change), Math.round((change.confidence ?? 0) * 100)])).toEqual(
      Array.from({ length: 3 }, () => ["message.kept pop3_drain V13", 85]),
    );
    // Not up to the newest, and of no age: no shape.
    await drain(server, 4, 2);
    const rest = (await decided(accountId, 5)).slice(3);
    expect(rest.map(storyOf)).toEqual(Array.from({ length: 2 }, () => "message.kept pop3_drain V14"));
    await sweep(daemon, accountId);
    expect(await holdsOf(accountId)).toEqual([]);
  });
});
