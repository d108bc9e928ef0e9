import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { formatId, type MailboxId } from "../../src/model/ids.ts";
import { openTestApi, type TestApi } from "../support/api.ts";
import { type Mail, placesOf, shown, WrittenMail } from "../support/written-mail.ts";

let api: TestApi;
let box: WrittenMail;
let inbox: MailboxId;
let work: MailboxId;

beforeAll(async () => {
  api = await openTestApi();
});
afterAll(() => api.close());

beforeEach(async () => {
  box = await WrittenMail.account(api);
  inbox = await box.rows.mailbox("INBOX", { role: "inbox" });
  work = await box.rows.mailbox("Work");
  await box.rows.mailbox("Other");
  await box.rows.mailbox("Trash", { role: "trash" });
  await box.rows.mailbox("Junk", { role: "junk" });
});

describe("a batch", () => {
  const op = (name: string, { id }: Pick<Mail, "id">, rest: object = {}): object => ({
    op: name,
    messageId: formatId("msg", id),
    ...rest,
  });

  test("is done in order, each with its own result; a rejection stops nothing (Q2)", async () => {
    const [a, b] = [await box.mail(inbox), await box.mail(inbox)];
    const base = await box.state();
    const reply = await box.batch(
      [
        op("patch", a, { keywords: { $seen: true }, mailboxIds: { [shown(inbox)]: null, [shown(work)]: true } }),
        op("patch", b, { keywords: { $recent: true } }),
        op("delete", a),
        op("restore", a),
        op("purge", b),
        op("delete", { id: a.id.replace(/.{12}$/, "000000000000") as Mail["id"] }),
      ],
      { base, opId: "batch-1" },
    );
    expect(reply.body.results.map(({ status, reason }: Record<string, string>) => `${status} ${reason}`)).toEqual([
      "applied updated",
      "rejected keyword_read_only",
      "applied updated",
      "applied updated",
      "applied purged",
      "rejected not_found",
    ]);
    expect(reply.body.results[0].messageId).toBe(formatId("msg", a.id));
    expect((await api.request(box.pathOf(a))).body).toMatchObject({
      keywords: { $seen: true },
      mailboxIds: { [shown(work)]: true },
    });
    expect(reply.headers.get("etag")).toBe(`"${reply.body.state}"`);
    await api.db.query({ text: `delete from idempotency_keys` });
  });

  test("S123 200 operations of a device that was offline, in one request", async () => {
    const mails = await Promise.all(Array.from({ length: 100 }, () => box.mail(inbox)));
    const base = await box.state();
    for (const mail of mails.slice(0, 10)) await box.flag(mail, { $seen: true }, { device: "A2" });
    const ops = mails.flatMap((mail) => [
      op("patch", mail, { keywords: { $seen: true } }),
      op("patch", mail, { keywords: { $seen: null } }),
    ]);
    const reply = await box.batch(ops, { base });
    expect(reply.body.results.map(({ status }: { status: string }) => status)).toEqual(ops.map(() => "applied"));
    const { body } = await api.request(`${box.account}/messages?keyword=$seen`);
    expect(body.items).toEqual([]);
  });

  test("that throws away more than 50 needs a base, and leaves what has changed since (Q3)", async () => {
    const mails = await Promise.all(Array.from({ length: 51 }, () => box.mail(inbox)));
    const base = await box.state();
    const ops = mails.map((mail) => op("delete", mail));
    const without = await box.batch(ops);
    expect(new Set(without.body.results.map(({ reason }: { reason: string }) => reason))).toEqual(new Set(["state_mismatch"]));
    await box.flag(mails[0] as Mail, { $flagged: true }, { device: "A2" });
    const reply = await box.batch(ops, { base });
    expect(reply.body.results.map(({ status }: { status: string }) => status)).toEqual([
      "rejected",
      ...Array(50).fill("applied"),
    ]);
    expect((await box.batch(ops.slice(0, 50))).body.results[0]).toMatchObject({ status: "applied", reason: "updated" });
  });

  test("names what is wrong with it", async () => {
    const mail = await box.mail(inbox);
    for (const [ops, pointer] of [
      [[op("archive", mail)], "/ops/0/op"],
      [[op("delete", mail), { op: "delete", messageId: "msg_1" }], "/ops/1/messageId"],
      [[op("delete", mail, { keywords: {} })], "/ops/0/keywords"],
      [[], "/ops"],
    ] as const)
      expect((await box.batch(ops)).body).toMatchObject({ code: "invalid_request", errors: [{ pointer }] });
  });
});

describe("undo", () => {
  const last = async (since: string): Promise<number> => (await box.changesSince(since)).at(-1).seq;

  test("of keywords, of a move, of a removal and of a copy", async () => {
    const mail = await box.mail(inbox, "$seen");
    let before = await box.state();
    await box.flag(mail, { $seen: null, $flagged: true });
    expect((await box.undo(await last(before))).body).toMatchObject({
      status: "applied",
      message: { keywords: { $seen: true } },
    });
    before = await box.state();
    await box.trash(mail);
    expect(placesOf(await box.undo(await last(before)))).toEqual([[shown(inbox), "live"]]);
    before = await box.state();
    await box.move(mail, [[work, true]]);
    const copied = await last(before);
    expect(placesOf(await box.undo(copied))).toEqual([
      [shown(inbox), "live"],
      [shown(work), "removed"],
    ]);
    expect(placesOf(await box.undo(await last(before)))).toEqual([
      [shown(inbox), "live"],
      [shown(work), "live"],
    ]);
  });

  test("of a move by another client takes back the keywords that came with it", async () => {
    const mail = await box.mail(work, "$flagged", "cust", "later");
    const before = { mailboxId: inbox, keywords: [] };
    const after = { mailboxId: work, keywords: ["$flagged", "cust"] };
    const moved = { messageId: mail.id, placementId: mail.placement, mailboxId: work };
    const state = await box.rows.change({ kind: "message.moved", reason: "upstream_move", ...moved, before, after });
    const back = await box.undo(Number(state.split(".")[1]));
    expect(back.body).toMatchObject({ status: "applied", reason: "updated", message: { keywords: { later: true } } });
    expect(back.body.message.keywords).toEqual({ later: true });
    expect(placesOf(back)).toEqual([[shown(inbox), "live"]]);
  });

  test("of a copy that another client made takes it away again", async () => {
    const { id, placements } = await box.rows.message({
      placements: [
        { mailboxId: inbox, uid: 900 },
        { mailboxId: work, uid: 901 },
      ],
    });
    const copy = { messageId: id, mailboxId: work, placementId: placements[1] as Mail["placement"] };
    const state = await box.rows.change({ kind: "message.created", reason: "copied", ...copy, after: { mailboxId: work } });
    expect(placesOf(await box.undo(Number(state.split(".")[1])))).toEqual([
      [shown(inbox), "live"],
      [shown(work), "removed"],
    ]);
  });

  test("of nested mailboxes' removal makes them again, and what was in them goes back there (Q6)", async () => {
    const make = async (name: string, parentId: string | null): Promise<string> =>
      (await box.send("POST", `${box.account}/mailboxes`, { name, parentId })).body.id;
    const made = await make("Ext", null);
    const child = await make("Kid", made);
    const mail = await box.mail(inbox);
    const put = async (places: Record<string, true | null>): Promise<number> => {
      const before = await box.state();
      await box.send("PATCH", box.pathOf(mail), { mailboxIds: places });
      return last(before);
    };
    await put({ [shown(inbox)]: null, [child]: true });
    const taken = await put({ [shown(work)]: true });
    const moved = await put({ [child]: null });
    const drop = async (id: string): Promise<number> => {
      const before = await box.state();
      expect((await box.send("DELETE", `${box.account}/mailboxes/${id}`, undefined)).status).toBeLessThan(300);
      return last(before);
    };
    const [kidGone, extGone] = [await drop(child), await drop(made)];
    expect((await box.undo(kidGone)).body).toMatchObject({
      status: 409,
      code: "conflict",
      detail: expect.stringContaining("first"),
    });
    const ext = (await box.undo(extGone)).body.mailbox;
    expect(ext).toMatchObject({ path: "Ext" });
    const kid = (await box.undo(kidGone)).body.mailbox;
    expect(kid).toMatchObject({ name: "Kid", parentId: ext.id });
    expect(taken).toBeLessThan(moved);
    const back = await box.undo(moved);
    expect(back.body.message.mailboxIds).toEqual({ [shown(work)]: true, [kid.id]: true });
    expect(back.body.warnings).toBeUndefined();
    await put({ [kid.id]: null });
    const again = await last("0.0");
    await drop(kid.id);
    expect((await box.undo(again)).body).toMatchObject({ status: "applied", warnings: ["mailbox_gone"] });
  });

  test("never rewinds: what came later stays (Q6)", async () => {
    const mail = await box.mail(inbox);
    const before = await box.state();
    await box.flag(mail, { $flagged: true });
    const seq = await last(before);
    await box.flag(mail, { $seen: true });
    expect((await box.undo(seq)).body).toMatchObject({ message: { keywords: { $seen: true } } });
    expect(await box.changesSince(before)).toHaveLength(3);
  });

  test("of a lost keyword gives the loser what it wanted", async () => {
    const mail = await box.mail(inbox, "$flagged");
    const base = await box.state();
    // It changes nothing, and is an opinion all the same (F2).
    await box.flag(mail, { $flagged: true }, { base });
    const reply = await box.flag(mail, { $flagged: null }, { device: "A2", base });
    expect(reply.body).toMatchObject({ status: "superseded", message: { keywords: { $flagged: true } } });
    expect((await box.undo(await last(base))).body.message.keywords).toEqual({});
  });

  test("of what has no way back is a conflict, of what never was is not found", async () => {
    const mail = await box.mail(inbox);
    await box.purge(mail, { base: await box.state() });
    expect((await box.undo(Number((await box.state()).split(".")[1]))).body).toMatchObject({ status: 409, code: "conflict" });
    for (const seq of [0, 99_999]) expect((await box.undo(seq)).status).toBe(404);
  });
});
