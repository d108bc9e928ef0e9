/** What a server's own ids of contents and mailboxes tell (L1, D1, D9), at a Dovecot that answers to X-GUID. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changesOf, mailboxesOf, messagesOf, type SeenChange, statusOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import { sweep } from "../support/pop3-account.ts";
import type { ScriptRule } from "../support/script.ts";
import { startScripted } from "../support/scripted-server.ts";

let fresh: FreshDatabase;
let daemon: Daemon;
let server: Dovecot;

beforeAll(async () => {
  fresh = await freshDatabase();
  daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
  server = await startDovecot({ users: 6 });
});

afterAll(async () => {
  await daemon.stop();
  await server.stop();
  await fresh.drop();
});

const patience = { timeoutMs: 60_000 };
const mail = (subject: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@object-ids.test>\r\n\r\nbody of ${subject}\r\n`);

const begin = async (
  n: number,
  held: Readonly<Record<string, readonly string[]>>,
  at: { readonly port?: number } = {},
): Promise<string> => {
  const { user } = server.account(n);
  for (const [mailbox, subjects] of Object.entries(held)) await server.deliver({ user, mailbox, messages: subjects.map(mail) });
  const accountId = await liveAccount(daemon, dovecotAccount(server, n, at));
  expect((await statusOf(daemon, accountId)).endpoint.profile).toMatchObject({ objectIds: "guid" });
  return accountId;
};

const proj = ["p0", "p1", "p2", "p3", "p4"];

const whereIs = async (accountId: string, subject: string): Promise<readonly string[] | null> =>
  (await messagesOf(daemon, accountId)).get(subject)?.in ?? null;

const since = async (accountId: string, before: number): Promise<readonly SeenChange[]> =>
  (await changesOf(daemon, accountId)).slice(before).filter(({ kind }) => kind !== "account.state");

describe("a server that tells ids of its own", () => {
  it("S59: a mailbox that is deleted and made again is another one", { timeout: 270_000 }, async () => {
    const accountId = await begin(1, { INBOX: ["a"], Proj: proj });
    const before = await messagesOf(daemon, accountId);
    const old = (await mailboxesOf(daemon, accountId)).get("Proj")?.id;
    const logged = (await changesOf(daemon, accountId)).length;
    await using device = await server.device(1);
    await device.remove("Proj");
    await device.create("Proj");
    await device.append("Proj", mail("new"));
    await eventually(
      "the old mails are gone, and the new one is there",
      async () => {
        expect([...(await messagesOf(daemon, accountId)).keys()].toSorted()).toEqual(["a", "new"]);
        return true;
      },
      patience,
    );
    expect(await whereIs(accountId, "new")).toEqual(["Proj"]);
    const now = (await mailboxesOf(daemon, accountId)).get("Proj")?.id;
    expect(now).not.toBe(old);
    const changes = await since(accountId, logged);
    const told = changes.map(({ kind, reason, rule }) => `${kind} ${reason} ${rule}`).sort();
    const arrival = expect.stringMatching(/^message.created (delivered|backfilled) ID-7$/);
    expect(told.filter((one) => !one.startsWith("epoch.changed"))).toEqual([
      "mailbox.created upstream_created D1",
      "mailbox.removed upstream_deleted D9",
      arrival,
      ...proj.map(() => "message.removed mailbox_deleted V8"),
    ]);
    const { body } = await daemon.call<{ placements: { state: string; recoverableUntil: string | null }[] }>(
      "GET",
      `/v1/accounts/${accountId}/messages/${before.get("p0")?.id}`,
    );
    expect(body.placements).toMatchObject([{ state: "removed", recoverableUntil: expect.any(String) }]);
  });

  it("S54: a mailbox whose name another one takes at once is the same under its new name", { timeout: 270_000 }, async () => {
    const accountId = await begin(2, { INBOX: ["a"], Proj: proj });
    const before = await messagesOf(daemon, accountId);
    const old = (await mailboxesOf(daemon, accountId)).get("Proj")?.id;
    const logged = (await changesOf(daemon, accountId)).length;
    await using device = await server.device(2);
    await device.rename({ from: "Proj", to: "Old" });
    await device.create("Proj");
    await device.append("Proj", mail("new"));
    await eventually("the new mail is there", async () => (await whereIs(accountId, "new"))?.[0] === "Proj", patience);
    const mailboxes = await mailboxesOf(daemon, accountId);
    expect(mailboxes.get("Old")?.id).toBe(old);
    expect(mailboxes.get("Proj")?.id).not.toBe(old);
    const messages = await messagesOf(daemon, accountId);
    for (const subject of proj) expect(messages.get(subject)).toEqual({ ...before.get(subject), in: ["Old"] });
    const kinds = (await since(accountId, logged)).map(({ kind }) => kind).sort();
    expect(kinds).toEqual(["mailbox.created", "mailbox.renamed", "message.created"]);
  });

  it(
    "an empty mailbox that is made again goes on under its new id, and is followed when it is renamed",
    { timeout: 270_000 },
    async () => {
      await using device = await server.device(3);
      await device.create("Empty");
      const accountId = await begin(3, { INBOX: ["a"] });
      const id = (await mailboxesOf(daemon, accountId)).get("Empty")?.id;
      expect(id).toBeDefined();
      await device.remove("Empty");
      await device.create("Empty");
      await eventually(
        "it is numbered anew",
        async () => (await changesOf(daemon, accountId)).some(({ kind }) => kind === "epoch.changed"),
        patience,
      );
      await eventually("it is live", async () => (await statusOf(daemon, accountId)).syncState === "live", patience);
      await device.rename({ from: "Empty", to: "Other" });
      await eventually("it is renamed", async () => (await mailboxesOf(daemon, accountId)).has("Other"), patience);
      expect((await mailboxesOf(daemon, accountId)).get("Other")?.id).toBe(id);
    },
  );

  it("B4: where most mailboxes are others at once none is taken for replaced", { timeout: 270_000 }, async () => {
    const names = Array.from({ length: 10 }, (_, at) => `N${at}`);
    let rebuilt: Promise<void> | null = null;
    const before = async (): Promise<void> => void (await rebuilt);
    await using proxy = await startFaultProxy({ port: server.imapPort, faults: { toServer: { before } } });
    const held = Object.fromEntries(names.map((name) => [name, [`in ${name}`]]));
    const accountId = await begin(6, { INBOX: ["a"], ...held }, { port: proxy.port });
    const [mailboxes, messages] = [await mailboxesOf(daemon, accountId), await messagesOf(daemon, accountId)];
    const logged = (await changesOf(daemon, accountId)).length;
    await using device = await server.device(6);
    rebuilt = (async () => {
      for (const name of names) await device.remove(name);
      for (const name of names) await device.create(name);
    })();
    await rebuilt;
    await eventually("all are held", async () => (await statusOf(daemon, accountId)).holds.length === names.length, {
      timeoutMs: 20_000,
    });
    expect(await mailboxesOf(daemon, accountId)).toEqual(mailboxes);
    expect(await messagesOf(daemon, accountId)).toEqual(messages);
    const kinds = new Set((await since(accountId, logged)).map(({ kind }) => kind));
    expect([...kinds].filter((kind) => /removed|created/.test(kind))).toEqual([]);
  });
});

describe("a server that tells none", () => {
  it(
    "S54: two mailboxes whose names a device swaps between two looks keep their ids and their mail",
    { timeout: 270_000 },
    async () => {
      const { user } = server.account(5);
      const held = { INBOX: ["a"], Proj: proj, Work: ["w"] };
      for (const [mailbox, subjects] of Object.entries(held))
        await server.deliver({ user, mailbox, messages: subjects.map(mail) });
      let swapped: Promise<void> | null = null;
      const before = async (piece: Buffer): Promise<void> => {
        await swapped;
        // A word that the server does not know.
        const at = piece.indexOf("X-GUID");
        if (at !== -1) piece.write("Y", at);
      };
      await using proxy = await startFaultProxy({ port: server.imapPort, faults: { toServer: { before } } });
      const accountId = await liveAccount(daemon, dovecotAccount(server, 5, { port: proxy.port }));
      expect((await statusOf(daemon, accountId)).endpoint.profile).toMatchObject({ objectIds: "none" });
      const [mailboxes, messages] = [await mailboxesOf(daemon, accountId), await messagesOf(daemon, accountId)];
      const logged = (await changesOf(daemon, accountId)).length;
      await using device = await server.device(5);
      swapped = (async () => {
        await device.rename({ from: "Proj", to: "Between" });
        await device.rename({ from: "Work", to: "Proj" });
        await device.rename({ from: "Between", to: "Work" });
      })();
      await swapped;
      const idOf = async (name: string) => (await mailboxesOf(daemon, accountId)).get(name)?.id;
      await eventually("they are told apart", async () => (await idOf("Work")) === mailboxes.get("Proj")?.id, patience);
      expect(await idOf("Proj")).toBe(mailboxes.get("Work")?.id);
      await device.append("Proj", mail("new"));
      await eventually("mail goes on", async () => (await whereIs(accountId, "new"))?.[0] === "Proj", patience);
      const now = await messagesOf(daemon, accountId);
      for (const subject of proj) expect(now.get(subject)).toEqual({ ...messages.get(subject), in: ["Work"] });
      expect(now.get("w")).toEqual({ ...messages.get("w"), in: ["Proj"] });
      const kinds = new Set((await since(accountId, logged)).map(({ kind }) => kind));
      expect([...kinds].sort()).toEqual(["mailbox.renamed", "message.created"]);
    },
  );
});

/** Gmail as far as it differs: labels for mailboxes, and all mail once more in a view. UIDs of a mailbox by the mail that they are. */
const gmailRules = (labels: Readonly<Record<string, Readonly<Record<string, number>>>>, modseq: number): ScriptRule[] => {
  const listed = (verb: string): ScriptRule => ({
    on: new RegExp(`^${verb} `),
    reply: [
      ...Object.keys(labels).map(
        (path) => `* ${verb} (\\HasNoChildren${path.endsWith("All Mail") ? " \\All" : ""}) "/" "${path}"\r\n`,
      ),
      "{tag} OK done\r\n",
    ],
  });
  const boxes = Object.entries(labels).flatMap(([path, items], at): ScriptRule[] => {
    const name = String.raw`"?${path.replaceAll(/[[\]]/g, String.raw`\$&`)}"?`;
    const most = [3, 11, 23][at] ?? 0;
    const counters = `UIDNEXT ${most + 1}`;
    const lines = Object.entries(items).map(([subject, uid], number) => {
      const raw = mail(subject).toString("latin1");
      const date = '"17-Jul-2025 02:44:25 +0000"';
      const id = subject.codePointAt(0);
      return `* ${number + 1} FETCH (UID ${uid} FLAGS () MODSEQ (5) INTERNALDATE ${date} RFC822.SIZE ${raw.length} X-GM-MSGID ${id} BODY[]<0> {${raw.length}}\r\n${raw})\r\n`;
    });
    return [
      {
        on: new RegExp(`^STATUS ${name} `),
        reply: [
          `* STATUS "${path}" (MESSAGES ${lines.length} ${counters} UIDVALIDITY ${11 + at} HIGHESTMODSEQ ${at === 0 ? modseq : 5})\r\n`,
          "{tag} OK done\r\n",
        ],
      },
      {
        on: new RegExp(`^EXAMINE ${name}`),
        reply: [
          `* ${lines.length} EXISTS\r\n* OK [UIDVALIDITY ${11 + at}] ok\r\n* OK [${counters}] ok\r\n* OK [HIGHESTMODSEQ ${at === 0 ? modseq : 5}] ok\r\n`,
          "{tag} OK [READ-ONLY] done\r\n",
        ],
      },
      { on: new RegExp(`^UID FETCH \\d+:${most} .*BODY`), reply: [...lines, "{tag} OK done\r\n"] },
    ];
  });
  const left = Object.values(labels["INBOX"] ?? {});
  return [
    listed("LIST"),
    listed("LSUB"),
    ...boxes,
    { on: /CHANGEDSINCE/, reply: ["{tag} OK done\r\n"] },
    { on: /^UID SEARCH ALL/, reply: [`* SEARCH ${left.join(" ")}\r\n`, "{tag} OK done\r\n"] },
  ];
};

describe("a server whose mailboxes are labels", () => {
  const all = "[Gmail]/All Mail";

  it(
    "S105: shows a message once, where its labels are, and in the view of all mail when it has none",
    { timeout: 270_000 },
    async () => {
      const everything = { m: 21, n: 22, o: 23 };
      const before = gmailRules({ INBOX: { m: 1, n: 2, o: 3 }, Work: { m: 11 }, [all]: everything }, 5);
      await using gmail = await startScripted({
        capability: "IMAP4rev1 IDLE UIDPLUS NAMESPACE ENABLE CONDSTORE SPECIAL-USE X-GM-EXT-1 AUTH=PLAIN",
        rules: before,
      });
      const { host, port } = gmail;
      const auth = { type: "password", user: "labels", password: "secret" };
      const endpoint = { protocol: "imap", host, port, security: "none", auth };
      const accountId = await liveAccount(daemon, { email: "labels@example.test", endpoints: [endpoint] });
      const places = async () => new Map([...(await messagesOf(daemon, accountId))].map(([subject, seen]) => [subject, seen.in]));
      expect(await places()).toEqual(
        new Map([
          ["m", ["INBOX", "Work"]],
          ["n", ["INBOX"]],
          ["o", ["INBOX"]],
        ]),
      );
      const ids = await messagesOf(daemon, accountId);
      gmail.become({ rules: gmailRules({ INBOX: { o: 3 }, Work: { m: 11 }, [all]: everything }, 6) });
      gmail.hangUp();
      await eventually(
        "both are archived",
        async () => {
          await sweep(daemon, accountId);
          expect(await places()).toEqual(
            new Map([
              ["m", ["Work"]],
              ["n", [all]],
              ["o", ["INBOX"]],
            ]),
          );
          return true;
        },
        patience,
      );
      const now = await messagesOf(daemon, accountId);
      for (const [subject, { id }] of ids) expect(now.get(subject)?.id).toBe(id);
      const removed = (await changesOf(daemon, accountId)).filter(({ kind }) => kind === "message.removed");
      expect(removed.map(({ reason, rule }) => `${reason} ${rule}`)).toEqual(["label_removed V8b", "label_removed V8b"]);
    },
  );
});
