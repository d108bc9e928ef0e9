/** The daemon is killed at every step on the way of mailboxes to the server; in the end all is as if it had not been. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changesOf, mailboxesOf, messagesOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { staysQuiet } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

/** As many accounts as there may be steps. */
const mostSteps = 40;

let server: Dovecot;
let fresh: FreshDatabase;

beforeAll(async () => {
  server = await startDovecot({ users: mostSteps });
  fresh = await freshDatabase();
});

afterAll(async () => {
  await fresh.drop();
  await server.stop();
});

const run = (env: Record<string, string> = {}, dying = false): Promise<Daemon> =>
  startDaemon({ dying, env: { DATABASE_URL: fresh.url, SAMEBOX_LEASE_SECONDS: "2", SAMEBOX_POLL_SECONDS: "1", ...env } });

const tree = async (daemon: Daemon, accountId: string) =>
  new Map([...(await mailboxesOf(daemon, accountId))].map(([path, { id }]) => [path, id]));

/** A mailbox to be made, one with another one in it to be renamed, and one to be removed; nothing is said to the server yet. */
const owe = async (daemon: Daemon, n: number) => {
  await using device = await server.device(n);
  for (const path of ["Proj", "Proj/Sub", "Old"]) await device.create(path);
  await device.appendAll("Proj/Sub", [{ raw: Buffer.from("Subject: kept\r\n\r\nbody\r\n"), flags: [] }]);
  const accountId = await liveAccount(daemon, dovecotAccount(server, n));
  const ids = await tree(daemon, accountId);
  await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
  const at = `/v1/accounts/${accountId}/mailboxes`;
  const made = await daemon.call<{ id: string }>("POST", at, { name: "New" });
  await daemon.call("PATCH", `${at}/${ids.get("Proj")}`, { name: "Alpha" });
  await daemon.call("DELETE", `${at}/${ids.get("Old")}`);
  await daemon.call("POST", `/v1/accounts/${accountId}/resume`);
  const wanted = new Map([...ids, ["Alpha", ids.get("Proj")], ["Alpha/Sub", ids.get("Proj/Sub")], ["New", made.body.id]]);
  for (const path of ["Proj", "Proj/Sub", "Old"]) wanted.delete(path);
  return { accountId, wanted: [...wanted].toSorted() };
};

const pathsOn = async (n: number): Promise<readonly string[]> => {
  await using device = await server.device(n);
  const { untagged } = await device.command('LIST "" "*"');
  return untagged.flatMap(({ line }) => /" "?([^"]*)"?$/.exec(line)?.[1] ?? []).toSorted();
};

describe("a crash on the way of mailboxes to the server", () => {
  it("C3 C9: at any step changes nothing of what is there in the end", { timeout: 900_000 }, async () => {
    const killedAt: string[] = [];
    for (let n = 1; n <= mostSteps; n += 1) {
      let owed;
      {
        await using before = await run();
        owed = await owe(before, n);
        before.kill("SIGKILL");
        await before.exited;
      }
      // What the first daemon did before it was killed may have been all.
      const victim = await run({ SAMEBOX_FAILPOINT: String(n) }, true);
      const ended = await Promise.race([
        victim.exited,
        eventually(
          "it is done",
          async () => {
            const log = await changesOf(victim, owed.accountId);
            return log.filter(({ kind }) => kind === "write.applied").length === 3 && ("done" as const);
          },
          { timeoutMs: 60_000 },
        ).catch(() => victim.exited),
      ]);
      await victim.stop();
      killedAt.push(String(victim.lines.find(({ text }) => String(text).startsWith("failpoint"))?.["text"]));
      await using after = await run();
      await eventually(
        `all is done after a crash at step ${n}`,
        async () => {
          const log = await changesOf(after, owed.accountId);
          return log.filter(({ kind }) => kind === "write.applied").length === 3;
        },
        { timeoutMs: 60_000 },
      );
      expect([...(await tree(after, owed.accountId))].toSorted()).toEqual(owed.wanted);
      expect(await pathsOn(n)).toEqual(owed.wanted.map(([path]) => path));
      expect((await messagesOf(after, owed.accountId)).get("kept")?.in).toEqual(["Alpha/Sub"]);
      const log = (await changesOf(after, owed.accountId)).map(({ kind, reason }) => `${kind} ${reason}`);
      const told = log.filter((line) => line.startsWith("mailbox.") && !line.endsWith("upstream_created"));
      expect(told.toSorted()).toEqual([
        "mailbox.created api_created",
        "mailbox.removed api_removed",
        "mailbox.renamed api_renamed",
      ]);
      expect(log.filter((line) => line.startsWith("write.failed") || line.startsWith("conflict"))).toEqual([]);
      expect(await staysQuiet(after, owed.accountId, fresh.url)).toBe(0n);
      await after.call("POST", `/v1/accounts/${owed.accountId}/pause`);
      if (ended === "done") break;
    }
    const names = killedAt.map((line) => /step \d+, (.*)$/.exec(line)?.[1] ?? "");
    for (const name of ["before fence", "after fence", "after write", "before tree", "after tree"]) expect(names).toContain(name);
  });
});
