/** What other devices do to a mailbox comes out of the API, whatever the server can and cannot. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changesOf, mailboxesOf, messagesOf, type SeenMessage, statusOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import type { ImapDevice } from "../support/imap-device.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import { startScripted } from "../support/scripted-server.ts";

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

const mail = (subject: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@changes.test>\r\n\r\nbody of ${subject}\r\n`);

const detections = { qresync: [], condstore: ["QRESYNC"], full: ["QRESYNC", "CONDSTORE"] } as const;
const pushes = { notify: [], idle: ["NOTIFY"], poll: ["NOTIFY", "IDLE"] } as const;
type Detection = keyof typeof detections;
type Push = keyof typeof pushes;

interface Variant {
  readonly detection: Detection;
  readonly push: Push;
  readonly listStatus: boolean;
}

/** Every pair of two abilities occurs. */
const variants: readonly Variant[] = (Object.keys(detections) as Detection[]).flatMap((detection, row) =>
  (Object.keys(pushes) as Push[]).map((push, column) => ({ detection, push, listStatus: (row + column) % 2 === 0 })),
);

/** One account and the device that changes it; each step waits until the app sees what it did. */
class Story {
  readonly accountId: string;
  readonly device: ImapDevice;

  constructor(accountId: string, device: ImapDevice) {
    this.accountId = accountId;
    this.device = device;
  }

  /** Told to look now, whatever it would do by itself. */
  sync(): Promise<unknown> {
    return daemon.call("POST", `/v1/accounts/${this.accountId}/sync`);
  }

  sees(what: string, wanted: Readonly<Record<string, Partial<SeenMessage> | null>>): Promise<true> {
    return eventually(
      what,
      async () => {
        const messages = await messagesOf(daemon, this.accountId);
        for (const [subject, facts] of Object.entries(wanted))
          if (facts === null) expect(messages.get(subject), subject).toBeUndefined();
          else expect(messages.get(subject), subject).toMatchObject(facts);
        return true as const;
      },
      { timeoutMs: 20_000 },
    );
  }

  seesMailbox(path: string): Promise<string> {
    return eventually(`${path} is there`, async () => (await mailboxesOf(daemon, this.accountId)).get(path)?.id);
  }
}

const begin = async (server: Dovecot, n: number): Promise<Story> => {
  const { user } = server.account(n);
  await server.deliver({ user, mailbox: "INBOX", messages: ["a", "b", "c", "d", "e", "f"].map(mail) });
  await server.deliver({ user, mailbox: "Work", messages: [{ raw: mail("w"), flags: ["\\Seen", "\\Flagged"] }] });
  const accountId = await liveAccount(daemon, dovecotAccount(server, n));
  return new Story(accountId, await server.device(n));
};

const play = async (story: Story): Promise<void> => {
  const { device, accountId } = story;
  await story.sees("the first reading", {
    a: { in: ["INBOX"], keywords: [] },
    w: { in: ["Work"], keywords: ["$flagged", "$seen"] },
  });
  const ids = new Map([...(await messagesOf(daemon, accountId))].map(([subject, { id }]) => [subject, id]));
  await device.append("INBOX", mail("new"));
  await device.append("Work", mail("new work"));
  await story.sees("new mail", { new: { in: ["INBOX"] }, "new work": { in: ["Work"] } });
  await device.select("INBOX");
  await device.store("1", "+", ["\\Seen", "\\Answered", "Project7"]);
  await device.store("2", "+", ["\\Flagged"]);
  await story.sees("flags", { a: { keywords: ["$answered", "$seen", "project7"] }, b: { keywords: ["$flagged"] } });
  await device.store("1", "-", ["\\Seen", "Project7"]);
  await story.sees("cleared flags", { a: { id: ids.get("a") ?? "", keywords: ["$answered"] } });
  await device.copy("2", "Work");
  await story.sees("a copy", { b: { id: ids.get("b") ?? "", in: ["INBOX", "Work"], keywords: ["$flagged"] } });
  await device.move("3", "Work");
  await story.sees("a move", { c: { id: ids.get("c") ?? "", in: ["Work"] } });
  await device.expunge("4");
  await story.sees("a removal", { d: null });
  await device.select("Work");
  const { untagged } = await device.command("UID SEARCH SUBJECT c");
  // INBOX is looked at first, so that the mail is seen there before it is missed in Work.
  await device.move(Number(/SEARCH.* (\d+)$/.exec(untagged[0]?.line ?? "")?.[1]), "INBOX");
  await story.sees("a move back", { c: { id: ids.get("c") ?? "", in: ["INBOX"] } });
  await device.store("1", "-", ["\\Flagged"]);
  // Without mod-sequences nothing but a whole listing tells, which other mailboxes get when somebody asks, or seldom.
  await story.sync();
  await story.sees("flags elsewhere", { w: { id: ids.get("w") ?? "", keywords: ["$seen"] } });
  await device.create("Projekte/Äpfel & Birnen/日本");
  await device.append("Projekte/Äpfel & Birnen/日本", mail("far"));
  await story.sees("mail in a nested mailbox", { far: { in: ["Projekte/Äpfel & Birnen/日本"] } });
  const mailboxId = await story.seesMailbox("Projekte/Äpfel & Birnen/日本");
  const far = (await messagesOf(daemon, accountId)).get("far")?.id ?? "";
  await device.rename({ from: "Projekte/Äpfel & Birnen/日本", to: "Nihon 日本" });
  await story.sees("a renamed mailbox", { far: { id: far, in: ["Nihon 日本"] } });
  expect(await story.seesMailbox("Nihon 日本")).toBe(mailboxId);
};

const expectLog = async ({ accountId }: Story): Promise<void> => {
  const messages = await messagesOf(daemon, accountId);
  const changes = await changesOf(daemon, accountId, 7);
  const of = (subject: string) =>
    changes
      .filter(({ messageId }) => messageId === messages.get(subject)?.id)
      .map(({ kind, reason, rule }) => `${kind} ${reason} ${rule}`);
  const created = "message.created backfilled ID-7";
  const flags = "message.keywords upstream_flags F1";
  expect(of("a")).toEqual([created, flags, flags]);
  expect(of("b")).toEqual([created, flags, "message.created copied ID-5e"]);
  const moved = "message.moved upstream_move ID-5a";
  expect(of("c")).toEqual([created, moved, moved]);
  expect(of("e")).toEqual([created]);
  expect(of("new")).toEqual(["message.created delivered ID-7"]);
  expect(changes.filter(({ kind }) => kind === "message.removed")).toMatchObject([{ reason: "user_expunge" }]);
  expect(changes.filter(({ kind }) => kind === "message.created")).toHaveLength(11);
  expect(changes.filter(({ kind }) => kind === "mailbox.renamed")).toMatchObject([
    { mailboxId: (await mailboxesOf(daemon, accountId)).get("Nihon 日本")?.id },
  ]);
  expect(changes.filter(({ kind }) => kind === "mailbox.removed")).toEqual([]);
};

describe.each(variants)("with $detection, $push and LIST-STATUS: $listStatus", ({ detection, push, listStatus }) => {
  it("everything that another device does is seen, with its reason", { timeout: 360_000 }, async () => {
    const hidden = [...detections[detection], ...pushes[push], ...(listStatus ? [] : ["LIST-STATUS"])];
    await using server = await startDovecot({ users: 1, withoutCapabilities: hidden });
    const story = await begin(server, 1);
    await using device = story.device;
    await play(story);
    await expectLog(story);
    const { endpoint } = await statusOf(daemon, story.accountId);
    expect(endpoint.profile).toMatchObject({ changeDetection: detection, push, listStatus });
    await device.close();
    await daemon.call("DELETE", `/v1/accounts/${story.accountId}`);
  });
});

describe("whatever the server can", () => {
  let server: Dovecot;

  beforeAll(async () => {
    server = await startDovecot({ users: 4 });
  });

  afterAll(() => server.stop());

  it("a mailbox that is deleted goes after a minute, and its mails can be had back", { timeout: 360_000 }, async () => {
    const story = await begin(server, 1);
    await using device = story.device;
    const w = (await messagesOf(daemon, story.accountId)).get("w")?.id ?? "";
    await device.select("INBOX");
    await device.copy("1", "Work");
    await story.sees("a copy", { a: { in: ["INBOX", "Work"] } });
    await device.remove("Work");
    await eventually("the mailbox is gone", async () => !(await mailboxesOf(daemon, story.accountId)).has("Work"), {
      timeoutMs: 100_000,
      everyMs: 250,
    });
    await story.sees("its mails are gone with it", { a: { in: ["INBOX"] }, w: null });
    const path = `/v1/accounts/${story.accountId}/messages/${w}`;
    const { body } = await daemon.call<{ placements: { state: string; recoverableUntil: string | null }[] }>("GET", path);
    expect(body.placements).toMatchObject([{ state: "removed", recoverableUntil: expect.any(String) }]);
    expect((await daemon.call<{ text: string }>("GET", `${path}/raw`)).body.text).toBe(mail("w").toString());
  });

  it("reading leaves flags, mod-sequences and \\Recent as they were", async () => {
    const { user } = server.account(2);
    // More than fit into one turn, so that the connection that reads in bulk is watched too.
    await server.deliver({ user, mailbox: "INBOX", messages: Array.from({ length: 120 }, (_, at) => mail(`quiet ${at}`)) });
    await server.deliver({ user, mailbox: "Work", messages: [mail("quiet work")] });
    await using device = await server.device(2);
    const marks = async (): Promise<string[]> => {
      const answers = ["INBOX", "Work"].map((name) => device.command(`STATUS ${name} (MESSAGES RECENT UNSEEN HIGHESTMODSEQ)`));
      return (await Promise.all(answers)).flatMap(({ untagged }) => untagged.map(({ line }) => line));
    };
    const before = await marks();
    expect(before[0]).toContain("RECENT 120");
    const accountId = await liveAccount(daemon, dovecotAccount(server, 2));
    const messages = await messagesOf(daemon, accountId);
    expect(messages.size).toBe(121);
    await daemon.call("GET", `/v1/accounts/${accountId}/messages/${messages.get("quiet work")?.id}/raw`);
    expect(await marks()).toEqual(before);
    // A client that does not take care leaves traces of each kind.
    await device.select("INBOX");
    await device.command("UID FETCH 1 (BODY[])");
    await device.command("UNSELECT");
    const [inbox = ""] = await marks();
    for (const fact of ["RECENT", "UNSEEN", "HIGHESTMODSEQ"]) {
      const of = (line = ""): string | undefined => new RegExp(`${fact} \\d+`).exec(line)?.[0];
      expect(of(inbox)).not.toBe(of(before[0]));
    }
  });

  it("roles come from SPECIAL-USE, and from names where the server tells none", async () => {
    const rolesOf = async (accountId: string): Promise<Record<string, string | null>> =>
      Object.fromEntries([...(await mailboxesOf(daemon, accountId))].map(([path, { role }]) => [path, role]));
    const special = await liveAccount(daemon, dovecotAccount(server, 3));
    expect(await rolesOf(special)).toEqual({
      INBOX: "inbox",
      Archive: "archive",
      Drafts: "drafts",
      Junk: "junk",
      Sent: "sent",
      Trash: "trash",
    });
    const names = ["INBOX", "Gesendet", "Papierkorb", "Entw&APw-rfe", "Spam", "Projekte"];
    await using plain = await startScripted({
      capability: "IMAP4rev1 IDLE",
      state: { messages: 0 },
      rules: [{ on: /^LIST/i, reply: [...names.map((name) => `* LIST () "/" "${name}"\r\n`), "{ok}"] }],
    });
    const named = await liveAccount(daemon, dovecotAccount(server, 3, { port: plain.port }));
    expect(await rolesOf(named)).toEqual({
      INBOX: "inbox",
      Gesendet: "sent",
      Papierkorb: "trash",
      Entwürfe: "drafts",
      Spam: "junk",
      Projekte: null,
    });
    await daemon.call("DELETE", `/v1/accounts/${named}`);
  });

  it("what one session no longer lists is asked of another before it is missed", async () => {
    const both = ["INBOX", "Work"].map((name) => `* LIST () "/" "${name}"\r\n`);
    await using scripted = await startScripted({
      capability: "IMAP4rev1 IDLE",
      state: { messages: 0 },
      rules: [
        { on: /^LIST "" "\*"/i, nth: 1, reply: [...both, "{ok}"] },
        { on: /^LIST "" "\*"/i, nth: 1, reply: [...both.slice(0, 1), "{ok}"] },
        { on: /^LIST "" "\*"/i, reply: [...both, "{ok}"] },
      ],
    });
    const accountId = await liveAccount(daemon, dovecotAccount(server, 3, { port: scripted.port }));
    const sessions = await eventually("it is listed three times", () => {
      const lists = scripted.received.filter(({ line }) => line.includes('LIST "" "*"'));
      return lists.length >= 3 ? lists.map(({ session }) => session) : undefined;
    });
    expect(sessions[1]).toBe(sessions[0]);
    expect(sessions[2]).not.toBe(sessions[1]);
    expect([...(await mailboxesOf(daemon, accountId)).keys()]).toContain("Work");
    await daemon.call("DELETE", `/v1/accounts/${accountId}`);
  });
});
