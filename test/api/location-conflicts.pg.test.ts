import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type MailboxId } from "../../src/model/ids.ts";
import { openTestApi, type Reply, type TestApi } from "../support/api.ts";
import { kinds, live, type Mail, placesOf, shown, WrittenMail } from "../support/written-mail.ts";

let api: TestApi;
let box: WrittenMail;
let inbox: MailboxId;
let work: MailboxId;
let other: MailboxId;
let trash: MailboxId;
let junk: MailboxId;

beforeAll(async () => {
  api = await openTestApi();
});
afterAll(() => api.close());

beforeEach(async () => {
  box = await WrittenMail.account(api);
  inbox = await box.rows.mailbox("INBOX", { role: "inbox" });
  work = await box.rows.mailbox("Work");
  other = await box.rows.mailbox("Other");
  trash = await box.rows.mailbox("Trash", { role: "trash" });
  junk = await box.rows.mailbox("Junk", { role: "junk" });
});

type Act = (mail: Mail, base: string) => Promise<Reply>;
const moveTo =
  (device: string, to: () => MailboxId): Act =>
  (mail, base) =>
    box.move(
      mail,
      [
        [inbox, null],
        [to(), true],
      ],
      { device, base },
    );
const trashBy =
  (device: string): Act =>
  (mail, base) =>
    box.trash(mail, { device, base });

describe("devices that did not know of each other", () => {
  test.each<[string, Act, Act, () => MailboxId, string]>([
    ["a move over a trash (P2)", moveTo("A1", () => work), trashBy("A2"), () => work, "P2"],
    ["a move over Junk (P2)", moveTo("A1", () => work), moveTo("A2", () => junk), () => work, "P2"],
    ["Junk over a trash (P2)", moveTo("A1", () => junk), trashBy("A2"), () => junk, "P2"],
  ])("%s, in both orders", async (_, winner, loser, to, rule) => {
    for (const [first, second] of [
      [winner, loser],
      [loser, winner],
    ] as const) {
      const mail = await box.mail(inbox);
      const base = await box.state();
      await first(mail, base);
      const reply = await second(mail, base);
      expect(placesOf(reply)).toEqual([[shown(to()), "live"]]);
      expect(reply.body.status).toBe(second === loser ? "superseded" : "applied");
      expect((await box.changesSince(base)).at(-1)).toMatchObject({
        kind: "conflict.resolved",
        rule,
        reason: "concurrent_location",
      });
    }
  });

  test("two moves: the later wins, and the loser can be had by undo (P5, P6)", async () => {
    const mail = await box.mail(inbox);
    const base = await box.state();
    await moveTo("A1", () => work)(mail, base);
    expect(placesOf(await moveTo("A2", () => other)(mail, base))).toEqual([[shown(other), "live"]]);
    const conflict = (await box.changesSince(base)).at(-1);
    expect(conflict).toMatchObject({
      kind: "conflict.resolved",
      rule: "P5",
      evidence: [
        { winner: { mailboxId: shown(other), source: "device A2" }, loser: { mailboxId: shown(work), source: "device A1" } },
      ],
    });
    expect(placesOf(await box.undo(conflict.seq))).toEqual([[shown(work), "live"]]);
  });

  test("the same device twice: its own order counts, and the same place twice is agreement", async () => {
    const mail = await box.mail(inbox);
    const base = await box.state();
    await moveTo("A1", () => work)(mail, base);
    expect((await trashBy("A1")(mail, base)).body).toMatchObject({ status: "applied", reason: "updated" });
    expect((await trashBy("A2")(mail, base)).body).toMatchObject({ status: "applied", reason: "unchanged" });
    expect(kinds(await box.changesSince(base))).toEqual(["message.moved(api_move,P1)", "message.moved(api_trash,P1)"]);
  });
});

describe("an API device that had not seen what happened upstream", () => {
  test("S69 a move, later than a move: the API wins, and the other is told (P4)", async () => {
    const mail = await box.mail(inbox);
    const base = await box.state();
    await box.observeMove(mail, work);
    expect(placesOf(await moveTo("A1", () => other)(mail, base))).toEqual([[shown(other), "live"]]);
    expect(kinds(await box.changesSince(base))).toEqual([
      "message.moved(upstream_move,null)",
      "message.moved(api_move,P4)",
      "conflict.resolved(concurrent_location,P4)",
    ]);
  });

  test("S73 a move of what was expunged: it is live where it was moved to (P2)", async () => {
    const mail = await box.mail(inbox, "$flagged");
    const base = await box.state();
    await box.observeRemoval(mail, "user_expunge");
    const reply = await moveTo("A1", () => work)(mail, base);
    expect(live(reply)).toEqual([{ mailboxId: shown(work), state: "live", keywords: { $flagged: true } }]);
    expect(kinds(await box.changesSince(base))).toEqual([
      "message.removed(user_expunge,null)",
      "message.restored(api_move,P2)",
      "conflict.resolved(concurrent_location,P2)",
    ]);
  });

  test("S74 a move of what a POP3 device took: the drain was no wish", async () => {
    const mail = await box.mail(inbox);
    const base = await box.state();
    await box.observeRemoval(mail, "pop3_drain");
    expect(placesOf(await moveTo("A1", () => work)(mail, base))).toEqual([[shown(work), "live"]]);
    expect(kinds(await box.changesSince(base))).toEqual(["message.removed(pop3_drain,null)", "message.restored(api_move,P1)"]);
  });

  test("S75 a trash of what was expunged: it lies in Trash, here only", async () => {
    const mail = await box.mail(inbox);
    const base = await box.state();
    await box.observeRemoval(mail, "user_expunge");
    expect(placesOf(await trashBy("A1")(mail, base))).toEqual([[shown(trash), "kept"]]);
  });

  test("S71 a star on what was thrown away meanwhile stays on it, and so on what was expunged (F8)", async () => {
    const trashed = await box.mail(inbox);
    const expunged = await box.mail(inbox);
    const base = await box.state();
    await box.trash(trashed, { device: "A2", base });
    await box.observeRemoval(expunged, "user_expunge");
    expect(live(await box.flag(trashed, { $flagged: true }, { base }))).toEqual([
      { mailboxId: shown(trash), state: "live", keywords: { $flagged: true } },
    ]);
    expect(live(await box.flag(expunged, { $flagged: true }, { base }))).toEqual([
      { mailboxId: shown(inbox), state: "removed", keywords: { $flagged: true } },
    ]);
  });

  test("kept mail that is moved becomes an item of the server again, and in Trash it does not (P8, P11)", async () => {
    const { id } = await box.rows.message({ placements: [{ mailboxId: inbox, kept: true }] });
    expect(placesOf(await box.trash({ id }))).toEqual([[shown(trash), "kept"]]);
    expect(placesOf(await box.restore({ id }))).toEqual([[shown(inbox), "live"]]);
  });
});
