/** The daemon is killed at every step on the way of mailboxes to the server; in the end all is as if it had not been. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changesOf, mailboxesOf, messagesOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { killAt, setPaused, startHasty } from "../support/killed-daemon.ts";
import { staysQuiet } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

/** Of a pass that says all three commands, and of the next one, which sees what they did. */
const steps = 12;

let server: Dovecot;
let fresh: FreshDatabase;

beforeAll(async () => {
  server = await startDovecot({ users: steps });
  fresh = await freshDatabase();
});

afterAll(async () => {
  await fresh.drop();
  await server.stop();
});

const tree = async (daemon: Daemon, accountId: string) =>
  new Map([...(await mailboxesOf(daemon, accountId))].map(([path, { id }]) => [path, id]));

interface Owed {
  readonly accountId: string;
  /** Ids by path, as all shall be in the end. */
  readonly wanted: readonly (readonly [path: string, id: string])[];
}

/** A mailbox to be made, one with another one in it to be renamed, and one to be removed; nothing is said to the server yet. */
const owe = async (daemon: Daemon, n: number): Promise<Owed> => {
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
  const wanted = new Map([
    ...ids,
    ["Alpha", ids.get("Proj") ?? ""],
    ["Alpha/Sub", ids.get("Proj/Sub") ?? ""],
    ["New", made.body.id],
  ]);
  for (const path of ["Proj", "Proj/Sub", "Old"]) wanted.delete(path);
  return { accountId, wanted: [...wanted].toSorted() };
};

const pathsOn = async (n: number): Promise<readonly string[]> => {
  await using device = await server.device(n);
  const { untagged } = await device.command('LIST "" "*"');
  return untagged.flatMap(({ line }) => /" "?([^"]*)"?$/.exec(line)?.[1] ?? []).toSorted();
};

const isThrough = async (daemon: Daemon, accountId: string): Promise<boolean> =>
  (await changesOf(daemon, accountId)).filter(({ kind }) => kind === "write.applied").length === 3;

/** Everything that was owed to account `n` is done, once. */
const expectDone = async (daemon: Daemon, n: number, { accountId, wanted }: Owed): Promise<void> => {
  await eventually("all is done", () => isThrough(daemon, accountId), { timeoutMs: 120_000 });
  expect([...(await tree(daemon, accountId))].toSorted()).toEqual(wanted);
  expect(await pathsOn(n)).toEqual(wanted.map(([path]) => path));
  expect((await messagesOf(daemon, accountId)).get("kept")?.in).toEqual(["Alpha/Sub"]);
  const log = (await changesOf(daemon, accountId)).map(({ kind, reason }) => `${kind} ${reason}`);
  const told = log.filter((line) => line.startsWith("mailbox.") && !line.endsWith("upstream_created"));
  expect(told.toSorted()).toEqual(["mailbox.created api_created", "mailbox.removed api_removed", "mailbox.renamed api_renamed"]);
  expect(log.filter((line) => line.startsWith("write.failed") || line.startsWith("conflict"))).toEqual([]);
};

describe("a crash on the way of mailboxes to the server", () => {
  it("C3 C9: at any step changes nothing of what is there in the end", { timeout: 600_000 }, async () => {
    const owed: Owed[] = [];
    {
      await using before = await startHasty(fresh.url);
      for (let n = 1; n <= steps; n += 1) owed.push(await owe(before, n));
    }
    const killedAt = new Set<string>();
    for (const [at, { accountId }] of owed.entries()) {
      const name = await killAt(fresh.url, accountId, at + 1);
      if (name !== null) killedAt.add(name);
    }
    for (const name of ["before tree", "after tree", "before fence", "after fence", "after write"])
      expect(killedAt).toContain(name);
    for (const { accountId } of owed) await setPaused(fresh.url, accountId, false);
    await using after = await startHasty(fresh.url);
    for (const [at, one] of owed.entries()) await expectDone(after, at + 1, one);
    expect(await staysQuiet(after, owed[0]?.accountId ?? "", fresh.url)).toBe(0n);
  });
});
