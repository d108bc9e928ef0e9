/** Drafts that are written on several devices: a version takes the place of the one before, and of two that know nothing of each other both stay (P12). */
import { afterAll, beforeAll, expect, it } from "vitest";
import { changesOf, messagesOf } from "../support/account-view.ts";
import { itemsIn, phone, settledCommands } from "../support/api-writes.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, testAdminKey, waitLive } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { staysQuiet } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;

beforeAll(async () => {
  [server, fresh] = await Promise.all([startDovecot({ users: 3 }), freshDatabase()]);
  daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
});

afterAll(async () => {
  await daemon.stop();
  await fresh.drop();
  await server.stop();
});

const patient = { timeoutMs: 60_000, everyMs: 50 };
/** All versions are the same mail by their headers. */
const version = (name: string): Buffer =>
  Buffer.from(`Subject: ${name}\r\nMessage-ID: <d@drafts.test>\r\n\r\nwhat ${name} says\r\n`);

class Writer {
  readonly n: number;
  readonly id: string;

  private constructor(n: number, id: string) {
    this.n = n;
    this.id = id;
  }

  /** An account with the draft v0. */
  static async begin(n: number): Promise<Writer> {
    await server.deliver({
      user: server.account(n).user,
      mailbox: "Drafts",
      messages: [{ raw: version("v0"), flags: ["\\Draft"] }],
    });
    return new Writer(n, await liveAccount(daemon, dovecotAccount(server, n)));
  }

  /** As an app saves the next version. */
  async save(of: string, name: string): Promise<{ readonly status: number; readonly warnings: readonly string[] }> {
    const response = await fetch(`${daemon.url}/v1/accounts/${this.id}/messages?replaces=${of}`, {
      method: "POST",
      headers: { authorization: `Bearer ${testAdminKey}`, "content-type": "message/rfc822", ...phone },
      body: version(name),
    });
    const { warnings = [] } = (await response.json()) as { warnings?: readonly string[] };
    return { status: response.status, warnings };
  }

  /** As a mail program does: the next version is put beside the one that is there, which goes then. */
  async imap(name: string): Promise<void> {
    await using device = await server.device(this.n);
    await device.select("Drafts");
    const before = await device.uids();
    await device.append("Drafts", { raw: version(name), flags: ["\\Draft"] });
    await device.expunge(before);
  }

  async idOf(name: string): Promise<string> {
    return (await messagesOf(daemon, this.id)).get(name)?.id ?? "none";
  }

  /** Drafts as an app and as a mail program see them, once they are these. */
  async are(...names: readonly string[]): Promise<void> {
    const here = async () =>
      [...(await messagesOf(daemon, this.id))].map(([name, one]) => [name, one.in.join(), one.keywords.join()]);
    await eventually(
      `the drafts are ${names.join(" and ")}`,
      async () => {
        expect((await here()).toSorted()).toEqual(names.map((name) => [name, "Drafts", "$draft"]));
        expect(await itemsIn(server, this.n, "Drafts")).toEqual(names.map((name) => `${name} \\Draft`));
        return true;
      },
      patient,
    );
    await settledCommands(fresh.url, this.id);
    expect(await staysQuiet(daemon, this.id, fresh.url)).toBe(0n);
  }

  async told(): Promise<readonly string[]> {
    const log = await changesOf(daemon, this.id);
    return log.filter(({ kind }) => kind.startsWith("message")).map(({ kind, reason, rule }) => `${kind} ${reason} ${rule}`);
  }

  async whilePaused(work: () => Promise<void>): Promise<void> {
    await daemon.call("POST", `/v1/accounts/${this.id}/pause`);
    await work();
    await daemon.call("POST", `/v1/accounts/${this.id}/resume`);
    await waitLive(daemon, this.id);
  }
}

it("P12: each version takes the place of the one before, whoever writes it", { timeout: 180_000 }, async () => {
  const writer = await Writer.begin(1);
  expect(await writer.save(await writer.idOf("v0"), "v1")).toEqual({ status: 201, warnings: [] });
  await writer.are("v1");
  expect(await writer.told()).toEqual([
    "message.created backfilled ID-7",
    "message.created api_replacement P12",
    "message.removed api_replace P12",
  ]);
  await writer.imap("v2");
  await writer.are("v2");
  expect((await writer.told()).slice(3)).toEqual([
    "message.created delivered ID-7",
    expect.stringContaining("message.removed user_expunge"),
  ]);
});

it("S89: of two that replace it without knowing of each other both stay, and that is said", { timeout: 180_000 }, async () => {
  const writer = await Writer.begin(2);
  const stale = await writer.idOf("v0");
  await writer.imap("vI");
  await writer.are("vI");
  expect(await writer.save(stale, "vA")).toEqual({ status: 201, warnings: ["draft_fork"] });
  await writer.are("vA", "vI");
  expect((await writer.told()).at(-1)).toBe("message.created draft_fork P12");
  expect(await writer.save("msg_" + "0".repeat(32), "vB")).toMatchObject({ status: 404 });
});

it("S89: also where the app was first", { timeout: 180_000 }, async () => {
  const writer = await Writer.begin(3);
  const stale = await writer.idOf("v0");
  await writer.whilePaused(async () => {
    await writer.save(stale, "vA");
    await writer.imap("vI");
  });
  await writer.are("vA", "vI");
  expect(await writer.told()).toEqual([
    "message.created backfilled ID-7",
    "message.created api_replacement P12",
    "message.removed api_replace P12",
    "message.created draft_fork P12",
  ]);
  const fork = (await changesOf(daemon, writer.id)).find(({ reason }) => reason === "draft_fork");
  expect(fork).toMatchObject({ evidence: [{ otherVersion: { messageId: expect.stringMatching(/^msg_/) } }] });
  // Who writes on after both were there writes no third version of what nobody saw.
  await writer.imap("vJ");
  await writer.are("vJ");
  expect((await writer.told()).slice(4)[0]).toBe("message.created delivered ID-7");
});
