/** Clients that have no MOVE copy mail and mark the first as deleted: seen in that order, it is one mail that moved (ID-5a2). */
import { describe, expect, it } from "vitest";
import { changesOf, mailboxesOf, messagesOf } from "../support/account-view.ts";
import { numberAnew, purge, renumber } from "../support/api-writes.ts";
import { type Daemon, dovecotAccount, liveAccount } from "../support/daemon.ts";
import type { Dovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { useGround } from "../support/ground.ts";
import { staysQuiet } from "../support/pop3-account.ts";
import type { FreshDatabase } from "../support/postgres.ts";

let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;

useGround({ users: 3 }, (ground) => {
  ({ server, fresh, daemon } = ground);
});

const patience = { timeoutMs: 60_000 };
const mail = (subject: string) => ({ raw: Buffer.from(`Subject: ${subject}\r\n\r\nbody of ${subject}\r\n`), flags: [] });

/** Places of an account's mail by subject, as `one: INBOX Work`; sorted. */
const placesOf = async (accountId: string): Promise<readonly string[]> =>
  [...(await messagesOf(daemon, accountId))].map(([subject, { in: paths }]) => `${subject}: ${paths.join(" ")}`).toSorted();

const shows = (accountId: string, ...places: readonly string[]) =>
  eventually(`it is ${places.join(", ")}`, async () => (await placesOf(accountId)).join() === places.join(), patience);

/** An account with mail in a mailbox, and in Work a copy of all of it that was seen after the mark on the first. */
const copied = async (n: number, path: string, ...subjects: readonly string[]) => {
  const { user } = server.account(n);
  await server.deliver({ user, mailbox: path, messages: subjects.map(mail) });
  await server.deliver({ user, mailbox: "Work", messages: [mail("w")] });
  const accountId = await liveAccount(daemon, dovecotAccount(server, n));
  await using device = await server.device(n);
  await device.select(path);
  // Nobody looks in between.
  await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
  await device.command(`STORE 1:${subjects.length} +FLAGS (\\Deleted)`);
  await device.command(`COPY 1:${subjects.length} Work`);
  await daemon.call("POST", `/v1/accounts/${accountId}/resume`);
  await shows(accountId, ...subjects.map((subject) => `${subject}: Work`), "w: Work");
  return { accountId };
};

const storyOf = async (accountId: string): Promise<readonly string[]> =>
  (await changesOf(daemon, accountId))
    .filter(({ kind, reason }) => kind.startsWith("message.") && reason !== "backfilled")
    .map(({ kind, reason, rule }) => `${kind} ${reason} ${rule}`);

const moved = "message.moved upstream_copy_delete ID-5a2";

describe("mail that was marked as deleted when its copy was seen", () => {
  it("S78 ID-5a2: has moved, and is in both places where the mark is taken away", { timeout: 300_000 }, async () => {
    const { accountId } = await copied(1, "INBOX", "a", "b", "c", "d");
    expect(await storyOf(accountId)).toEqual([moved, moved, moved, moved]);
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
    await using device = await server.device(1);
    await device.select("INBOX");
    await device.command("STORE 1 -FLAGS (\\Deleted)");
    await shows(accountId, "a: INBOX Work", "b: Work", "c: Work", "d: Work", "w: Work");
    // What is gone now has nothing to say; whoever destroys a mail destroys what is left of it, too.
    await device.command("UID EXPUNGE 2");
    await purge(daemon, accountId, "c");
    await eventually("what was left is gone", async () => !(await device.flags()).has(3), patience);
    expect((await device.flags()).get(4)).toContain("\\Deleted");
    await server.deliver({ user: server.account(1).user, mailbox: "INBOX", messages: [mail("e")] });
    await shows(accountId, "a: INBOX Work", "b: Work", "d: Work", "e: INBOX", "w: Work");
    const after = ["message.created copied ID-5e", "message.purged api_purge P10", "message.created delivered ID-7"];
    expect(await storyOf(accountId)).toEqual([moved, moved, moved, moved, ...after]);
  });

  it("S78 ID-8: has moved, whatever number is given to what it left", { timeout: 300_000 }, async () => {
    const { accountId } = await copied(2, "INBOX", "a", "b");
    await renumber(daemon, accountId, () => numberAnew(server, server.account(2).user));
    await using device = await server.device(2);
    await device.select("INBOX");
    await device.command("STORE 2 -FLAGS (\\Deleted)");
    await shows(accountId, "a: Work", "b: INBOX Work", "w: Work");
    expect(await storyOf(accountId)).toEqual([moved, moved, "message.created copied ID-5e"]);
  });

  it("D8 ID-5a2: has moved, and its old mailbox goes with what is left in it", { timeout: 300_000 }, async () => {
    const { accountId } = await copied(3, "Old", "a");
    const old = (await mailboxesOf(daemon, accountId)).get("Old")?.id ?? "";
    const { status } = await daemon.call("DELETE", `/v1/accounts/${accountId}/mailboxes/${old}`);
    expect(status).toBe(200);
    await eventually(
      "it is gone there, too",
      async () => !(await server.doveadm("mailbox", "list", "-u", server.account(3).user)).includes("Old"),
      patience,
    );
    expect([await placesOf(accountId), await storyOf(accountId)]).toEqual([["a: Work", "w: Work"], [moved]]);
  });
});
