/** Which mail is which, where one account is read over IMAP and POP3: told from a server that numbers both views in one order. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { forever, openDovecot } from "../endpoints/pop3/connection-fixture.ts";
import { changesOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, waitLive } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import {
  type ListedMail,
  mailOf,
  pop3Account,
  pop3Endpoint,
  rawOf,
  sha256,
  staysQuiet,
  upstreamOf,
} from "../support/pop3-account.ts";
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

/** One in ten has no Message-ID, one in ten shares one with others, one in ten has twins, some have the headers of another. */
const oddMail = (at: number): Buffer => {
  const kind = at % 10;
  const twin = kind === 3 ? at - (at % 60) : at;
  const messageId = kind === 1 ? "" : `Message-ID: <${kind === 2 ? "same" : twin}@identity.test>\r\n`;
  const subject = kind === 4 ? "one header block for many" : `mail ${twin}`;
  const id = kind === 4 ? "Message-ID: <many@identity.test>\r\n" : messageId;
  return Buffer.from(`From: a@identity.test\r\nSubject: ${subject}\r\n${id}\r\nbody ${String(twin).padStart(6, "0")}\r\n`);
};

const oddMails = (count: number): Buffer[] => Array.from({ length: count }, (_, at) => oddMail(at));

const bothAccount = (server: Dovecot, n: number) => {
  const { endpoints, ...rest } = dovecotAccount(server, n);
  return { ...rest, endpoints: [...endpoints, pop3Endpoint(server, n)] };
};

/** UID by unique-id as the server has it: it lists both views in the order of the UIDs. */
const truthOf = async (server: Dovecot, n: number): Promise<ReadonlyMap<string, number>> => {
  const connection = await openDovecot(server, n);
  const uidls = (await connection.uidl(forever))?.messages ?? [];
  await connection.quit(forever);
  await using device = await server.device(n);
  await device.select("INBOX");
  const { untagged } = await device.command("UID FETCH 1:* (UID)");
  const uids = untagged.flatMap(({ line }) => /\bUID (\d+)/.exec(line)?.slice(1) ?? []).map(Number);
  expect(uidls).toHaveLength(uids.length);
  return new Map(uidls.map(({ uidl }, index) => [uidl ?? "", uids[index] ?? 0]));
};

/** UID by unique-id as the daemon has it. @throws unless all placements have both. */
const pairsOf = async (accountId: string, count: number): Promise<ReadonlyMap<string, number>> => {
  const placements = (await mailOf(daemon, accountId)).flatMap((mail) => mail.placements);
  const pairs = placements.flatMap(({ bindings }): [string, number][] => {
    const uid = bindings.find(({ protocol }) => protocol === "imap")?.uid;
    const uidl = bindings.find(({ protocol }) => protocol === "pop3")?.uidl;
    return uid === undefined || uidl === undefined ? [] : [[uidl, uid]];
  });
  expect(placements).toHaveLength(count);
  expect(new Map(pairs).size).toBe(count);
  return new Map(pairs);
};

const boundOf = (accountId: string, count: number): Promise<ReadonlyMap<string, number>> =>
  eventually("all are bound to both views", () => pairsOf(accountId, count), { timeoutMs: 120_000, everyMs: 1_000 });

/** What the server counted of all POP3 sessions that have ended. */
const readOverPop3 = async (server: Dovecot): Promise<{ readonly tops: number; readonly retrs: number }> => {
  const ended = [...(await server.log()).matchAll(/top=(\d+)\/\d+, retr=(\d+)\/\d+/g)];
  const sum = (group: number): number => ended.reduce((total, found) => total + Number(found[group]), 0);
  return { tops: sum(1), retrs: sum(2) };
};

/** Bodies that were fetched over IMAP in all sessions that have ended. */
const bodiesOverImap = async (server: Dovecot): Promise<number> =>
  [...(await server.log()).matchAll(/body_count=(\d+)/g)].reduce((total, [, count]) => total + Number(count), 0);

const profileOf = async (accountId: string, protocol: string): Promise<Record<string, unknown>> => {
  const { body } = await daemon.call<{ endpoints: { protocol: string; profile: Record<string, unknown> }[] }>(
    "GET",
    `/v1/accounts/${accountId}/status`,
  );
  return body.endpoints.find((endpoint) => endpoint.protocol === protocol)?.profile ?? {};
};

const kindsOf = async (accountId: string): Promise<Readonly<Record<string, number>>> => {
  const counts: Record<string, number> = {};
  for (const { kind } of await changesOf(daemon, accountId)) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
};

describe("20,000 messages with twins, missing and repeated Message-IDs", () => {
  it("ID-3 ID-10: each is bound to its own item by ids alone, and no device can tell", { timeout: 720_000 }, async () => {
    await using server = await startDovecot({ users: 1 });
    const count = 20_000;
    await server.deliver({ user: "user1", mailbox: "INBOX", messages: oddMails(count) });
    const before = await upstreamOf(server, 1);
    const accountId = await liveAccount(daemon, bothAccount(server, 1), 120_000);
    const bound = await boundOf(accountId, count);
    expect(await readOverPop3(server)).toEqual({ tops: expect.toSatisfy((tops) => tops < 20), retrs: 0 });
    expect(await upstreamOf(server, 1)).toEqual(before);
    const truth = await truthOf(server, 1);
    expect([...bound].filter(([uidl, uid]) => truth.get(uidl) !== uid)).toEqual([]);
    expect(await profileOf(accountId, "pop3")).toMatchObject({ uidlFormat: { name: "hex-uid-validity" } });
    // The comparison can fail: a device that retrieves one message leaves its mark.
    const device = await openDovecot(server, 1);
    await (await device.retr({ number: 1, size: null }, forever)).dispose();
    await device.quit(forever);
    expect(await upstreamOf(server, 1)).not.toEqual(before);
  });
});

describe("unique-ids as servers make them", () => {
  it.each([
    ["%v.%u", "validity.uid"],
    ["UID%u-%v", "UIDuid-validity"],
    ["%f", undefined],
    ["%g", undefined],
  ])("%s", { timeout: 360_000 }, async (uidlFormat, name) => {
    await using server = await startDovecot({ users: 1, pop3: { uidlFormat } });
    const count = 300;
    await server.deliver({ user: "user1", mailbox: "INBOX", messages: oddMails(count) });
    const accountId = await liveAccount(daemon, bothAccount(server, 1));
    const bound = await boundOf(accountId, count);
    const truth = await truthOf(server, 1);
    // Where ids tell nothing, twins have nothing by which one could be told from the other.
    await using device = await server.device(1);
    await device.select("INBOX");
    const raws = await device.fetchRaw();
    const mailAt = (uid: number | undefined): string | number =>
      name === undefined ? (raws.get(uid ?? 0)?.toString() ?? "") : (uid ?? 0);
    expect([...bound].filter(([uidl, uid]) => mailAt(truth.get(uidl)) !== mailAt(uid))).toEqual([]);
    expect((await profileOf(accountId, "pop3"))["uidlFormat"]).toEqual(
      name === undefined ? undefined : expect.objectContaining({ name }),
    );
    const { tops, retrs } = await readOverPop3(server);
    expect(retrs).toBe(0);
    // Without a format: one header block each, and the body of what shares its header block and its size with another mail.
    expect(tops).toBeLessThan(name === undefined ? count + 80 : 20);
    expect(await staysQuiet(daemon, accountId, fresh.url, 2)).toBe(0n);
  });
});

/** What servers and stores show differently in their two views. */
const oddOctets = [
  Buffer.from("Subject: no end\r\n\r\nno final line end"),
  Buffer.from("Subject: bare\n\na\nb\n"),
  Buffer.from("Subject: nul\r\n\r\na\0b\r\n", "latin1"),
  Buffer.from("Subject: \xfcmlaut\r\n\r\n\xe4\xf6\xff\r\n", "latin1"),
  Buffer.from("Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n"),
  Buffer.from("Subject: ends\r\n\r\nmany ends\r\n\r\n\r\n\r\n"),
];

describe("K12: an account that has only POP3 and gets IMAP", () => {
  it("keeps every id, reads no body again, and shows nothing twice", { timeout: 360_000 }, async () => {
    await using server = await startDovecot({ users: 1 });
    const mails = [...oddMails(300), ...oddOctets];
    await server.deliver({ user: "user1", mailbox: "INBOX", messages: mails });
    const accountId = await liveAccount(daemon, pop3Account(server, 1));
    const idsOf = (found: readonly ListedMail[]): string[] =>
      found.flatMap(({ id, placements }) => placements.map(() => id)).sort();
    const before = idsOf(await mailOf(daemon, accountId));
    expect(before).toHaveLength(mails.length);
    await using reader = await server.device(1);
    await reader.command('SELECT "INBOX"');
    await reader.command("UID STORE 1:5 +FLAGS (\\Seen)");
    const { endpoints } = dovecotAccount(server, 1);
    expect((await daemon.call("PATCH", `/v1/accounts/${accountId}`, { endpoints })).status).toBe(200);
    await waitLive(daemon, accountId);
    await boundOf(accountId, mails.length);
    expect(idsOf(await mailOf(daemon, accountId))).toEqual(before);
    const kinds = await kindsOf(accountId);
    expect(kinds).toMatchObject({ "message.created": mails.length, "message.merged": mails.length });
    expect(kinds).not.toHaveProperty("message.keywords");
    expect(await staysQuiet(daemon, accountId, fresh.url, 2)).toBe(0n);
    await daemon.call("DELETE", `/v1/accounts/${accountId}`);
    // Sessions are counted when they end. Bodies: of those of which several have one header block and one size.
    const bodies = await eventually("the IMAP sessions end", async () => {
      const count = await bodiesOverImap(server);
      return /hdr_count=[3-9]\d\d /.test(await server.log()) && count;
    });
    expect(bodies).toBeLessThanOrEqual(60);
  });
});

const uidlsOf = async (server: Dovecot): Promise<string> => {
  const connection = await openDovecot(server, 1);
  const uidls = await connection.uidl(forever);
  await connection.quit(forever);
  return JSON.stringify(uidls);
};

describe("ids that begin anew", () => {
  it("ID-9: mail stays what it is over POP3 alone, and what is not there any more is decided", { timeout: 360_000 }, async () => {
    await using server = await startDovecot({ users: 1 });
    const count = 60;
    await server.deliver({ user: "user1", mailbox: "INBOX", messages: oddMails(count) });
    const accountId = await liveAccount(daemon, pop3Account(server, 1));
    const before = await mailOf(daemon, accountId);
    const { retrs } = await readOverPop3(server);
    const old = await uidlsOf(server);
    // Unseen by the daemon, which looks once a second: both at once.
    await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
    await server.doveadm("expunge", "-u", "user1", "mailbox", "INBOX", "1:3");
    await server.doveadm("mailbox", "update", "-u", "user1", "--uid-validity", "4711", "INBOX");
    expect(await uidlsOf(server)).not.toBe(old);
    await daemon.call("POST", `/v1/accounts/${accountId}/resume`);
    const kept = await eventually(
      "what is gone is kept",
      async () => {
        const log = (await changesOf(daemon, accountId)).filter(({ kind }) => kind === "message.kept");
        return log.length === 3 && log;
      },
      { timeoutMs: 60_000 },
    );
    expect(kept.map(({ reason }) => reason)).toEqual(["pop3_drain", "pop3_drain", "pop3_drain"]);
    expect(await kindsOf(accountId)).toMatchObject({ "epoch.changed": 1, "message.created": count });
    const after = await mailOf(daemon, accountId);
    expect(after.map(({ id }) => id)).toEqual(before.map(({ id }) => id));
    expect(after.flatMap(({ placements }) => placements).filter(({ bindings }) => bindings.length === 1)).toHaveLength(count - 3);
    expect((await readOverPop3(server)).retrs).toBe(retrs);
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
  });

  it("ID-8: with IMAP beside it every placement continues in both views", { timeout: 360_000 }, async () => {
    await using server = await startDovecot({ users: 1 });
    const count = 60;
    await server.deliver({ user: "user1", mailbox: "INBOX", messages: oddMails(count) });
    const accountId = await liveAccount(daemon, bothAccount(server, 1));
    const old = await boundOf(accountId, count);
    const before = (await mailOf(daemon, accountId)).map(({ id }) => id);
    await server.doveadm("mailbox", "update", "-u", "user1", "--uid-validity", "4711", "INBOX");
    await eventually(
      "the new ids are bound",
      async () => {
        const bound = await pairsOf(accountId, count);
        expect([...bound.keys()].some((uidl) => old.has(uidl))).toBe(false);
        expect([...(await truthOf(server, 1))].filter(([uidl, uid]) => bound.get(uidl) !== uid)).toEqual([]);
        return true;
      },
      { timeoutMs: 60_000 },
    );
    expect((await mailOf(daemon, accountId)).map(({ id }) => id)).toEqual(before);
    expect(await kindsOf(accountId)).toMatchObject({ "epoch.changed": 2, "message.created": count });
    // This server numbers no changes of the mailbox any more: every look is a whole one, and notes that.
    await staysQuiet(daemon, accountId, fresh.url, 2);
  });

  it(
    "ID-11: an id that stands for another mail of the same size is found out, and no octets are replaced",
    {
      timeout: 360_000,
    },
    async () => {
      await using server = await startDovecot({ users: 1, pop3: { uidlFormat: "%f" } });
      const mail = (word: string): Buffer => Buffer.from(`Subject: ${word}\r\n\r\n${word}\r\n`);
      await server.deliver({ user: "user1", mailbox: "INBOX", messages: [mail("first"), mail("other")] });
      const accountId = await liveAccount(daemon, pop3Account(server, 1));
      const [first] = (await mailOf(daemon, accountId)).filter(({ subject }) => subject === "first");
      const folder = join((await server.doveadm("mailbox", "path", "-u", "user1", "INBOX")).trim(), "cur");
      for (const name of await readdir(folder)) {
        const path = join(folder, name);
        if ((await readFile(path)).equals(mail("first"))) await writeFile(path, mail("trick"));
      }
      await server.doveadm("force-resync", "-u", "user1", "INBOX");
      // What is bound is read again once a day, and when a process begins.
      await daemon.stop();
      daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
      await eventually(
        "the new mail is there",
        async () => {
          expect((await mailOf(daemon, accountId)).map(({ subject }) => subject).sort()).toEqual(["first", "other", "trick"]);
          return true;
        },
        { timeoutMs: 60_000 },
      );
      expect(sha256(await rawOf(daemon, accountId, first?.id ?? ""))).toBe(sha256(mail("first")));
    },
  );
});
