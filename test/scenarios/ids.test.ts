/** Ids survive what servers and other clients do: the same message ids, nothing made again, and no body read twice. */
import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changesOf, messagesOf, type SeenMessage, statusOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, waitLive } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { pop3Endpoint } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

let fresh: FreshDatabase;
let daemon: Daemon;

beforeAll(async () => {
  fresh = await freshDatabase();
  daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
});

afterAll(async () => {
  await daemon.stop();
  await fresh.drop();
});

const patience = { timeoutMs: 60_000 };
const flagsOf = (at: number): string[] => [...(at % 2 === 0 ? ["\\Seen"] : []), ...(at % 3 === 0 ? ["\\Flagged"] : [])];
const mail = (subject: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@ids.test>\r\n\r\nbody of ${subject}\r\n`);

const count = 30;

interface Life {
  readonly server: Dovecot;
  readonly accountId: string;
  readonly messages: ReadonlyMap<string, SeenMessage>;
}

const begin = async (server: Dovecot): Promise<Life> => {
  const messages = Array.from({ length: count }, (_, at) => ({ raw: mail(`m${at}`), flags: flagsOf(at) }));
  await server.deliver({ user: "user1", mailbox: "INBOX", messages });
  const accountId = await liveAccount(daemon, dovecotAccount(server, 1));
  return { server, accountId, messages: await messagesOf(daemon, accountId) };
};

interface Reads {
  readonly bodies: number;
  /** Header blocks without their bodies. */
  readonly heads: number;
}

/** What was read in all sessions; those that go on are ended. */
const readsOf = async ({ server, accountId }: Life): Promise<Reads> => {
  await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
  const log = await eventually(
    "every session has ended",
    async () => {
      const text = await server.log();
      const logins = text.match(/imap-login: Info: Login/g)?.length ?? 0;
      return (text.match(/body_count=/g)?.length ?? 0) >= logins && logins > 0 ? text : false;
    },
    patience,
  );
  await daemon.call("POST", `/v1/accounts/${accountId}/resume`);
  await waitLive(daemon, accountId);
  const sumOf = (pattern: RegExp): number => [...log.matchAll(pattern)].reduce((sum, [, read]) => sum + Number(read), 0);
  return { bodies: sumOf(/body_count=(\d+)/g), heads: sumOf(/hdr_count=(\d+)/g) };
};

const bodiesRead = async (life: Life): Promise<number> => (await readsOf(life)).bodies;

/** How many times the log of the account has each kind. */
const kindsOf = async ({ accountId }: Life): Promise<Readonly<Record<string, number>>> => {
  const counts: Record<string, number> = {};
  for (const { kind } of await changesOf(daemon, accountId)) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
};

const epochs = (life: Life, seen: number): Promise<true> =>
  eventually(
    "the new epoch is read",
    async () => {
      if (((await kindsOf(life))["epoch.changed"] ?? 0) < seen) return false;
      return (await statusOf(daemon, life.accountId)).syncState === "live";
    },
    patience,
  );

describe("a server that numbers its mail anew", () => {
  it.each(["maildir", "sdbox"] as const)("S91: %s, again and again", { timeout: 540_000 }, async (format) => {
    await using server = await startDovecot({ users: 1, format });
    const life = await begin(server);
    for (let time = 1; time <= 3; time += 1) {
      await server.doveadm("mailbox", "update", "-u", "user1", "--uid-validity", String(1_000_000 + time), "INBOX");
      await daemon.call("POST", `/v1/accounts/${life.accountId}/sync`);
      await epochs(life, time);
      expect(await messagesOf(daemon, life.accountId)).toEqual(life.messages);
    }
    expect(await kindsOf(life)).toMatchObject({ "message.created": count, "epoch.changed": 3 });
    // What its mail is the server says itself (L1): no header block is read to find out.
    expect(await readsOf(life)).toEqual({ bodies: count, heads: 0 });
  });
});

describe("a server that lost what it knew", () => {
  it("S46: of all flags none is lost here", { timeout: 540_000 }, async () => {
    await using server = await startDovecot({ users: 1 });
    const life = await begin(server);
    await daemon.call("POST", `/v1/accounts/${life.accountId}/pause`);
    const folder = join((await server.doveadm("user", "-f", "home", "user1")).trim(), "mail");
    for (const file of await readdir(join(folder, "cur")))
      await rename(join(folder, "cur", file), join(folder, "cur", file.replace(/:2,.*/, ":2,")));
    await server.doveadm("mailbox", "update", "-u", "user1", "--uid-validity", "7777777", "INBOX");
    await daemon.call("POST", `/v1/accounts/${life.accountId}/resume`);
    await epochs(life, 1);
    expect(await messagesOf(daemon, life.accountId)).toEqual(life.messages);
    expect((await kindsOf(life))["message.keywords"]).toBeUndefined();
    const lost = Array.from({ length: count }, (_, at) => flagsOf(at)).filter((flags) => flags.length > 0).length;
    await eventually("the server has them again", async () => (await kindsOf(life))["write.applied"] === lost, patience);
    await using device = await server.device(1);
    await device.select("INBOX");
    for (const [uid, flags] of await device.flags())
      expect(flags.filter((flag) => flag !== "\\Recent").toSorted()).toEqual(flagsOf(uid - 1).toSorted());
    await device.close();
    expect(await bodiesRead(life)).toBe(count);
  });

  it("S94: mod-sequences that begin again take no flag away", { timeout: 540_000 }, async () => {
    await using server = await startDovecot({ users: 1 });
    const life = await begin(server);
    await using device = await server.device(1);
    await device.select("INBOX");
    for (let round = 0; round < 5; round += 1)
      for (const how of ["+", "-"] as const) await device.store("1:12", how, ["\\Answered"]);
    await device.store("2", "+", ["\\Answered"]);
    await eventually("the daemon is past that", async () =>
      (await messagesOf(daemon, life.accountId)).get("m1")?.keywords.includes("$answered"),
    );
    await device.close();
    const before = await messagesOf(daemon, life.accountId);
    const log = await kindsOf(life);
    await daemon.call("POST", `/v1/accounts/${life.accountId}/pause`);
    const folder = join((await server.doveadm("user", "-f", "home", "user1")).trim(), "mail");
    for (const file of await readdir(folder)) if (file.startsWith("dovecot.index")) await rm(join(folder, file));
    for (const file of await readdir(join(folder, "cur")))
      await rename(join(folder, "cur", file), join(folder, "cur", file.replace(/:2,.*/, ":2,")));
    await server.restart();
    await server.deliver({ user: "user1", mailbox: "INBOX", messages: [mail("after")] });
    await daemon.call("POST", `/v1/accounts/${life.accountId}/resume`);
    await eventually("new mail", async () => (await messagesOf(daemon, life.accountId)).has("after"), patience);
    await daemon.call("POST", `/v1/accounts/${life.accountId}/sync`);
    await waitLive(daemon, life.accountId);
    const now = await messagesOf(daemon, life.accountId);
    expect(new Map([...now].filter(([subject]) => subject !== "after"))).toEqual(before);
    expect(await kindsOf(life)).toMatchObject({ "message.created": count + 1, "message.keywords": log["message.keywords"] });
    expect(await bodiesRead(life)).toBe(count + 1);
  });
});

describe("another client", () => {
  const subjectsIn = async ({ accountId }: Life, path: string): Promise<number> =>
    [...(await messagesOf(daemon, accountId)).values()].filter((message) => message.in.includes(path)).length;

  it("S51: that moves mail back and forth moves ids, with their flags", { timeout: 540_000 }, async () => {
    await using server = await startDovecot({ users: 1 });
    await server.deliver({ user: "user1", mailbox: "Work", messages: [mail("w")] });
    const life = await begin(server);
    await using device = await server.device(1);
    for (let time = 1; time <= 2; time += 1) {
      await device.select("INBOX");
      await device.command("MOVE 1:20 Work");
      await eventually("they are in Work", async () => (await subjectsIn(life, "Work")) === 21, patience);
      await device.select("Work");
      await device.command("MOVE 2:21 INBOX");
      await eventually("they are in INBOX", async () => (await subjectsIn(life, "INBOX")) === count, patience);
    }
    const now = await messagesOf(daemon, life.accountId);
    expect(new Map([...now].toSorted())).toEqual(new Map([...life.messages].toSorted()));
    expect(await kindsOf(life)).toMatchObject({ "message.created": count + 1, "message.moved": 80 });
    expect((await kindsOf(life))["message.keywords"]).toBeUndefined();
    await device.close();
    expect(await readsOf(life)).toEqual({ bodies: count + 1, heads: 0 });
  });

  it("S78: that copies mail and deletes the first leaves one", { timeout: 540_000 }, async () => {
    await using server = await startDovecot({ users: 1 });
    await server.deliver({ user: "user1", mailbox: "Work", messages: [mail("w")] });
    const life = await begin(server);
    await using device = await server.device(1);
    await device.select("INBOX");
    await device.command("COPY 1:5 Work");
    await eventually("they are in both", async () => (await subjectsIn(life, "Work")) === 6, patience);
    expect(await subjectsIn(life, "INBOX")).toBe(count);
    await device.command("STORE 1:5 +FLAGS (\\Deleted)");
    await device.command("EXPUNGE");
    await eventually("they are in Work alone", async () => (await subjectsIn(life, "INBOX")) === count - 5, patience);
    const now = await messagesOf(daemon, life.accountId);
    expect([...now].map(([subject, { id }]) => [subject, id]).toSorted()).toEqual(
      [...life.messages].map(([subject, { id }]) => [subject, id]).toSorted(),
    );
  });

  it("S54: that renames a mailbox costs nothing", { timeout: 540_000 }, async () => {
    await using server = await startDovecot({ users: 1 });
    await server.deliver({ user: "user1", mailbox: "Proj", messages: [mail("p0"), mail("p1")] });
    const life = await begin(server);
    await using device = await server.device(1);
    await device.command("RENAME Proj Work");
    await eventually("it is renamed", async () => (await kindsOf(life))["mailbox.renamed"] === 1, patience);
    const now = await messagesOf(daemon, life.accountId);
    expect([...now].map(([subject, { id }]) => [subject, id])).toEqual(
      [...life.messages].map(([subject, { id }]) => [subject, id]),
    );
    expect(now.get("p0")?.in).toEqual(["Work"]);
    expect((await kindsOf(life))["message.created"]).toBe(count + 2);
    await device.close();
    expect(await bodiesRead(life)).toBe(count + 2);
  });
});

describe("an account that goes from one protocol to the other", () => {
  interface ShownEndpoint {
    readonly id: string;
    readonly protocol: string;
  }

  interface Bound {
    readonly items: readonly {
      readonly placements: readonly {
        readonly bindings: readonly { readonly endpointId: string; readonly protocol: string }[];
      }[];
    }[];
  }

  const protocolsOf = async ({ accountId }: Life): Promise<readonly string[]> => {
    const { body } = await daemon.call<Bound>("GET", `/v1/accounts/${accountId}/messages?limit=500`);
    const shown = body.items.flatMap(({ placements }) =>
      placements.map(({ bindings }) => bindings.map(({ protocol }) => protocol)),
    );
    return [...new Set(shown.map((protocols) => protocols.toSorted().join(" ")))];
  };

  const boundBy = (life: Life, protocols: string): Promise<true> =>
    eventually(
      `all is bound by ${protocols}`,
      async () => {
        expect(await protocolsOf(life)).toEqual([protocols]);
        expect((await statusOf(daemon, life.accountId)).syncState).toBe("live");
        return true;
      },
      patience,
    );

  const add = async ({ accountId }: Life, endpoint: unknown): Promise<void> => {
    const { status, body } = await daemon.call("PATCH", `/v1/accounts/${accountId}`, { endpoints: [endpoint] });
    expect(status, JSON.stringify(body)).toBe(200);
  };

  const remove = async ({ accountId }: Life, protocol: string): Promise<number> => {
    const { body } = await daemon.call<{ endpoints: ShownEndpoint[] }>("GET", `/v1/accounts/${accountId}`);
    const id = body.endpoints.find((endpoint) => endpoint.protocol === protocol)?.id ?? "";
    return (await daemon.call("DELETE", `/v1/accounts/${accountId}/endpoints/${id}`)).status;
  };

  it("keeps every id both ways, and reads no body again", { timeout: 720_000 }, async () => {
    await using server = await startDovecot({ users: 1 });
    const life = await begin(server);
    const [imap] = dovecotAccount(server, 1).endpoints;
    expect(await remove(life, "imap")).toBe(409);
    await add(life, pop3Endpoint(server, 1));
    await boundBy(life, "imap pop3");
    expect(await remove(life, "imap")).toBe(204);
    expect(await remove(life, "imap")).toBe(404);
    await boundBy(life, "pop3");
    expect(await messagesOf(daemon, life.accountId)).toEqual(life.messages);
    await add(life, imap);
    await boundBy(life, "imap pop3");
    expect(await remove(life, "pop3")).toBe(204);
    await boundBy(life, "imap");
    expect(await messagesOf(daemon, life.accountId)).toEqual(life.messages);
    expect((await kindsOf(life))["message.created"]).toBe(count);
    expect(await bodiesRead(life)).toBe(count);
    expect([...(await server.log()).matchAll(/retr=(\d+)/g)].map(([, retrs]) => Number(retrs))).not.toContain(1);
  });

  it("keeps every id where one server takes the place of another", { timeout: 720_000 }, async () => {
    await using server = await startDovecot({ users: 1 });
    await server.deliver({ user: "user1", mailbox: "Work", messages: Array.from({ length: 20 }, (_, at) => mail(`w${at}`)) });
    const life = await begin(server);
    await add(life, pop3Endpoint(server, 1));
    await eventually("INBOX is bound by both", async () => (await protocolsOf(life)).includes("imap pop3"), patience);
    expect(await remove(life, "imap")).toBe(204);
    await add(life, dovecotAccount(server, 1).endpoints[0]);
    await eventually(
      "all has its number again",
      async () => (await protocolsOf(life)).every((protocols) => protocols.includes("imap")),
      patience,
    );
    expect(await messagesOf(daemon, life.accountId)).toEqual(life.messages);
    expect((await kindsOf(life))["message.created"]).toBe(count + 20);
    expect(await bodiesRead(life)).toBe(count + 20);
  });
});
