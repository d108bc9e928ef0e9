/** What happened to mailboxes, and what was decided about mail that is gone, taken back by an ordinary write (Q6). */
import { expect, it } from "vitest";
import { changesOf, mailboxesOf, messagesOf, type SeenChange } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount } from "../support/daemon.ts";
import type { Dovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { useGround } from "../support/ground.ts";
import { itemsIn } from "../support/api-writes.ts";
import { drain, mailOf, pop3Account } from "../support/pop3-account.ts";

let server: Dovecot;
let daemon: Daemon;

useGround({ users: 3 }, (ground) => {
  ({ server, daemon } = ground);
});

const patience = { timeoutMs: 60_000 };

/** The last change of a kind, once there is one. */
const lastOf = (accountId: string, kind: string): Promise<SeenChange> =>
  eventually(kind, async () => (await changesOf(daemon, accountId)).findLast((change) => change.kind === kind), patience);

const undo = (accountId: string, { seq }: SeenChange) =>
  daemon.call<{ status: string; code: string; mailbox: { path: string } | null }>(
    "POST",
    `/v1/accounts/${accountId}/changes/${seq}/undo`,
  );

const pathsOn = async (n: number): Promise<readonly string[]> => {
  await using device = await server.device(n);
  const { untagged } = await device.command('LIST "" "*"');
  return untagged.flatMap(({ line }) => /" "?([^"]*)"?$/.exec(line)?.[1] ?? []).toSorted();
};

it("a mailbox has its name again, is gone again, or is there again", { timeout: 360_000 }, async () => {
  await using device = await server.device(1);
  await device.create("Proj");
  await device.append("Proj", Buffer.from("Subject: p\r\n\r\np\r\n"));
  const accountId = await liveAccount(daemon, dovecotAccount(server, 1));
  const { id } = (await mailboxesOf(daemon, accountId)).get("Proj") ?? {};
  await device.rename({ from: "Proj", to: "Other" });
  const renamed = await undo(accountId, await lastOf(accountId, "mailbox.renamed"));
  expect(renamed).toMatchObject({ status: 200, body: { status: "applied", message: null, mailbox: { path: "Proj" } } });
  await eventually("the server has the name", async () => (await pathsOn(1)).includes("Proj"), patience);
  expect((await mailboxesOf(daemon, accountId)).get("Proj")?.id).toBe(id);
  expect((await messagesOf(daemon, accountId)).get("p")?.in).toEqual(["Proj"]);
  const made = await daemon.call("POST", `/v1/accounts/${accountId}/mailboxes`, { name: "New" });
  expect(made.status).toBe(201);
  // At once where the server has not heard of it yet, else when it is gone there.
  const { body: gone } = await undo(accountId, await lastOf(accountId, "mailbox.created"));
  expect(["applied", "pending"]).toContain(gone.status);
  await eventually("it is gone", async () => !(await mailboxesOf(daemon, accountId)).has("New"), patience);
  const back = await undo(accountId, await lastOf(accountId, "mailbox.removed"));
  expect(back.body).toMatchObject({ status: "applied", mailbox: { path: "New" } });
  await eventually("the server has it", async () => (await pathsOn(1)).includes("New"), patience);
  // What holds mail is not removed for it.
  const created = (await changesOf(daemon, accountId)).find(
    ({ kind, mailboxId }) => kind === "mailbox.created" && mailboxId === id,
  );
  expect(created === undefined ? null : await undo(accountId, created)).toMatchObject({
    status: 409,
    body: { code: "mailbox_not_empty" },
  });
});

it("what was kept is removed, and can be had back", { timeout: 360_000 }, async () => {
  const messages = ["taken", "stays"].map((subject) => Buffer.from(`Subject: ${subject}\r\n\r\n${subject}\r\n`));
  await server.deliver({ user: server.account(2).user, mailbox: "INBOX", messages });
  const accountId = await liveAccount(daemon, pop3Account(server, 2, { policy: { onPop3Drain: "keep" } }));
  await drain(server, 2, 1);
  const answer = await undo(accountId, await lastOf(accountId, "message.kept"));
  expect(answer.body).toMatchObject({ status: "applied" });
  expect((await mailOf(daemon, accountId)).map(({ subject }) => subject)).toEqual(["stays"]);
  const removed = await lastOf(accountId, "message.removed");
  expect(removed).toMatchObject({ reason: "api_undo" });
  expect((await undo(accountId, removed)).body).toMatchObject({ status: "applied" });
  expect((await messagesOf(daemon, accountId)).get("taken")?.in).toEqual(["INBOX"]);
});

it(
  "what another client moved goes back without what came with it, and what it copied is there once",
  { timeout: 180_000 },
  async () => {
    await using device = await server.device(3);
    const raw = (subject: string) => ({ raw: Buffer.from(`Subject: ${subject}\r\n\r\n${subject}\r\n`), flags: ["Blue"] });
    await device.appendAll("INBOX", ["moved", "copied"].map(raw));
    const accountId = await liveAccount(daemon, dovecotAccount(server, 3));
    await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
    await device.select("INBOX");
    await device.store(1, "+", ["\\Flagged"]);
    await device.move(1, "Archive");
    await device.copy(2, "Archive");
    await daemon.call("POST", `/v1/accounts/${accountId}/resume`);
    const moved = await lastOf(accountId, "message.moved");
    const copied = await eventually(
      "the copy is seen",
      async () => (await changesOf(daemon, accountId)).find(({ reason }) => reason === "copied"),
      patience,
    );
    const { body } = await daemon.call<{ items: { seq: number; text: string }[] }>(
      "GET",
      `/v1/accounts/${accountId}/messages/${moved.messageId}/explain`,
    );
    expect(body.items.find(({ seq }) => seq === moved.seq)?.text).toBe(
      "Another client moved it on the mail server. (set: $flagged)",
    );
    expect((await undo(accountId, moved)).body.status).toBe("applied");
    expect((await undo(accountId, copied)).body.status).toBe("applied");
    await eventually(
      "the server follows",
      async () => {
        expect(await itemsIn(server, 3, "INBOX")).toEqual(["copied Blue", "moved Blue"]);
        expect(await itemsIn(server, 3, "Archive")).toEqual([]);
        return true;
      },
      patience,
    );
  },
);
