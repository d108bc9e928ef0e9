/** One account over both protocols while IMAP is down: new mail comes over POP3, and whoever reads it is known (K11, K12). */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { changesOf, messagesOf, type SeenChange } from "../support/account-view.ts";
import { forever, openDovecot } from "../endpoints/pop3/connection-fixture.ts";
import { queryOnce } from "../support/database-server.ts";
import { copyDatabase, dumpCanonical } from "../support/canonical-dump.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { mailOf, pop3Endpoint, rawOf, staysQuiet } from "../support/pop3-account.ts";
import { type HeadersOnlyProxy, startHeadersOnly } from "../support/pop3-without-whole-top.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

let server: Dovecot;
let imapProxy: FaultProxy;
let headersOnly: HeadersOnlyProxy;
let fresh: FreshDatabase;
let daemon: Daemon;

const run = (url: string, env: Record<string, string> = {}, dying = false): Promise<Daemon> =>
  startDaemon({ dying, env: { DATABASE_URL: url, SAMEBOX_POLL_SECONDS: "1", SAMEBOX_LEASE_SECONDS: "2", ...env } });

beforeAll(async () => {
  server = await startDovecot({ users: 6 });
  imapProxy = await startFaultProxy({ port: server.imapPort });
  headersOnly = await startHeadersOnly(server.pop3Port);
  fresh = await freshDatabase();
  daemon = await run(fresh.url);
});

afterAll(async () => {
  await daemon.stop();
  await fresh.drop();
  await headersOnly[Symbol.asyncDispose]();
  await imapProxy.stop();
  await server.stop();
});

beforeEach(() => imapProxy.change({}));

const mail = (subject: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@fallback.test>\r\n\r\nbody of ${subject}\r\n`);

const deliver = (n: number, subjects: readonly string[]): Promise<number> =>
  server.deliver({ user: server.account(n).user, mailbox: "INBOX", messages: subjects.map(mail) });

/** IMAP through a line that can go down, POP3 straight or by a server whose TOP gives no whole message. */
const account = (n: number, pop3Port = server.pop3Port) => {
  const { endpoints, ...rest } = dovecotAccount(server, n, { port: imapProxy.port });
  return { ...rest, endpoints: [...endpoints, pop3Endpoint(server, n, { port: pop3Port })] };
};

const goDown = (): void => {
  imapProxy.change({ onConnect: "reset" });
  imapProxy.resetAll();
};

const viewsOf = async (at: Daemon, accountId: string): Promise<string[]> =>
  (await mailOf(at, accountId))
    .map(({ subject, placements }) => {
      const views = placements.map(({ bindings }) =>
        bindings
          .map(({ protocol }) => protocol)
          .toSorted()
          .join("+"),
      );
      return `${subject}: ${views.join(", ")}`;
    })
    .toSorted();

const untilViews = (at: Daemon, accountId: string, views: readonly string[], hurry = false): Promise<unknown> =>
  eventually(
    views.join("; "),
    async () => {
      // Cuts short what a failing endpoint waits.
      if (hurry) await at.call("POST", `/v1/accounts/${accountId}/sync`);
      expect(await viewsOf(at, accountId)).toEqual(views);
      return true;
    },
    { timeoutMs: 60_000, everyMs: 250 },
  );

const comeBack = async (at: Daemon, accountId: string, subjects: readonly string[]): Promise<void> => {
  imapProxy.change({});
  await untilViews(
    at,
    accountId,
    subjects.map((subject) => `${subject}: imap+pop3`),
    true,
  );
};

const flagsUpstream = async (n: number): Promise<string[][]> => {
  await using device = await server.device(n);
  await device.select("INBOX");
  return [...(await device.flags()).values()].map((flags) => flags.filter((flag) => flag !== "\\Recent").toSorted());
};

const keywordChanges = async (at: Daemon, accountId: string): Promise<readonly SeenChange[]> =>
  (await changesOf(at, accountId)).filter(({ kind }) => kind === "message.keywords");

const readIn = async (at: Daemon, accountId: string): Promise<string[]> =>
  [...(await messagesOf(at, accountId))]
    .filter(([, { keywords }]) => keywords.includes("$seen"))
    .map(([subject]) => subject)
    .toSorted();

describe("while IMAP is down", () => {
  it("S134: new mail comes over POP3, is read by nobody, and is there once when IMAP is back", { timeout: 450_000 }, async () => {
    await deliver(1, ["a", "b"]);
    const accountId = await liveAccount(daemon, account(1));
    await untilViews(daemon, accountId, ["a: imap+pop3", "b: imap+pop3"]);
    goDown();
    await deliver(1, ["c", "d"]);
    await untilViews(daemon, accountId, ["a: imap+pop3", "b: imap+pop3", "c: pop3", "d: pop3"]);
    const ids = (await mailOf(daemon, accountId)).map(({ id }) => id).toSorted();
    expect(await flagsUpstream(1)).toEqual([[], [], [], []]);
    await comeBack(daemon, accountId, ["a", "b", "c", "d"]);
    const after = await mailOf(daemon, accountId);
    expect(after.map(({ id }) => id).toSorted()).toEqual(ids);
    for (const { id, subject } of after) expect(await rawOf(daemon, accountId, id)).toEqual(mail(subject ?? ""));
    expect((await changesOf(daemon, accountId)).filter(({ kind }) => kind === "message.created")).toHaveLength(4);
    expect(await flagsUpstream(1)).toEqual([[], [], [], []]);
    expect(await staysQuiet(daemon, accountId, fresh.url, 2)).toBe(0n);
  });

  it(
    "K12: what the two protocols show differently is one mail under one id when IMAP is back",
    { timeout: 450_000 },
    async () => {
      await deliver(4, ["a"]);
      const accountId = await liveAccount(daemon, account(4));
      await untilViews(daemon, accountId, ["a: imap+pop3"]);
      goDown();
      const odd = [
        "Subject: nul\r\n\r\na\0b\r\n",
        "Subject: open\r\n\r\nno final line end",
        "Subject: twin\r\n\r\nx",
        "Subject: twin\r\n\r\nx",
      ];
      await server.deliver({ user: server.account(4).user, mailbox: "INBOX", messages: odd.map((text) => Buffer.from(text)) });
      await untilViews(daemon, accountId, ["a: imap+pop3", "nul: pop3", "open: pop3", "twin: pop3, pop3"]);
      const before = await mailOf(daemon, accountId);
      imapProxy.change({});
      const together = ["a: imap+pop3", "nul: imap+pop3", "open: imap+pop3", "twin: imap+pop3, imap+pop3"];
      await untilViews(daemon, accountId, together, true);
      expect((await mailOf(daemon, accountId)).map(({ id }) => id)).toEqual(before.map(({ id }) => id));
      const log = await changesOf(daemon, accountId);
      expect(log.filter(({ kind }) => kind === "message.created")).toHaveLength(5);
      expect(log.filter(({ kind, rule }) => kind === "message.merged" && rule === "K12")).toHaveLength(4);
      expect(await staysQuiet(daemon, accountId, fresh.url, 2)).toBe(0n);
    },
  );

  it(
    "S37: what had to be retrieved is marked by us alone, and unread again when IMAP is back",
    { timeout: 450_000 },
    async () => {
      await deliver(2, ["a"]);
      const accountId = await liveAccount(daemon, account(2, headersOnly.port));
      await untilViews(daemon, accountId, ["a: imap+pop3"]);
      goDown();
      await deliver(2, ["b", "c", "d"]);
      await untilViews(daemon, accountId, ["a: imap+pop3", "b: pop3", "c: pop3", "d: pop3"]);
      await eventually("the server marks what was retrieved", async () => {
        expect(await flagsUpstream(2)).toEqual([[], ["\\Seen"], ["\\Seen"], ["\\Seen"]]);
        return true;
      });
      // Somebody has read one of them and says so by more than a flag that we set, too.
      await using device = await server.device(2);
      await device.select("INBOX");
      await device.store(3, "+", ["\\Flagged"]);
      await comeBack(daemon, accountId, ["a", "b", "c", "d"]);
      expect(await readIn(daemon, accountId)).toEqual(["c"]);
      const repaired = (await keywordChanges(daemon, accountId)).filter(({ rule }) => rule === "K11");
      expect(repaired.map(({ reason }) => reason)).toEqual(["self_inflicted_seen", "self_inflicted_seen"]);
      await eventually("it is unread upstream", async () => {
        expect(await flagsUpstream(2)).toEqual([[], [], ["\\Flagged", "\\Seen"], []]);
        return true;
      });
      // Exactly once: who reads it now has read it.
      await device.store(2, "+", ["\\Seen"]);
      await eventually("it is read", async () => {
        expect(await readIn(daemon, accountId)).toEqual(["b", "c"]);
        return true;
      });
      await staysQuiet(daemon, accountId, fresh.url, 2);
      expect(await readIn(daemon, accountId)).toEqual(["b", "c"]);
    },
  );
});

describe("while INBOX alone cannot be read over IMAP", () => {
  /** `shut` and `open` while no daemon runs, and while one does. */
  const standIn = async (
    body: Parameters<typeof liveAccount>[1],
    put: (subject: string) => Promise<unknown>,
    doors: { readonly shut: (url: string) => Promise<unknown>; readonly open: (url: string) => Promise<unknown> },
  ): Promise<void> => {
    await using database = await freshDatabase();
    await put("a");
    let accountId: string;
    {
      await using first = await run(database.url);
      accountId = await liveAccount(first, body);
      await untilViews(first, accountId, ["a: imap+pop3"]);
    }
    await doors.shut(database.url);
    await put("b");
    {
      await using second = await run(database.url);
      await untilViews(second, accountId, ["a: imap+pop3", "b: pop3"]);
    }
    await doors.open(database.url);
    await using third = await run(database.url);
    await untilViews(third, accountId, ["a: imap+pop3", "b: imap+pop3"], true);
    expect((await changesOf(third, accountId)).filter(({ kind }) => kind === "message.created")).toHaveLength(2);
  };

  it("K9: a mailbox that the server does not let us look at counts as down", { timeout: 450_000 }, async () => {
    await using restricted = await startDovecot({
      users: 1,
      extraConfig: `
protocol imap {
  mail_plugins = $mail_plugins acl imap_acl
}
plugin {
  acl = vfile
}`,
    });
    const { endpoints, ...rest } = dovecotAccount(restricted, 1);
    const rights = async (letters: string) => {
      await using owner = await restricted.device(1);
      await owner.command(`SETACL INBOX ${restricted.account(1).user} ${letters}`);
    };
    await standIn(
      { ...rest, endpoints: [...endpoints, pop3Endpoint(restricted, 1)] },
      (subject) => restricted.deliver({ user: restricted.account(1).user, mailbox: "INBOX", messages: [mail(subject)] }),
      { shut: () => rights("la"), open: () => rights("lrswipkxtea") },
    );
  });

  it("K9: and so does one that is put aside", { timeout: 450_000 }, async () => {
    const setAside = (url: string, until: string) =>
      queryOnce(url, `update upstream_mailboxes set failures = 1, parked_until = ${until} where path = 'INBOX'`);
    await standIn(account(6), (subject) => deliver(6, [subject]), {
      shut: (url) => setAside(url, "now() + interval '1 hour'"),
      open: (url) => setAside(url, "now()"),
    });
  });
});

describe("what was retrieved and taken before IMAP is back", () => {
  it("K11: is nobody's reading, and nothing waits for it", { timeout: 450_000 }, async () => {
    await deliver(5, ["a"]);
    const accountId = await liveAccount(daemon, account(5, headersOnly.port));
    await untilViews(daemon, accountId, ["a: imap+pop3"]);
    goDown();
    await deliver(5, ["b", "c"]);
    await untilViews(daemon, accountId, ["a: imap+pop3", "b: pop3", "c: pop3"]);
    const laptop = await openDovecot(server, 5);
    await laptop.dele(2, forever);
    await laptop.quit(forever);
    imapProxy.change({});
    await untilViews(daemon, accountId, ["a: imap+pop3", "b: ", "c: imap+pop3"], true);
    const outcomes = () =>
      queryOnce<{ outcome: string | null }>(
        fresh.url,
        `select r.outcome from retrievals r join bindings b using (account_id, endpoint_id, epoch, uidl, occurrence)
         join placements p on p.account_id = b.account_id and p.id = b.placement_id join messages m on m.account_id = p.account_id and m.id = p.message_id
         where r.account_id = $1 order by m.subject`,
        [accountId.replace(/^acc_/, "")],
      );
    await eventually(
      "both are settled",
      async () => {
        await daemon.call("POST", `/v1/accounts/${accountId}/sync`);
        expect((await outcomes()).map(({ outcome }) => outcome)).toEqual(["gone", "cleared"]);
        return true;
      },
      { timeoutMs: 60_000, everyMs: 500 },
    );
  });
});

/** Until so many messages are there, with a daemon that may be about to die. */
const untilStored = (url: string, count: number): Promise<unknown> =>
  eventually("it is stored", async () => (await dumpCanonical(url)).blobs.length === count, { timeoutMs: 30_000 });

describe("a daemon killed at any step of reading while IMAP is down", () => {
  it("knows what it may have retrieved, and takes back no more than that once", { timeout: 600_000 }, async () => {
    await deliver(3, ["a"]);
    await using calm = await freshDatabase();
    let accountId: string;
    {
      await using first = await run(calm.url);
      accountId = await liveAccount(first, account(3, headersOnly.port));
      await untilViews(first, accountId, ["a: imap+pop3"]);
      goDown();
      await eventually(
        "IMAP counts as down",
        async () => {
          const { body } = await first.call<{ endpoints: { nextAttemptAt: string | null }[] }>(
            "GET",
            `/v1/accounts/${accountId}/status`,
          );
          await first.call("POST", `/v1/accounts/${accountId}/sync`);
          const wait = Date.parse(body.endpoints[0]?.nextAttemptAt ?? "") - Date.now();
          return wait > 10_000;
        },
        { timeoutMs: 60_000, everyMs: 200 },
      );
    }
    await deliver(3, ["b"]);
    const killedAt: string[] = [];
    for (let stepNumber = 1; ; stepNumber += 1) {
      goDown();
      await using device = await server.device(3);
      await device.select("INBOX");
      await device.store("1:*", "-", ["\\Seen"]);
      const database = await copyDatabase(calm.url, `fallback_${process.pid}_${stepNumber}`);
      await using dropped = new AsyncDisposableStack();
      dropped.defer(() => database.drop());
      const victim = await run(database.url, { SAMEBOX_FAILPOINT: String(stepNumber) }, true);
      await Promise.race([victim.exited, untilStored(database.url, 2)]);
      if (victim.running) {
        await victim.stop();
        break;
      }
      killedAt.push(String(victim.lines.find(({ text }) => String(text).startsWith("failpoint"))?.["text"]));
      imapProxy.change({});
      await using survivor = await run(database.url);
      await comeBack(survivor, accountId, ["a", "b"]);
      await eventually(
        "nobody has read any",
        async () => {
          expect(await readIn(survivor, accountId)).toEqual([]);
          expect(await flagsUpstream(3)).toEqual([[], []]);
          return true;
        },
        // What is owed to an item before IMAP has listed it is tried again after a minute.
        { timeoutMs: 120_000 },
      );
      const repaired = (await keywordChanges(survivor, accountId)).filter(({ rule }) => rule === "K11");
      expect(repaired.length).toBeLessThanOrEqual(1);
      expect((await changesOf(survivor, accountId)).filter(({ kind }) => kind === "message.created")).toHaveLength(2);
    }
    expect(killedAt.some((text) => text.includes("after retrieval journal"))).toBe(true);
    expect(killedAt.some((text) => text.includes("maildrop commit"))).toBe(true);
  });
});
