/** A server to which names that differ in case only are one (D11): a real Dovecot behind a line that spells them all alike. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changesOf, mailboxesOf, messagesOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { staysQuiet } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

const patience = { timeoutMs: 60_000 };

/** In place: what is passed on is as long as what came. */
const before = (piece: Buffer): void => {
  for (let at = piece.indexOf("proj"); at >= 0; at = piece.indexOf("proj", at)) piece.write("Proj", at);
};

describe("a server that folds case", () => {
  let server: Dovecot;
  let folding: FaultProxy;
  let fresh: FreshDatabase;
  let daemon: Daemon;

  beforeAll(async () => {
    server = await startDovecot({ users: 3 });
    folding = await startFaultProxy({ port: server.imapPort, faults: { toServer: { before } } });
    fresh = await freshDatabase();
    daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
  });

  afterAll(async () => {
    await daemon.stop();
    await fresh.drop();
    await folding[Symbol.asyncDispose]();
    await server.stop();
  });

  const account = async (n: number): Promise<string> => {
    const { endpoints, ...rest } = dovecotAccount(server, n);
    const over = endpoints.map((endpoint) => ({ ...endpoint, port: folding.port, security: "none" }));
    return liveAccount(daemon, { ...rest, endpoints: over });
  };

  const write = (accountId: string, method: string, rest: string, body: object) =>
    daemon.call<{ id: string }>(method, `/v1/accounts/${accountId}${rest}`, body, { "x-device-id": "A1" });

  /** Paths of those in question, when nothing is owed any more. */
  const settledPaths = async (accountId: string): Promise<readonly string[]> => {
    await eventually(
      "mailboxes are in step",
      async () => {
        const { body } = await daemon.call<{ items: { sync: string }[] }>("GET", `/v1/accounts/${accountId}/mailboxes`);
        return body.items.every(({ sync }) => sync === "synced");
      },
      patience,
    );
    return [...(await mailboxesOf(daemon, accountId)).keys()].filter((path) => /proj/iu.test(path)).toSorted();
  };

  const upstream = async (n: number): Promise<readonly string[]> => {
    await using device = await server.device(n);
    const { untagged } = await device.command('LIST "" "*"');
    return untagged.flatMap(({ line }) => /" "?([^" ]*proj[^"]*)"?$/iu.exec(line)?.[1] ?? []).toSorted();
  };

  const deliver = async (n: number, mailbox: string, subject: string): Promise<void> => {
    await using device = await server.device(n);
    await device.appendAll(mailbox, [{ raw: Buffer.from(`Subject: ${subject}\r\n\r\nbody of ${subject}\r\n`), flags: [] }]);
  };

  it("D11: what an app makes is the one that is there, with the mail that was put into it", { timeout: 180_000 }, async () => {
    await using device = await server.device(1);
    await device.create("Proj");
    await deliver(1, "Proj", "there");
    await deliver(1, "INBOX", "moved");
    const accountId = await account(1);
    const inbox = (await mailboxesOf(daemon, accountId)).get("INBOX")?.id ?? "";
    const there = (await mailboxesOf(daemon, accountId)).get("Proj")?.id ?? "";
    await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
    const made = await write(accountId, "POST", "/mailboxes", { name: "proj" });
    const below = await write(accountId, "POST", "/mailboxes", { name: "Below", parentId: made.body.id });
    const message = (await messagesOf(daemon, accountId)).get("moved")?.id ?? "";
    const moved = await write(accountId, "PATCH", `/messages/${message}`, {
      mailboxIds: { [made.body.id]: true, [inbox]: false },
    });
    expect([made.status, below.status, moved.status]).toEqual([201, 201, 200]);
    await daemon.call("POST", `/v1/accounts/${accountId}/resume`);
    await eventually(
      "its mail lies there",
      async () => {
        await device.select("Proj");
        expect((await device.fetchRaw()).size).toBe(2);
        return true;
      },
      patience,
    );
    expect(await settledPaths(accountId)).toEqual(["Proj", "Proj/Below"]);
    expect(await upstream(1)).toEqual(["Proj", "Proj/Below"]);
    const mailboxes = await mailboxesOf(daemon, accountId);
    expect([mailboxes.get("Proj")?.id, mailboxes.get("Proj/Below")?.id]).toEqual([there, below.body.id]);
    const messages = await messagesOf(daemon, accountId);
    expect([messages.get("moved")?.id, messages.get("moved")?.in, messages.get("there")?.in]).toEqual([
      message,
      ["Proj"],
      ["Proj"],
    ]);
    const told = (await changesOf(daemon, accountId)).filter(({ rule }) => rule === "D11");
    expect(told.map(({ kind, reason }) => [kind, reason])).toEqual([
      ["message.moved", "same_to_server"],
      ["mailbox.renamed", "same_to_server"],
      ["mailbox.removed", "same_to_server"],
    ]);
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
  });

  it("D11: what an app and a device make at one time is one, and has the server's name", { timeout: 180_000 }, async () => {
    const accountId = await account(2);
    await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
    const made = await write(accountId, "POST", "/mailboxes", { name: "proj" });
    await using device = await server.device(2);
    await device.create("Proj");
    await daemon.call("POST", `/v1/accounts/${accountId}/resume`);
    expect(await settledPaths(accountId)).toEqual(["Proj"]);
    expect(await upstream(2)).toEqual(["Proj"]);
    const log = await changesOf(daemon, accountId);
    expect(log.filter(({ mailboxId }) => mailboxId === made.body.id).map(({ kind }) => kind)[0]).toBe("mailbox.created");
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
  });

  it("D11: a name in another case that the server does not take for another stays as it is", { timeout: 180_000 }, async () => {
    await using device = await server.device(3);
    await device.create("Proj");
    const accountId = await account(3);
    const id = (await mailboxesOf(daemon, accountId)).get("Proj")?.id ?? "";
    expect((await write(accountId, "PATCH", `/mailboxes/${id}`, { name: "proj" })).status).toBe(200);
    await eventually("it is told", async () => (await changesOf(daemon, accountId)).some(({ rule }) => rule === "D11"), patience);
    expect(await settledPaths(accountId)).toEqual(["Proj"]);
    expect((await mailboxesOf(daemon, accountId)).get("Proj")?.id).toBe(id);
    expect(await upstream(3)).toEqual(["Proj"]);
  });
});
