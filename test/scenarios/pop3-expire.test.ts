/** Servers that remove what was retrieved (EXPIRE 0), and servers that ration logins (LOGIN-DELAY): semantics K5. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { statusOf } from "../support/account-view.ts";
import { dumpCanonical } from "../support/canonical-dump.ts";
import { type Daemon, liveAccount, startDaemon, waitLive } from "../support/daemon.ts";
import { eventually } from "../support/eventually.ts";
import { maildropAccount, startMaildrop } from "../support/maildrop-server.ts";
import { mailOf, rawOf } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

const many = (count: number): Buffer[] =>
  Array.from({ length: count }, (_, at) => Buffer.from(`Subject: m${at}\r\n\r\nbody ${at}\r\n`));

const expiring = ["USER", "UIDL", "EXPIRE 0", "PIPELINING"];

const run = (url: string, env: Record<string, string> = {}): Promise<Daemon> =>
  startDaemon({ env: { DATABASE_URL: url, SAMEBOX_LEASE_SECONDS: "2", SAMEBOX_POLL_SECONDS: "1", ...env } });

describe("a server that removes what was retrieved", () => {
  it.each(["RETR 650", "QUIT"])("loses nothing when the daemon is killed at %s", { timeout: 900_000 }, async (moment) => {
    const raws = many(700);
    await using database = await freshDatabase();
    await using victim = await run(database.url);
    let killed = false;
    const answer = (line: string): null => {
      if (line === moment && !killed) {
        killed = true;
        victim.kill("SIGKILL");
      }
      return null;
    };
    await using server = await startMaildrop(raws, { capabilities: expiring, expires: true, answer });
    const { body } = await victim.call<{ id: string }>("POST", "/v1/accounts", maildropAccount(server));
    await victim.exited;
    // The server did hear the QUIT, and all that it removed is here; without one it has removed nothing.
    expect(server.mail).toHaveLength(moment === "QUIT" ? 0 : 700);
    if (moment === "QUIT") expect((await dumpCanonical(database.url)).placements).toHaveLength(700);
    await using survivor = await run(database.url);
    await waitLive(survivor, body.id, 120_000);
    const all = await mailOf(survivor, body.id);
    expect(all.map(({ subject }) => subject).toSorted()).toEqual(raws.map((_, at) => `m${at}`).toSorted());
    const { endpoint } = await statusOf(survivor, body.id);
    expect(endpoint.profile).toMatchObject({ expireDays: 0 });
    expect(endpoint.notices).toContainEqual(expect.stringContaining("removes what any POP3 client has retrieved"));
  });

  it("is left without QUIT when what it gave could not be kept", { timeout: 180_000 }, async () => {
    await using database = await freshDatabase();
    // Longer than it says, and than is accepted.
    const answer = (line: string): string | null => (line === "LIST" ? "+OK\r\n1 10\r\n2 20\r\n.\r\n" : null);
    const raws = [Buffer.from(`Subject: long\r\n\r\n${"x".repeat(5000)}\r\n`), ...many(1)];
    await using server = await startMaildrop(raws, { capabilities: expiring, expires: true, answer });
    await using daemon = await run(database.url, { SAMEBOX_MAX_MESSAGE_BYTES: "2000" });
    const accountId = await liveAccount(daemon, maildropAccount(server));
    expect(server.heard.map(({ line }) => line)).toContain("RETR 1");
    expect(server.mail).toHaveLength(2);
    const stored = await mailOf(daemon, accountId);
    const m0 = stored.find(({ subject }) => subject === "m0");
    expect(await rawOf(daemon, accountId, m0?.id ?? "")).toEqual(many(1)[0]);
  });
});

describe("a server that rations logins", () => {
  let fresh: FreshDatabase;
  let daemon: Daemon;

  beforeAll(async () => {
    fresh = await freshDatabase();
    daemon = await run(fresh.url);
  });

  afterAll(async () => {
    await daemon.stop();
    await fresh.drop();
  });

  it("gets no login before its time, whoever asks for one", { timeout: 180_000 }, async () => {
    const capabilities = ["USER", "UIDL", "TOP", "PIPELINING", "LOGIN-DELAY 4"];
    await using server = await startMaildrop(many(3), { capabilities });
    const accountId = await liveAccount(daemon, maildropAccount(server));
    const logins = () => server.heard.filter(({ line }) => line.startsWith("PASS"));
    await eventually(
      "three logins",
      async () => {
        await daemon.call("POST", `/v1/accounts/${accountId}/sync`);
        return logins().length >= 3;
      },
      { everyMs: 100, timeoutMs: 40_000 },
    );
    const times = logins().map(({ at }) => at);
    const apart = times.slice(1).map((at, before) => at - (times[before] ?? 0));
    expect(Math.min(...apart)).toBeGreaterThanOrEqual(4_000);
    expect((await statusOf(daemon, accountId)).endpoint.lastError).toBeNull();
  });
});
