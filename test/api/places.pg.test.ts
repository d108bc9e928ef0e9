import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { formatId, type MailboxId } from "../../src/model/ids.ts";
import { openTestApi, type TestApi } from "../support/api.ts";
import { kinds, live, placesOf, shown, WrittenMail } from "../support/written-mail.ts";

let api: TestApi;
let box: WrittenMail;
let inbox: MailboxId;
let work: MailboxId;
let trash: MailboxId;

beforeAll(async () => {
  api = await openTestApi();
});
afterAll(() => api.close());

beforeEach(async () => {
  box = await WrittenMail.account(api);
  inbox = await box.rows.mailbox("INBOX", { role: "inbox" });
  work = await box.rows.mailbox("Work");
  await box.rows.mailbox("Other");
  trash = await box.rows.mailbox("Trash", { role: "trash" });
  await box.rows.mailbox("Junk", { role: "junk" });
});

describe("mailboxes of a message", () => {
  test("one taken away for one given is a move: the same placement", async () => {
    const mail = await box.mail(inbox, "$seen");
    const before = await box.state();
    const reply = await box.move(mail, [
      [inbox, null],
      [work, true],
    ]);
    expect(reply.body).toMatchObject({ status: "applied", reason: "updated", message: { mailboxIds: { [shown(work)]: true } } });
    expect(reply.body.message.placements).toMatchObject([
      { id: formatId("plc", mail.placement), sync: "pending", keywords: { $seen: true } },
    ]);
    expect(await box.changesSince(before)).toMatchObject([
      {
        kind: "message.moved",
        mailboxId: shown(work),
        before: { mailboxId: shown(inbox) },
        after: { mailboxId: shown(work) },
        cause: { source: "api", deviceId: "A1" },
        reason: "api_move",
        rule: "P1",
      },
    ]);
  });

  test("one given is a copy with the keywords, one taken away of several is a removal that can be undone", async () => {
    const mail = await box.mail(inbox, "$seen");
    const copied = await box.send("PATCH", box.pathOf(mail), {
      mailboxIds: { [shown(work)]: true },
      keywords: { $flagged: true },
    });
    expect(live(copied)).toEqual([
      { mailboxId: shown(inbox), state: "live", keywords: { $seen: true, $flagged: true } },
      { mailboxId: shown(work), state: "live", keywords: { $seen: true, $flagged: true } },
    ]);
    const reply = await box.move(mail, [[inbox, null]]);
    expect(placesOf(reply)).toEqual([
      [shown(inbox), "removed"],
      [shown(work), "live"],
    ]);
    expect(reply.body.message.placements[0].recoverableUntil).not.toBeNull();
    expect((await box.move(mail, [[work, null]])).body).toMatchObject({ status: "rejected", reason: "no_mailbox_left" });
  });

  test("that do not exist are rejected, and the rest of the patch with them", async () => {
    const mail = await box.mail(inbox);
    const foreign = await (await WrittenMail.account(api)).rows.mailbox("Foreign");
    const reply = await box.send("PATCH", box.pathOf(mail), {
      mailboxIds: { [shown(foreign)]: true },
      keywords: { $seen: true },
    });
    expect(reply.body).toMatchObject({ status: "rejected", reason: "mailbox_not_found", message: { keywords: {} } });
    expect((await box.send("PATCH", box.pathOf(mail), { mailboxIds: { mbx_1: true } })).body).toMatchObject({
      code: "invalid_request",
      errors: [{ pointer: "/mailboxIds/mbx_1" }],
    });
  });

  test("that it is in already change nothing", async () => {
    const mail = await box.mail(inbox);
    expect(
      (
        await box.move(mail, [
          [inbox, true],
          [work, null],
        ])
      ).body,
    ).toMatchObject({ status: "applied", reason: "unchanged" });
  });
});

describe("a message thrown away", () => {
  test("goes to Trash, and comes back to where it was", async () => {
    const mail = await box.mail(work, "$flagged");
    expect(placesOf(await box.trash(mail))).toEqual([[shown(trash), "live"]]);
    expect((await box.trash(mail)).body).toMatchObject({ status: "applied", reason: "unchanged" });
    const back = await box.restore(mail);
    expect(back.body).toMatchObject({ status: "applied", reason: "updated", message: { keywords: { $flagged: true } } });
    expect(placesOf(back)).toEqual([[shown(work), "live"]]);
    expect((await box.restore(mail)).body).toMatchObject({ status: "applied", reason: "unchanged" });
  });

  test("makes a Trash where there is none", async () => {
    const bare = await WrittenMail.account(api);
    const mail = await bare.mail(await bare.rows.mailbox("INBOX", { role: "inbox" }));
    const before = await bare.state();
    const reply = await bare.trash(mail);
    const mailboxes = (await api.request(`${bare.account}/mailboxes`)).body.items;
    const made = mailboxes.find(({ role }: { role: string | null }) => role === "trash");
    expect(made).toMatchObject({ name: "Trash", parentId: null, totalMessages: 1 });
    expect(placesOf(reply)).toEqual([[made.id, "live"]]);
    expect(kinds(await bare.changesSince(before))).toEqual(["mailbox.created(trash_needed,D10)", "message.moved(api_trash,P1)"]);
  });

  test("takes all its placements along (Q5)", async () => {
    const { id } = await box.rows.message({ placements: [{ mailboxId: inbox }, { mailboxId: work }] });
    expect(placesOf(await box.trash({ id }))).toEqual([
      [shown(trash), "live"],
      [shown(trash), "live"],
    ]);
  });
});

describe("a purge", () => {
  test("needs a state since which nothing became of the message (S85)", async () => {
    const mail = await box.mail(inbox);
    const old = await box.state();
    expect((await box.purge(mail)).body).toMatchObject({ status: 409, code: "state_mismatch" });
    await box.move(
      mail,
      [
        [inbox, null],
        [work, true],
      ],
      { device: "A2" },
    );
    expect((await box.purge(mail, { base: old })).body).toMatchObject({ status: 409, code: "state_mismatch" });
    expect((await api.request(box.pathOf(mail))).status).toBe(200);
    const { rows } = await api.db.query({
      text: `select status, reason from intents where account_id = $1 and kind = 'purge'`,
      values: [box.rows.accountId],
    });
    expect(rows).toEqual([
      { status: "rejected", reason: "state_mismatch" },
      { status: "rejected", reason: "state_mismatch" },
    ]);
  });

  test("takes the octets, and leaves the story", async () => {
    const mail = await box.mail(inbox);
    const base = await box.state();
    expect((await box.purge(mail, { base })).body).toMatchObject({ status: "applied", reason: "purged", message: null });
    expect((await api.request(box.pathOf(mail))).status).toBe(404);
    const { rows } = await api.db.query({
      text: `select (select count(*) from blobs where account_id = $1) as blobs, subject, sha256, durability from messages where account_id = $1`,
      values: [box.rows.accountId],
    });
    expect(rows).toEqual([{ blobs: 0n, subject: null, sha256: null, durability: "purged" }]);
    expect(kinds((await api.request(`${box.pathOf(mail)}/explain`)).body.items)).toEqual(["message.purged(api_purge,P10)"]);
    expect((await box.restore(mail)).status).toBe(404);
  });

  test("waits while something is held back in its mailbox", async () => {
    const mail = await box.mail(inbox);
    await api.db.query({
      text: `insert into holds (account_id, id, tenant_id, mailbox_id, reason, count) values ($1, gen_random_uuid(), $2, $3, 'epoch', 1)`,
      values: [box.rows.accountId, box.rows.tenantId, inbox],
    });
    expect((await box.purge(mail, { base: await box.state() })).body).toMatchObject({
      status: "rejected",
      reason: "mailbox_held",
    });
    expect((await api.request(box.pathOf(mail))).body.placements).toMatchObject([{ sync: "held" }]);
  });
});

describe("what is held", () => {
  const bareId = /[0-9a-f]{8}-[0-9a-f]{4}-/;

  test("is told where it is asked for, with its way out", async () => {
    const [mail, elsewhere] = [await box.mail(inbox), await box.mail(work)];
    const { rows } = await api.db.query<{ id: string }>({
      text: `insert into holds (account_id, id, tenant_id, mailbox_id, reason, count) values ($1, gen_random_uuid(), $2, $3, 'mass_vanish', 1) returning id`,
      values: [box.rows.accountId, box.rows.tenantId, inbox],
    });
    const id = formatId("hld", rows[0]?.id ?? "");
    const holdsOf = async (path: string) => (await api.request(`${path}/explain`)).body.holds;
    const mailboxPath = (mailboxId: MailboxId) => `${box.account}/mailboxes/${shown(mailboxId)}`;
    for (const path of [box.pathOf(mail), mailboxPath(inbox)]) {
      const [hold] = await holdsOf(path);
      expect(hold).toMatchObject({ id, reason: "mass_vanish", mailboxId: shown(inbox), text: expect.stringContaining("held") });
      expect(hold.otherwise).toContain(`${id}/approve`);
      expect(hold.otherwise).toContain(`${id}/reject`);
    }
    for (const path of [box.pathOf(elsewhere), mailboxPath(work)]) expect(await holdsOf(path)).toEqual([]);
    expect((await box.send("POST", `${box.account}/holds/${id}/reject`, undefined)).status).toBe(202);
    expect(await holdsOf(box.pathOf(mail))).toMatchObject([{ decision: "rejected", otherwise: null }]);
  });

  test("and what gave way is told with the ids of the API", async () => {
    const mail = await box.mail(inbox);
    const base = await box.state();
    await box.move(mail, [
      [inbox, null],
      [work, true],
    ]);
    await box.move(
      mail,
      [
        [inbox, null],
        [trash, true],
      ],
      { device: "A2", base },
    );
    const { items } = (await api.request(`${box.pathOf(mail)}/explain`)).body;
    const told = items.find(({ kind }: { kind: string }) => kind === "conflict.resolved");
    expect(told.text).toContain(`What gave way: its place in ${shown(trash)}, by device A2.`);
    expect(JSON.stringify(items)).not.toMatch(bareId);
  });
});

describe("what was removed", () => {
  test("comes back to its mailbox or the one that is named (S86)", async () => {
    const first = await box.mail(work);
    await box.observeRemoval(first, "user_expunge");
    expect(placesOf(await box.restore(first))).toEqual([[shown(work), "live"]]);
    const second = await box.mail(work);
    await box.observeRemoval(second, "user_expunge");
    expect(placesOf(await box.restore(second, inbox))).toEqual([[shown(inbox), "live"]]);
  });

  test("is kept out of INBOX where a POP3 device took it, unless INBOX is named, and then with a warning (P11, V18)", async () => {
    await api.db.query({
      text: `update accounts set policy = policy || '{"pop3Devices":"declared"}' where id = $1`,
      values: [box.rows.accountId],
    });
    const archive = await box.rows.mailbox("Archive", { role: "archive" });
    const mail = await box.mail(inbox);
    await box.observeRemoval(mail, "pop3_drain");
    expect(placesOf(await box.restore(mail))).toEqual([[shown(archive), "live"]]);
    const again = await box.mail(inbox);
    await box.observeRemoval(again, "pop3_drain");
    expect((await box.restore(again, inbox)).body).toMatchObject({ status: "applied", warnings: ["pop3_visible"] });
  });

  test("cannot come back when its time is over", async () => {
    const mail = await box.mail(work);
    await box.observeRemoval(mail, "user_expunge");
    await api.db.query({ text: `update placements set recoverable_until = now() where id = $1`, values: [mail.placement] });
    expect((await box.restore(mail)).body).toMatchObject({ status: "rejected", reason: "not_recoverable" });
  });
});
