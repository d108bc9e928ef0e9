/** What POP3 devices and IMAP devices do to mail, told apart on a real server read over both. */
import { describe, expect, it } from "vitest";
import { forever, openAt, openDovecot } from "../endpoints/pop3/connection-fixture.ts";
import { changesOf, statusOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount } from "../support/daemon.ts";
import type { Dovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { useGround } from "../support/ground.ts";
import { drain, type ListedMail, mailOf, pop3Endpoint, rawOf, sweep } from "../support/pop3-account.ts";
import { fetchmailDevice } from "../support/pop3-devices.ts";
import { startScripted } from "../support/scripted-server.ts";

let server: Dovecot;
let daemon: Daemon;

const mail = (subject: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@drain.test>\r\n\r\nbody of ${subject}\r\n`);

const many = (count: number): Buffer[] => Array.from({ length: count }, (_, at) => mail(`m${at}`));

useGround({ users: 8 }, (ground) => {
  ({ server, daemon } = ground);
});

const deliver = (n: number, messages: readonly Buffer[]): Promise<number> =>
  server.deliver({ user: server.account(n).user, mailbox: "INBOX", messages });

/** An account with a declared POP3 device; `pop3` in place of the same server's POP3. */
const watched = async (n: number, pop3: unknown = pop3Endpoint(server, n)): Promise<string> => {
  const { endpoints, ...rest } = dovecotAccount(server, n);
  const accountId = await liveAccount(daemon, { ...rest, endpoints: [...endpoints, pop3], policy: { pop3Devices: "declared" } });
  await until(accountId, "all are bound to both views", (all) => all.every((message) => viewsOf(message) === "imap+pop3"));
  return accountId;
};

const viewsOf = ({ placements }: ListedMail): string =>
  placements
    .flatMap(({ bindings }) => bindings.map(({ protocol }) => protocol))
    .toSorted()
    .join("+");

const statesOf = ({ placements }: ListedMail): string => placements.map(({ state, reason }) => `${state} ${reason}`).join();

const until = (accountId: string, what: string, holds: (all: readonly ListedMail[]) => boolean): Promise<readonly ListedMail[]> =>
  eventually(
    what,
    async () => {
      const all = await mailOf(daemon, accountId);
      return holds(all) ? all : false;
    },
    { timeoutMs: 60_000, everyMs: 100 },
  );

/** What was logged about where mail is, by kind, reason and rule. */
const movesOf = async (accountId: string): Promise<Record<string, number>> => {
  const counts: Record<string, number> = {};
  for (const { kind, reason, rule } of await changesOf(daemon, accountId))
    if (["message.kept", "message.removed", "message.moved", "message.restored"].includes(kind)) {
      const name = `${kind} ${reason} ${rule}`;
      counts[name] = (counts[name] ?? 0) + 1;
    }
  return counts;
};

describe("a POP3 device", () => {
  it("S07: that drops the line before QUIT has taken nothing", { timeout: 270_000 }, async () => {
    await deliver(1, many(3));
    const accountId = await watched(1);
    const connection = await openDovecot(server, 1);
    await (await connection.retr({ number: 1, size: null }, forever)).dispose();
    await connection.dele(1, forever);
    connection.close();
    await using device = await server.device(1);
    await device.select("INBOX");
    await eventually("the server marks it as read", async () =>
      (await device.command("UID SEARCH SEEN")).untagged.some(({ line }) => line === "* SEARCH 1"),
    );
    for (let times = 0; times < 2; times += 1) await sweep(daemon, accountId, 2);
    expect((await mailOf(daemon, accountId)).map((message) => `${statesOf(message)} ${viewsOf(message)}`)).toEqual(
      Array.from({ length: 3 }, () => "live backfilled imap+pop3"),
    );
    expect(await movesOf(accountId)).toEqual({});
  });

  it("S11: that pops mail from Gmail changes nothing but the POP3 view", { timeout: 270_000 }, async () => {
    await using gmail = await startScripted({ protocol: "pop3", messages: many(4), state: { popped: true } });
    await deliver(2, many(4));
    const { host, port } = gmail;
    const auth = { type: "password", user: "popper", password: "secret" };
    const accountId = await watched(2, { protocol: "pop3", host, port, security: "none", auth });
    expect(gmail.received.filter(({ line }) => line.startsWith("RETR"))).toEqual([]);
    const connection = await openAt({ host, port });
    for (const number of [1, 2]) await (await connection.retr({ number, size: null }, forever)).dispose();
    await connection.quit(forever);
    const all = await until(
      accountId,
      "two are in the IMAP view only",
      (found) => found.filter((message) => viewsOf(message) === "imap").length === 2,
    );
    expect(all.map(statesOf)).toEqual(Array.from({ length: 4 }, () => "live backfilled"));
    expect(await movesOf(accountId)).toEqual({});
  });

  it("S23 S25: that comes second finds nothing, and everything is kept", { timeout: 270_000 }, async () => {
    await deliver(3, many(6));
    const accountId = await watched(3);
    await using second = await fetchmailDevice(server, 3);
    await drain(server, 3, 6);
    await second.take(10);
    expect(second.taken).toEqual([]);
    // An empty listing is believed a minute later (G4): the next mail ends the doubt.
    await deliver(3, [mail("next")]);
    const all = await until(
      accountId,
      "six are kept",
      (found) => found.filter((message) => statesOf(message).startsWith("kept")).length === 6,
    );
    for (const message of all) {
      const { subject } = message;
      expect(statesOf(message)).toBe(subject === "next" ? "live delivered" : "kept pop3_drain");
      expect(await rawOf(daemon, accountId, message.id)).toEqual(mail(subject ?? ""));
    }
  });
});

describe("a person who deletes a lot over IMAP", () => {
  it("S17: is believed where the marks were seen", { timeout: 360_000 }, async () => {
    await deliver(4, many(500));
    const accountId = await liveAccount(daemon, dovecotAccount(server, 4, {}));
    await using device = await server.device(4);
    await device.select("INBOX");
    await device.command(String.raw`UID STORE 1:500 +FLAGS.SILENT (\Deleted \Flagged)`);
    await until(accountId, "the marks are seen", (all) =>
      all.every(({ placements }) => placements[0]?.keywords["$flagged"] === true),
    );
    await device.command("EXPUNGE");
    await deliver(4, [mail("next")]);
    await eventually(
      "they are removed",
      async () => expect(await movesOf(accountId)).toEqual({ "message.removed user_expunge V9": 500 }),
      {
        timeoutMs: 60_000,
        everyMs: 200,
      },
    );
    expect((await statusOf(daemon, accountId)).holds).toEqual([]);
  });

  it("S18: is not believed at once where they were not", { timeout: 360_000 }, async () => {
    await deliver(5, many(500));
    const accountId = await liveAccount(daemon, dovecotAccount(server, 5, {}));
    await server.doveadm("expunge", "-u", server.account(5).user, "mailbox", "INBOX", "uid", "1:400");
    const { holds } = await eventually(
      "they are held",
      async () => {
        const status = await statusOf(daemon, accountId);
        return status.holds.length > 0 ? status : false;
      },
      { timeoutMs: 60_000, everyMs: 200 },
    );
    expect(holds).toMatchObject([{ reason: "mass_vanish", count: 400 }]);
    expect((await mailOf(daemon, accountId)).filter((message) => statesOf(message) === "live backfilled")).toHaveLength(500);
    expect(await movesOf(accountId)).toEqual({});
  });
});
