/** The daemon is killed at every step of writing what an app wanted; in the end all is as if it had not been, and nothing came twice. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changesOf, messagesOf } from "../support/account-view.ts";
import { itemsIn, moveTo, phone, settledCommands, write } from "../support/api-writes.ts";
import { type Daemon, dovecotAccount, liveAccount, testAdminKey } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { killAt, setPaused, startHasty } from "../support/killed-daemon.ts";
import { staysQuiet, sweep } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

/** Before those, a pass only looks; see the other tests of crashes. */
const firstStep = 3;
/** Waits for what may never come are as long as a test. */
const longMs = 300_000;

const raw = (subject: string): Buffer => Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@crash.test>\r\n\r\n.\r\n`);

let fresh: FreshDatabase;
let moving: Dovecot;
let copying: Dovecot;

beforeAll(async () => {
  const words =
    "IMAP4rev1 SASL-IR ENABLE IDLE NAMESPACE UNSELECT LIST-EXTENDED LIST-STATUS SPECIAL-USE CONDSTORE QRESYNC UIDPLUS";
  [fresh, moving, copying] = await Promise.all([
    freshDatabase(),
    startDovecot({ users: 28 }),
    startDovecot({ users: 18, extraConfig: `imap_capability = ${words}` }),
  ]);
});

afterAll(() => Promise.all([fresh.drop(), moving.stop(), copying.stop()]));

/** An account with mail, and what an app wants of it; nothing is said to the server yet. */
const owe = async (daemon: Daemon, server: Dovecot, n: number, wish: Play["wish"]): Promise<string> => {
  await using device = await server.device(n);
  await device.appendAll(
    "INBOX",
    ["one", "two", "three", "stays"].map((subject) => ({ raw: raw(subject), flags: [] })),
  );
  const accountId = await liveAccount(daemon, dovecotAccount(server, n));
  await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
  await wish(daemon, accountId);
  return accountId;
};

/** Items of a mailbox, and the number that the next one will have: what came twice is seen though it be gone again. */
const shown = async (server: Dovecot, n: number, mailbox: string) => {
  const items = await itemsIn(server, n, mailbox);
  await using device = await server.device(n);
  const { untagged } = await device.command(`STATUS ${mailbox} (UIDNEXT)`);
  return { items, uidNext: Number(/UIDNEXT (\d+)/.exec(untagged.map(({ line }) => line).join())?.[1]) };
};

type Shown = Awaited<ReturnType<typeof shown>>;

interface Play {
  readonly server: Dovecot;
  readonly wish: (daemon: Daemon, accountId: string) => Promise<unknown>;
  /** Accounts to be killed for, at least as many as there are steps. */
  readonly most: number;
  readonly inbox: Shown;
  readonly archive: Shown;
  readonly created: number;
}

/** @returns the names of the steps, in order. */
const killAtEachStep = async ({ server, wish, most, inbox, archive, created }: Play): Promise<readonly string[]> => {
  const owed: string[] = [];
  {
    await using before = await startHasty(fresh.url);
    owed.push(...(await Promise.all(Array.from({ length: most }, (_, at) => owe(before, server, at + 1, wish)))));
  }
  const names: string[] = [];
  for (const accountId of owed) {
    const name = await killAt(fresh.url, accountId, firstStep + names.length);
    if (name === null) break;
    names.push(name);
  }
  expect(names.length, names.join()).toBeLessThan(most);
  const played = owed.slice(0, names.length + 1);
  for (const accountId of played) await setPaused(fresh.url, accountId, false);
  await using survivor = await startHasty(fresh.url);
  for (const [at, accountId] of played.entries()) {
    const commands = await settledCommands(fresh.url, accountId, longMs);
    const step = [at, names[at]];
    expect([step, commands.filter(({ status }) => status !== "confirmed" && status !== "superseded")]).toEqual([step, []]);
    expect([step, await shown(server, at + 1, "INBOX"), await shown(server, at + 1, "Archive")]).toEqual([step, inbox, archive]);
    const log = await changesOf(survivor, accountId);
    expect([step, log.filter(({ kind }) => kind === "message.created").length]).toEqual([step, created]);
    expect([step, log.filter(({ kind }) => kind.startsWith("conflict") || kind === "write.failed")]).toEqual([step, []]);
  }
  for (const accountId of played) await sweep(survivor, accountId);
  expect(await staysQuiet(survivor, played[0] ?? "", fresh.url)).toBe(0n);
  for (const accountId of owed) await survivor.call("DELETE", `/v1/accounts/${accountId}`);
  return names;
};

const count = (names: readonly string[], name: string): number => names.filter((other) => other === name).length;

describe("a daemon killed at any step (C3, PB3, PB10)", () => {
  it("stores, moves, destroys and uploads once", { timeout: longMs }, async () => {
    const wish = async (daemon: Daemon, accountId: string): Promise<void> => {
      await write(daemon, accountId, "one", { body: { keywords: { $flagged: true } } });
      await moveTo(daemon, accountId, "two", "Archive");
      const { id = "" } = (await messagesOf(daemon, accountId)).get("three") ?? {};
      const path = `/v1/accounts/${accountId}/messages/${id}`;
      const { headers } = await daemon.call("GET", path);
      await daemon.call("DELETE", `${path}?purge=true`, undefined, { "if-match": headers.get("etag") ?? "" });
      const response = await fetch(`${daemon.url}/v1/accounts/${accountId}/messages`, {
        method: "POST",
        headers: { authorization: `Bearer ${testAdminKey}`, "content-type": "message/rfc822", ...phone },
        body: raw("brought"),
      });
      expect(response.status).toBe(201);
    };
    const inbox = { items: ["brought", "one \\Flagged", "stays"], uidNext: 6 };
    const archive = { items: ["two"], uidNext: 2 };
    const names = await killAtEachStep({ server: moving, wish, most: 28, inbox, archive, created: 5 });
    for (const name of ["before fence", "after fence", "after write"]) expect([name, count(names, name)]).toEqual([name, 4]);
  });

  it("copies and removes once where the server cannot move", { timeout: longMs }, async () => {
    const wish = (daemon: Daemon, accountId: string) => moveTo(daemon, accountId, "two", "Archive");
    const inbox = { items: ["one", "stays", "three"], uidNext: 5 };
    const archive = { items: ["two"], uidNext: 2 };
    const names = await killAtEachStep({ server: copying, wish, most: 18, inbox, archive, created: 4 });
    for (const name of ["before fence", "after fence", "after write"]) expect([name, count(names, name)]).toEqual([name, 2]);
  });
});
