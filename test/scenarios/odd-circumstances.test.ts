/** Clocks that are wrong, passwords that change, mail that is too large or shown in two ways: what happens then, and what does not. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changesOf, mailboxesOf, messagesOf, statusOf } from "../support/account-view.ts";
import { itemsIn, moveTo, phone, settledCommands, write } from "../support/api-writes.ts";
import { dumpCanonical } from "../support/canonical-dump.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, waitLive } from "../support/daemon.ts";
import { queryOnce } from "../support/database-server.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { commandsOf } from "../support/owed-writes.ts";
import { type ListedMail, mailOf, pop3Endpoint, rawOf, sweep } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import { startScripted } from "../support/scripted-server.ts";

let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;

/** What is larger is not stored. */
const largest = 100_000;
const patience = { timeoutMs: 60_000 };

const run = (): Promise<Daemon> =>
  startDaemon({
    env: {
      DATABASE_URL: fresh.url,
      SAMEBOX_POLL_SECONDS: "1",
      SAMEBOX_LEASE_SECONDS: "2",
      SAMEBOX_MAX_MESSAGE_BYTES: String(largest),
    },
  });

beforeAll(async () => {
  server = await startDovecot({ users: 8, pop3Of: { 6: { uidlFormat: "%f" } } });
  fresh = await freshDatabase();
  daemon = await run();
});

afterAll(async () => {
  await daemon.stop();
  await fresh.drop();
  await server.stop();
});

const raw = (subject: string, body = `body of ${subject}\r\n`): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@odd.test>\r\n\r\n${body}`);

const deliver = (n: number, mailbox: string, messages: readonly Buffer[]): Promise<number> =>
  server.deliver({ user: server.account(n).user, mailbox, messages });

const syncOf = async (accountId: string, subject: string): Promise<unknown> =>
  (await mailOf(daemon, accountId)).find((mail) => mail.subject === subject)?.placements.map(({ sync }) => sync);

const patient = { timeout: 270_000 };

describe("moves that one look sees in any order", () => {
  it("S117: are moves, whichever of the two mailboxes is read first", patient, async () => {
    const places = ["Alpha", "INBOX", "Zulu"] as const;
    for (const place of places)
      await deliver(
        1,
        place,
        places.map((to) => raw(`${place} to ${to}`)),
      );
    const accountId = await liveAccount(daemon, dovecotAccount(server, 1));
    const before = await messagesOf(daemon, accountId);
    const since = (await changesOf(daemon, accountId)).length;
    await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
    await using device = await server.device(1);
    for (const place of places) {
      await device.select(place);
      for (const [uid, octets] of await device.fetchRaw()) {
        const to = /^Subject: (\w+) to (\w+)/.exec(octets.toString()) ?? [];
        if (to[1] === place && to[2] !== place) await device.move(uid, to[2] ?? "");
      }
    }
    await daemon.call("POST", `/v1/accounts/${accountId}/resume`);
    await eventually(
      "all are where they were moved to",
      async () => {
        for (const [subject, message] of await messagesOf(daemon, accountId))
          expect([subject, ...message.in]).toEqual([subject, subject.split(" ").at(-1)]);
        return true;
      },
      patience,
    );
    await sweep(daemon, accountId);
    const log = (await changesOf(daemon, accountId)).slice(since);
    expect(log.map(({ kind }) => kind).filter((kind) => kind !== "account.state")).toEqual(Array(6).fill("message.moved"));
    expect([...(await messagesOf(daemon, accountId))].map(([subject, { id }]) => [subject, id]).toSorted()).toEqual(
      [...before].map(([subject, { id }]) => [subject, id]).toSorted(),
    );
  });
});

describe("a device whose clock is three hours ahead", () => {
  it("S121: is no later than the others for it", patient, async () => {
    await deliver(2, "INBOX", [raw("m")]);
    const accountId = await liveAccount(daemon, dovecotAccount(server, 2));
    const { id = "" } = (await messagesOf(daemon, accountId)).get("m") ?? {};
    const ahead = new Date(Date.now() + 3 * 3_600_000);
    const say = async (device: string, base: string, keywords: Record<string, true | null>, clock = new Date()) => {
      const headers = { "x-device-id": device, "if-match": `"${base}"`, date: clock.toUTCString() };
      const path = `/v1/accounts/${accountId}/messages/${id}`;
      const { body } = await daemon.call<{ status: string; state: string }>("PATCH", path, { keywords }, headers);
      return body;
    };
    const base = (await daemon.call<{ state: string }>("GET", `/v1/accounts/${accountId}`)).body.state;
    const first = await say("A1", base, { $flagged: true, blue: true }, ahead);
    // Knows what A1 did, and has the last word.
    const second = await say("A2", first.state, { $flagged: null });
    // Knows nothing of A2, and speaks of something else.
    const third = await say("A1", first.state, { blue: null }, ahead);
    expect([first.status, second.status, third.status]).toEqual(["applied", "applied", "applied"]);
    expect((await messagesOf(daemon, accountId)).get("m")?.keywords).toEqual([]);
    const log = (await changesOf(daemon, accountId)).filter(({ kind }) => kind === "message.keywords") as unknown as {
      at: string;
    }[];
    expect(log).toHaveLength(3);
    for (const { at } of log) expect(Math.abs(Date.parse(at) - Date.now())).toBeLessThan(60_000);
    // There is no place to say what time it is.
    const told = await daemon.call<{ errors: { pointer: string }[] }>("PATCH", `/v1/accounts/${accountId}/messages/${id}`, {
      keywords: { $flagged: true },
      clientTs: ahead.toISOString(),
    });
    expect([told.status, JSON.stringify(told.body)]).toEqual([400, expect.stringContaining("clientTs")]);
  });
});

describe("a message that is too large to be stored", () => {
  it("S130: has headers and flags, and nothing destroys it upstream", patient, async () => {
    await deliver(3, "INBOX", [raw("small"), raw("huge", "x".repeat(76) + "\r\n".repeat(2 * largest))]);
    await deliver(3, "Work", [raw("there")]);
    const accountId = await liveAccount(daemon, dovecotAccount(server, 3));
    const { id } = await eventually("its headers are shown", async () => (await messagesOf(daemon, accountId)).get("huge"));
    expect((await daemon.call("GET", `/v1/accounts/${accountId}/messages/${id}`)).body).toMatchObject({
      blobId: null,
      size: 4 * largest + 122,
    });
    await write(daemon, accountId, "huge", { body: { keywords: { $flagged: true } } });
    await settledCommands(fresh.url, accountId);
    await using device = await server.device(3);
    await device.select("INBOX");
    await device.store(2, "+", ["\\Answered"]);
    await eventually(
      "flags are the same on both sides",
      async () => (await messagesOf(daemon, accountId)).get("huge")?.keywords.join(" ") === "$answered $flagged",
    );
    const base = (await daemon.call<{ state: string }>("GET", `/v1/accounts/${accountId}`)).body.state;
    const path = `/v1/accounts/${accountId}/messages/${id}`;
    const purged = await daemon.call("DELETE", `${path}?purge=true`, undefined, { ...phone, "if-match": `"${base}"` });
    expect(purged.body).toMatchObject({ status: "rejected", reason: "not_durable" });
    await moveTo(daemon, accountId, "huge", "Work");
    await sweep(daemon, accountId);
    expect(await itemsIn(server, 3, "INBOX")).toEqual(["huge \\Answered \\Flagged", "small"]);
    expect(await commandsOf(fresh.url, accountId)).toMatchObject([
      { verb: "store", status: "confirmed" },
      { verb: "move", status: "planned", outcome: "not_durable", attempts: 0 },
    ]);
    expect(await syncOf(accountId, "huge")).toEqual(["pending"]);
    // What is stored is moved all the same.
    await moveTo(daemon, accountId, "small", "Work");
    await eventually("it is moved", async () => (await itemsIn(server, 3, "Work")).length === 2, patience);
    // Neither is it lost for a mailbox that it is to be in as well.
    const archive = (await mailboxesOf(daemon, accountId)).get("Archive")?.id ?? "";
    await write(daemon, accountId, "huge", { body: { mailboxIds: { [archive]: true } } });
    await sweep(daemon, accountId);
    expect((await commandsOf(fresh.url, accountId)).filter(({ verb }) => verb === "append")).toMatchObject([
      { status: "planned", outcome: "not_durable", attempts: 0 },
    ]);
  });
});

describe("a password that was changed", () => {
  it("S137: changes nothing here, and what is wanted waits in sight until the new one is told", patient, async () => {
    await deliver(4, "INBOX", [raw("one"), raw("two")]);
    const accountId = await liveAccount(daemon, dovecotAccount(server, 4));
    const before = await messagesOf(daemon, accountId);
    await server.changePassword(4, "another-secret");
    const tried = () => daemon.call("POST", `/v1/accounts/${accountId}/sync`);
    await tried();
    await eventually(
      "it is refused",
      async () => (await statusOf(daemon, accountId)).endpoint.lastError?.code === "endpoint_auth_failed",
      patience,
    );
    await write(daemon, accountId, "one", { body: { keywords: { $flagged: true } } });
    await eventually(
      "nobody tries again",
      async () => {
        await tried();
        return (await statusOf(daemon, accountId)).syncState === "needs_reauth";
      },
      patience,
    );
    expect(await syncOf(accountId, "one")).toEqual(["pending"]);
    expect(await messagesOf(daemon, accountId)).toEqual(
      new Map(
        [...before].map(([subject, message]) => [subject, subject === "one" ? { ...message, keywords: ["$flagged"] } : message]),
      ),
    );
    const log = await changesOf(daemon, accountId);
    expect(log.filter(({ kind }) => /^(message\.(kept|removed|moved)|hold|mailbox\.removed|write)/.test(kind))).toEqual([]);
    const { endpoints } = (await daemon.call<{ endpoints: { id: string }[] }>("GET", `/v1/accounts/${accountId}`)).body;
    await daemon.call("PATCH", `/v1/accounts/${accountId}`, {
      endpoints: [{ id: endpoints[0]?.id, auth: { type: "password", ...server.account(4) } }],
    });
    await waitLive(daemon, accountId);
    await eventually("it is written", async () => String(await syncOf(accountId, "one")) === "synced", patience);
    expect(await itemsIn(server, 4, "INBOX")).toEqual(["one \\Flagged", "two"]);
  });
});

describe("one mail in two renderings", () => {
  const uidlOf = ({ placements }: Pick<ListedMail, "placements">) =>
    placements[0]?.bindings.find(({ protocol }) => protocol === "pop3")?.uidl;

  it("S101 S102: without its last line end and with dots in front of lines is one mail", patient, async () => {
    // Of equal headers and sizes, so that the octets have to tell (L3), and unique-ids tell nothing.
    const twin = (body: string): Buffer => Buffer.from(`Subject: twin\r\n\r\n${body}`);
    const mails = [
      twin("..hidden\r\n.\r\n.x"),
      twin(".hidden.\r\n.\r\n.y"),
      twin("...\r\n.\r\n..\r\n.z.."),
      twin("no dots\r\nat the end"),
    ];
    await deliver(6, "INBOX", mails);
    const { endpoints, ...rest } = dovecotAccount(server, 6);
    const accountId = await liveAccount(daemon, { ...rest, endpoints: [...endpoints, pop3Endpoint(server, 6)] });
    const found = await eventually(
      "all are bound in both views",
      async () => {
        const all = await mailOf(daemon, accountId);
        expect(all.flatMap(({ placements }) => placements.map(({ bindings }) => bindings.length))).toEqual(mails.map(() => 2));
        return all;
      },
      patience,
    );
    expect(found).toHaveLength(mails.length);
    const uidls = found.map(uidlOf).toSorted();
    for (const { id, placements } of found) {
      const uid = placements[0]?.bindings.find(({ protocol }) => protocol === "imap")?.uid ?? 0;
      expect(await rawOf(daemon, accountId, id)).toEqual(mails[uid - 1]);
      // Files are named in the order in which they came.
      expect(uidls[uid - 1]).toBe(uidlOf({ placements }));
    }
  });
});

describe("a server that has forgotten what it expunged", () => {
  it("S139: names more than was known, and only what was known is gone", patient, async () => {
    const subjects = ["a", "b", "c", "d", "e", "f"];
    await deliver(
      5,
      "INBOX",
      subjects.map((subject) => raw(subject)),
    );
    await using device = await server.device(5);
    await device.select("INBOX");
    const expunge = async (uids: string): Promise<void> => {
      await device.store(uids, "+", ["\\Deleted"]);
      await device.expunge(uids);
    };
    await expunge("1,4");
    const accountId = await liveAccount(daemon, dovecotAccount(server, 5));
    await expunge("2");
    await eventually("it is removed", async () => !(await messagesOf(daemon, accountId)).has("b"), patience);
    const since = (await changesOf(daemon, accountId)).length;
    await daemon.stop();
    await expunge("6");
    // As after so long that the server keeps no record of what was expunged since: it names every number that is not there.
    await queryOnce(
      fresh.url,
      `update upstream_mailboxes set highest_modseq = 1 where account_id = '${accountId.replace(/^acc_/, "")}'`,
    );
    daemon = await run();
    await eventually("it is removed", async () => !(await messagesOf(daemon, accountId)).has("f"), patience);
    await sweep(daemon, accountId);
    const log = (await changesOf(daemon, accountId)).slice(since);
    expect(log.map(({ kind }) => kind).filter((kind) => kind !== "account.state")).toEqual(["message.removed"]);
    expect([...(await messagesOf(daemon, accountId)).keys()].toSorted()).toEqual(["c", "e"]);
    await dumpCanonical(fresh.url);
  });
});

describe("a server whose numbers do not last", () => {
  const openedWith = (exists: number) => {
    const opened = String.raw`* ${exists} EXISTS
* 0 RECENT
* FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft \*)] ok
* OK [UIDVALIDITY {counter}] ok
* OK [UIDNEXT ${exists + 101}] ok
* NO [UIDNOTSTICKY] numbers are made up at each SELECT
{ok}`.replaceAll("\n", "\r\n");
    return [{ on: /^(SELECT|EXAMINE)/i, reply: [opened] }];
  };

  it("S129: is known again each time by header blocks, and nothing is written to it by number", patient, async () => {
    await using scripted = await startScripted({ state: { uidvalidity: "{counter}" }, rules: openedWith(3) });
    const accountId = await liveAccount(daemon, dovecotAccount(server, 8, { port: scripted.port }));
    const before = await messagesOf(daemon, accountId);
    expect([...before.keys()].toSorted()).toEqual(["first message", "second message", "third message"]);
    await write(daemon, accountId, "first message", { body: { keywords: { $flagged: true } } });
    expect((await settledCommands(fresh.url, accountId)).map(({ status, outcome }) => [status, outcome])).toEqual([
      ["masked", "unsupported"],
    ]);
    const epochs = async () => (await changesOf(daemon, accountId)).filter(({ kind }) => kind === "epoch.changed").length;
    await eventually("it was numbered anew again and again", async () => (await epochs()) >= 4, patience);
    await eventually(
      "it is known again",
      async () => {
        const uids = (await mailOf(daemon, accountId)).flatMap(({ placements }) =>
          placements.map(({ bindings }) => bindings[0]?.uid),
        );
        expect(uids.toSorted()).toEqual([101, 102, 103]);
        return true;
      },
      patience,
    );
    expect([...(await messagesOf(daemon, accountId))].map(([subject, { id }]) => [subject, id]).toSorted()).toEqual(
      [...before].map(([subject, { id }]) => [subject, id]).toSorted(),
    );
    const kinds = (await changesOf(daemon, accountId)).map(({ kind }) => kind).filter((kind) => kind.startsWith("message."));
    expect(kinds.toSorted()).toEqual([...Array(3).fill("message.created"), "message.keywords"]);
    expect(scripted.received.filter(({ line }) => /STORE|EXPUNGE|MOVE|COPY/.test(line))).toEqual([]);
  });

  it("S129: decides nothing about what is not among the items any more (no V rules)", patient, async () => {
    const messages = Array.from({ length: 6 }, (_, at) => Buffer.from(`Subject: n${at}\r\n\r\nof the ${at}th\r\n`));
    await using scripted = await startScripted({ messages });
    const accountId = await liveAccount(daemon, dovecotAccount(server, 8, { port: scripted.port }));
    scripted.depart();
    scripted.become({ state: { uidvalidity: "{counter}" }, rules: openedWith(5) });
    scripted.hangUp();
    await eventually(
      "it was numbered anew, read to its end, and numbered anew",
      async () => {
        const epochs = (await changesOf(daemon, accountId)).filter(({ kind }) => kind === "epoch.changed").length;
        const items = (await mailOf(daemon, accountId)).flatMap(({ placements }) =>
          placements.flatMap(({ bindings }) => bindings),
        );
        return epochs >= 2 && items.length === 5;
      },
      patience,
    );
    const missing = await queryOnce(
      fresh.url,
      `select from placements where account_id = $1 and (absent_since is not null or lifecycle <> 'live')`,
      [accountId.replace(/^acc_/, "")],
    );
    expect(missing).toEqual([]);
    expect((await messagesOf(daemon, accountId)).size).toBe(6);
  });
});
