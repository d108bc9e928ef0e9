/** Mailboxes that an app makes, renames, moves and removes, on a real Dovecot: canonical first, upstream after (semantics 3.5). */
import { describe, expect, it } from "vitest";
import { changesOf, mailboxesOf, messagesOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount } from "../support/daemon.ts";
import type { Dovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { useGround } from "../support/ground.ts";
import { staysQuiet } from "../support/pop3-account.ts";
import type { FreshDatabase } from "../support/postgres.ts";

let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;

useGround({ users: 15 }, (ground) => {
  ({ server, fresh, daemon } = ground);
});

const mail = (subject: string) => ({ raw: Buffer.from(`Subject: ${subject}\r\n\r\nbody of ${subject}\r\n`), flags: [] });

/** An account with a mail in each of the mailboxes, named like it. */
const account = async (n: number, ...paths: readonly string[]): Promise<string> => {
  await using device = await server.device(n);
  for (const path of paths) {
    if (path !== "INBOX") await device.create(path);
    await device.appendAll(path, [mail(path)]);
  }
  return await liveAccount(daemon, dovecotAccount(server, n)); // Before the device is disposed.
};

const idOf = async (accountId: string, path: string): Promise<string> =>
  (await mailboxesOf(daemon, accountId)).get(path)?.id ?? "";

interface Written {
  readonly id: string;
  readonly path: string;
  readonly sync: string;
  readonly status: string;
  readonly reason: string;
  readonly code: string;
  readonly state: string;
}

const write = (accountId: string, method: string, rest: string, body?: object, headers: Record<string, string> = {}) =>
  daemon.call<Written>(method, `/v1/accounts/${accountId}/mailboxes${rest}`, body, { "x-device-id": "A1", ...headers });

const pathsOn = async (n: number): Promise<readonly string[]> => {
  await using device = await server.device(n);
  const { untagged } = await device.command('LIST "" "*"');
  return untagged.flatMap(({ line }) => /" "?([^"]*)"?$/.exec(line)?.[1] ?? []).toSorted();
};

const subscribedOn = async (n: number): Promise<readonly string[]> => {
  await using device = await server.device(n);
  const { untagged } = await device.command('LSUB "" "*"');
  return untagged.flatMap(({ line }) => /" "?([^"]*)"?$/.exec(line)?.[1] ?? []).toSorted();
};

/** Nothing is owed any more. */
const settled = (accountId: string) =>
  eventually(
    "mailboxes are in step",
    async () => {
      const { body } = await daemon.call<{ items: { sync: string }[] }>("GET", `/v1/accounts/${accountId}/mailboxes`);
      return body.items.every(({ sync }) => sync === "synced");
    },
    { timeoutMs: 30_000 },
  );

const writesOf = async (accountId: string) =>
  (await changesOf(daemon, accountId)).filter(({ kind }) => kind.startsWith("write."));

describe("a mailbox made over the API", () => {
  it("is there at once, then upstream, shown to devices, and no news when it is seen", { timeout: 180_000 }, async () => {
    const accountId = await account(1, "INBOX");
    const made = await write(accountId, "POST", "", { name: "Bücher & Geld" });
    expect([made.status, made.body]).toMatchObject([201, { status: "applied", reason: "created", sync: "pending" }]);
    const child = await write(accountId, "POST", "", { name: "日本", parentId: made.body.id });
    expect(child.body.path).toBe("Bücher & Geld/日本");
    await settled(accountId);
    expect(await pathsOn(1)).toEqual(expect.arrayContaining(["B&APw-cher &- Geld", "B&APw-cher &- Geld/&ZeVnLA-"]));
    expect(await subscribedOn(1)).toEqual(expect.arrayContaining(["B&APw-cher &- Geld", "B&APw-cher &- Geld/&ZeVnLA-"]));
    const log = (await changesOf(daemon, accountId)).filter(({ mailboxId }) => mailboxId === made.body.id);
    expect(log.map(({ kind, reason }) => [kind, reason])).toEqual([
      ["mailbox.created", "api_created"],
      ["write.applied", "api_write"],
    ]);
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
  });

  it("S58: is the one that a device made meanwhile", { timeout: 180_000 }, async () => {
    const accountId = await account(2, "INBOX");
    await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
    const made = await write(accountId, "POST", "", { name: "Tax" });
    await using device = await server.device(2);
    await device.create("Tax");
    await device.appendAll("Tax", [mail("receipt")]);
    await daemon.call("POST", `/v1/accounts/${accountId}/resume`);
    await eventually("its mail is read", async () => (await messagesOf(daemon, accountId)).has("receipt"), { timeoutMs: 20_000 });
    await settled(accountId);
    expect(await idOf(accountId, "Tax")).toBe(made.body.id);
    expect((await messagesOf(daemon, accountId)).get("receipt")?.in).toEqual(["Tax"]);
    expect((await pathsOn(2)).filter((path) => path.startsWith("Tax"))).toEqual(["Tax"]);
    expect((await changesOf(daemon, accountId)).filter(({ mailboxId }) => mailboxId === made.body.id)[0]?.kind).toBe(
      "mailbox.created",
    );
  });

  it("has a name that the server can have, or it is said in plain words", { timeout: 180_000 }, async () => {
    const accountId = await account(3, "INBOX", "Work");
    const parentId = await idOf(accountId, "Work");
    for (const name of ["a/b", "line\nbreak", " x", "inbox", "Work"]) {
      const refused = await write(accountId, "POST", "", { name });
      expect([name, refused.status]).toEqual([name, name === "inbox" || name === "Work" ? 409 : 400]);
    }
    expect((await write(accountId, "POST", "", { name: "a/b" })).body).toMatchObject({
      detail: "has the character in it that separates levels on the account's IMAP server",
    });
    expect((await write(accountId, "POST", "", { name: "Work", parentId })).status).toBe(201);
    await settled(accountId);
    expect(await pathsOn(3)).toContain("Work/Work");
  });
});

describe("a mailbox renamed over the API", () => {
  it("keeps its id, its mail and its children; nothing is fetched again", { timeout: 180_000 }, async () => {
    const accountId = await account(4, "INBOX", "Proj", "Proj/Sub", "Home");
    const before = await mailboxesOf(daemon, accountId);
    const mails = await messagesOf(daemon, accountId);
    const id = before.get("Proj")?.id ?? "";
    const renamed = await write(accountId, "PATCH", `/${id}`, { name: "Alpha", parentId: before.get("Home")?.id });
    expect([renamed.status, renamed.body]).toMatchObject([200, { status: "applied", path: "Home/Alpha", sync: "pending" }]);
    await settled(accountId);
    expect(await pathsOn(4)).toEqual(expect.arrayContaining(["Home/Alpha", "Home/Alpha/Sub"]));
    expect((await pathsOn(4)).filter((path) => path.startsWith("Proj"))).toEqual([]);
    expect((await subscribedOn(4)).filter((path) => path.startsWith("Proj"))).toEqual([]);
    const after = await mailboxesOf(daemon, accountId);
    expect([after.get("Home/Alpha")?.id, after.get("Home/Alpha/Sub")?.id]).toEqual([id, before.get("Proj/Sub")?.id]);
    const now = await messagesOf(daemon, accountId);
    expect([...now].map(([subject, { id: messageId }]) => [subject, messageId])).toEqual(
      [...mails].map(([subject, { id: messageId }]) => [subject, messageId]),
    );
    const log = await changesOf(daemon, accountId);
    expect(log.filter(({ kind }) => kind === "mailbox.renamed").map(({ reason }) => reason)).toEqual(["api_renamed"]);
    expect(log.filter(({ kind }) => kind === "message.created")).toHaveLength(4);
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
  });

  it("two that change names end with each other's", { timeout: 180_000 }, async () => {
    const accountId = await account(5, "INBOX", "A", "B");
    const [a, b] = [await idOf(accountId, "A"), await idOf(accountId, "B")];
    await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
    await write(accountId, "PATCH", `/${a}`, { name: "C" });
    await write(accountId, "PATCH", `/${b}`, { name: "A" });
    await write(accountId, "PATCH", `/${a}`, { name: "B" });
    await daemon.call("POST", `/v1/accounts/${accountId}/resume`);
    await settled(accountId);
    expect([await idOf(accountId, "A"), await idOf(accountId, "B")]).toEqual([b, a]);
    expect([...(await messagesOf(daemon, accountId))].map(([subject, { in: places }]) => [subject, places]).toSorted()).toEqual([
      ["A", ["B"]],
      ["B", ["A"]],
      ["INBOX", ["INBOX"]],
    ]);
    expect((await pathsOn(5)).filter((path) => /^[AB]/.test(path))).toEqual(["A", "Archive", "B"]);
  });

  it("S57: a device that renames it meanwhile is followed, and what lost is told", { timeout: 180_000 }, async () => {
    const accountId = await account(6, "INBOX", "Proj");
    const id = await idOf(accountId, "Proj");
    await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
    await write(accountId, "PATCH", `/${id}`, { name: "Alpha" });
    await using device = await server.device(6);
    await device.rename({ from: "Proj", to: "Beta" });
    await daemon.call("POST", `/v1/accounts/${accountId}/resume`);
    await settled(accountId);
    expect(await idOf(accountId, "Beta")).toBe(id);
    expect((await pathsOn(6)).filter((path) => /^(?:Alpha|Beta|Proj)/.test(path))).toEqual(["Beta"]);
    const conflict = (await changesOf(daemon, accountId)).find(({ kind }) => kind === "conflict.resolved");
    expect(conflict).toMatchObject({ rule: "D4", evidence: [{ loser: { name: "Alpha" }, source: "api", deviceId: "A1" }] });
    expect(await writesOf(accountId)).toEqual([]);
  });

  it("D5: a name that a device took meanwhile is numbered", { timeout: 180_000 }, async () => {
    const accountId = await account(7, "INBOX", "Proj");
    const id = await idOf(accountId, "Proj");
    await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
    await write(accountId, "PATCH", `/${id}`, { name: "Tax" });
    await using device = await server.device(7);
    await device.create("Tax");
    await daemon.call("POST", `/v1/accounts/${accountId}/resume`);
    await settled(accountId);
    expect(await idOf(accountId, "Tax (2)")).toBe(id);
    expect((await pathsOn(7)).filter((path) => /^(?:Tax|Proj)/.test(path))).toEqual(["Tax", "Tax (2)"]);
    expect((await changesOf(daemon, accountId)).find(({ kind }) => kind === "conflict.resolved")).toMatchObject({ rule: "D5" });
  });

  it("S62 S66: never lies in itself, and INBOX stays", { timeout: 180_000 }, async () => {
    const accountId = await account(8, "INBOX", "X", "Y");
    const [x, y, inbox] = [await idOf(accountId, "X"), await idOf(accountId, "Y"), await idOf(accountId, "INBOX")];
    const { state } = (await write(accountId, "PATCH", `/${x}`, { parentId: y })).body;
    const circle = await write(accountId, "PATCH", `/${y}`, { parentId: x }, { "if-match": `"${state}"` });
    expect([circle.status, circle.body.code]).toEqual([409, "mailbox_cycle"]);
    for (const [method, body] of [
      ["PATCH", { name: "Post" }],
      ["PATCH", { parentId: x }],
      ["DELETE", undefined],
    ] as const) {
      const refused = await write(accountId, method, `/${inbox}`, body);
      expect([refused.status, refused.body.code]).toEqual([409, "inbox_fixed"]);
    }
    await settled(accountId);
    expect(await pathsOn(8)).toEqual(expect.arrayContaining(["INBOX", "Y/X"]));
  });
});

describe("a mailbox removed over the API", () => {
  const gone = (accountId: string, id: string) =>
    eventually("it is gone", async () => ![...(await mailboxesOf(daemon, accountId)).values()].some((box) => box.id === id), {
      timeoutMs: 30_000,
    });

  it("D8: goes when it is empty, and nothing in it is lost", { timeout: 180_000 }, async () => {
    const accountId = await account(9, "INBOX", "Old", "Old/Sub");
    const [old, sub] = [await idOf(accountId, "Old"), await idOf(accountId, "Old/Sub")];
    expect((await write(accountId, "DELETE", `/${old}`)).body.code).toBe("mailbox_has_children");
    const refused = await write(accountId, "DELETE", `/${sub}`);
    expect([refused.status, refused.body.code]).toEqual([409, "mailbox_not_empty"]);
    await using device = await server.device(9);
    await device.select("Old/Sub");
    await device.move("1:*", "Archive");
    await eventually("it is empty", async () => (await messagesOf(daemon, accountId)).get("Old/Sub")?.in[0] === "Archive", {
      timeoutMs: 20_000,
    });
    const removed = await write(accountId, "DELETE", `/${sub}`);
    expect([removed.status, removed.body]).toMatchObject([200, { status: "pending", reason: "awaits_upstream" }]);
    await gone(accountId, sub);
    expect(await pathsOn(9)).not.toContain("Old/Sub");
    const story = await daemon.call<{ items: { kind: string; reason: string; cause: object }[] }>(
      "GET",
      `/v1/accounts/${accountId}/mailboxes/${sub}/explain`,
    );
    expect(story.body.items.map(({ kind, reason }) => [kind, reason])).toContainEqual(["mailbox.removed", "api_removed"]);
    expect(story.body.items.find(({ kind }) => kind === "mailbox.removed")?.cause).toMatchObject({
      source: "api",
      deviceId: "A1",
    });
  });

  it("D8: has its mail moved first where that is asked for", { timeout: 180_000 }, async () => {
    const accountId = await account(13, "INBOX", "Old");
    const [old, archive] = [await idOf(accountId, "Old"), await idOf(accountId, "Archive")];
    const id = (await messagesOf(daemon, accountId)).get("Old")?.id;
    const removed = await write(accountId, "DELETE", `/${old}?moveMessagesTo=${archive}`);
    expect([removed.status, removed.body.status]).toEqual([200, "pending"]);
    expect((await messagesOf(daemon, accountId)).get("Old")).toMatchObject({ id, in: ["Archive"] });
    await gone(accountId, old);
    expect(await pathsOn(13)).not.toContain("Old");
    await using device = await server.device(13);
    await device.select("Archive");
    expect(await device.uids()).toHaveLength(1);
    expect((await messagesOf(daemon, accountId)).get("Old")).toMatchObject({ id, in: ["Archive"] });
    expect((await changesOf(daemon, accountId)).filter(({ kind }) => kind === "message.created")).toHaveLength(2);
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
  });

  it("D8: has its mail moved however much there is, as many at a time as fit", { timeout: 360_000 }, async () => {
    const many = 510;
    const user = server.account(15).user;
    await server.deliver({ user, mailbox: "Old", messages: Array.from({ length: many }, (_, at) => mail(`${at}`)) });
    const accountId = await liveAccount(daemon, dovecotAccount(server, 15));
    const [old, archive] = [await idOf(accountId, "Old"), await idOf(accountId, "Archive")];
    expect((await write(accountId, "DELETE", `/${old}?moveMessagesTo=${archive}`)).body.status).toBe("pending");
    const moved = (await changesOf(daemon, accountId, 500)).filter(({ kind }) => kind === "message.moved");
    expect(new Set(moved.map(({ messageId }) => messageId)).size).toBe(many);
    await gone(accountId, old);
    await using device = await server.device(15);
    await device.select("Archive");
    expect(await device.uids()).toHaveLength(many);
  });

  it("D7: what a device puts into it meanwhile goes where the rest went", { timeout: 180_000 }, async () => {
    const accountId = await account(14, "INBOX", "Old");
    const [old, archive] = [await idOf(accountId, "Old"), await idOf(accountId, "Archive")];
    await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
    expect((await write(accountId, "DELETE", `/${old}?moveMessagesTo=${archive}`)).body.status).toBe("pending");
    await using device = await server.device(14);
    await device.select("INBOX");
    await device.move("1:*", "Old");
    await daemon.call("POST", `/v1/accounts/${accountId}/resume`);
    await gone(accountId, old);
    expect(await pathsOn(14)).not.toContain("Old");
    const mails = await messagesOf(daemon, accountId);
    expect([mails.get("INBOX")?.in, mails.get("Old")?.in]).toEqual([["Archive"], ["Archive"]]);
    const log = await changesOf(daemon, accountId);
    const told = log.flatMap(({ kind, reason, rule }) => (reason === "mailbox_removed" ? [`${kind} ${rule}`] : []));
    expect(told).toEqual(["message.moved D8", "message.moved D8"]);
    expect(log.filter(({ kind }) => kind === "message.created")).toHaveLength(2);
    await settled(accountId);
    await device.select("Archive");
    expect(await device.uids()).toHaveLength(2);
  });

  it("S61: stays when a device put mail into it meanwhile", { timeout: 180_000 }, async () => {
    const accountId = await account(10, "INBOX");
    await using device = await server.device(10);
    await device.create("Proj");
    await eventually("it is known", async () => (await mailboxesOf(daemon, accountId)).has("Proj"), { timeoutMs: 20_000 });
    const id = await idOf(accountId, "Proj");
    await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
    expect((await write(accountId, "DELETE", `/${id}`)).body.status).toBe("pending");
    await device.select("INBOX");
    await device.move("1:*", "Proj");
    await daemon.call("POST", `/v1/accounts/${accountId}/resume`);
    await settled(accountId);
    expect(await idOf(accountId, "Proj")).toBe(id);
    expect((await messagesOf(daemon, accountId)).get("INBOX")?.in).toEqual(["Proj"]);
    expect(await writesOf(accountId)).toMatchObject([{ kind: "write.failed", reason: "mailbox_not_empty", rule: "D7" }]);
    expect(await pathsOn(10)).toContain("Proj");
  });

  it("another one may have its name at once", { timeout: 180_000 }, async () => {
    const accountId = await account(11, "INBOX");
    const made = (await write(accountId, "POST", "", { name: "Twice" })).body;
    await settled(accountId);
    const refused = await write(accountId, "DELETE", `/${made.id}`, undefined, { "if-match": '"0.0"' });
    expect([refused.status, refused.body.code]).toEqual([409, "state_mismatch"]);
    await write(accountId, "DELETE", `/${made.id}`);
    await gone(accountId, made.id);
    const again = (await write(accountId, "POST", "", { name: "Twice" })).body;
    await settled(accountId);
    expect(again.id).not.toBe(made.id);
    expect(await pathsOn(11)).toContain("Twice");
  });
});

describe("a role given over the API", () => {
  it("D10: stands before what the server says", { timeout: 180_000 }, async () => {
    const accountId = await account(12, "INBOX", "Deleted Items");
    const id = await idOf(accountId, "Deleted Items");
    await write(accountId, "PATCH", `/${id}`, { role: "trash" });
    const roles = async () =>
      [...(await mailboxesOf(daemon, accountId))].flatMap(([path, { role }]) => (role === "trash" ? [path] : []));
    expect(await roles()).toEqual(["Deleted Items"]);
    await using device = await server.device(12);
    await device.create("New");
    await eventually("the tree was read again", async () => (await mailboxesOf(daemon, accountId)).has("New"), {
      timeoutMs: 20_000,
    });
    expect(await roles()).toEqual(["Deleted Items"]);
    await write(accountId, "PATCH", `/${id}`, { role: null });
    await device.create("Newer");
    await eventually("the server's is used again", async () => (await roles())[0] === "Trash", { timeoutMs: 20_000 });
  });
});
