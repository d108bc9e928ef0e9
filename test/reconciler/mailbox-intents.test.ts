import { describe, expect, it } from "vitest";
import type { EndpointId, MailboxId } from "../../src/model/ids.ts";
import type { MailboxOp } from "../../src/model/mailbox-intent.ts";
import type { SurveyedMailbox } from "../../src/model/survey.ts";
import { type MailboxIntentInput, reconcileMailboxIntent } from "../../src/reconciler/mailbox-intents.ts";
import { mergeField } from "../../src/reconciler/mailbox-names.ts";
import { nextMailboxStep } from "../../src/reconciler/mailbox-plan.ts";
import { reconcileSurvey } from "../../src/reconciler/mailboxes.ts";
import type { MailboxView, PendingMailbox } from "../../src/reconciler/state.ts";

const id = (text: string): MailboxId => text as MailboxId;

/** A mailbox at the root, called and placed like its id, which the server has. */
const view = (name: string, rest: Partial<MailboxView> & { readonly path?: string } = {}): MailboxView => {
  const { path = name, ...given } = rest;
  const upstream = { path, delimiter: "/", selectable: true, objectId: null, uidValidity: 7, uidNext: 1, absentSince: null };
  const canonical = { parentId: null, role: null, roleSource: null, subscribed: true, changedSeq: 10n, pending: null };
  return { id: id(name), name, ...canonical, upstream, ...given };
};

const intent = (op: MailboxOp, known: readonly MailboxView[], rest: Partial<MailboxIntentInput> = {}) => {
  const input = {
    op,
    deviceId: "A1",
    base: 50n,
    known,
    writable: true,
    contents: { live: 0, changedSeq: 0n },
    freshId: id("fresh"),
  };
  return reconcileMailboxIntent({ ...input, ...rest });
};

describe("an intent about mailboxes", () => {
  it("D5: who knew that a name is taken is told so, and who could not know gets the next one", () => {
    const op = { op: "mailbox.create", name: "Tax" } as const;
    expect(intent(op, [view("Tax")]).result.reason).toBe("mailbox_exists");
    const blind = intent(op, [view("Tax")], { base: 9n });
    expect(blind.mailboxes.map(({ name }) => name)).toEqual(["Tax (2)"]);
    expect(blind.changes.map(({ kind, rule }) => [kind, rule])).toContainEqual(["conflict.resolved", "D5"]);
  });

  it("D6: never puts a mailbox below itself, however deep (S62)", () => {
    const known = [view("X", { parentId: id("Y") }), view("Y", { parentId: id("Z") }), view("Z")];
    for (const parentId of [id("X"), id("Y"), id("Z")])
      expect(intent({ op: "mailbox.update", mailboxId: id("Z"), parentId }, known).result.reason).toBe("mailbox_cycle");
  });

  it("D12: leaves INBOX, whatever is asked of it (S66)", () => {
    const known = [view("INBOX", { role: "inbox", roleSource: "special_use" }), view("Work")];
    const about = { mailboxId: id("INBOX") };
    for (const op of [
      { op: "mailbox.update", ...about, name: "Post" },
      { op: "mailbox.update", ...about, parentId: id("Work") },
      { op: "mailbox.update", ...about, role: null },
      { op: "mailbox.remove", ...about, moveMessagesTo: id("Work") },
    ] as const)
      expect(intent(op, known).result.reason).toBe("inbox_fixed");
    expect(intent({ op: "mailbox.update", ...about, name: "INBOX" }, known).result.reason).toBe("unchanged");
  });

  it("D8 Q3: removes only what its sender knows, and only when it is empty", () => {
    const op = { op: "mailbox.remove", mailboxId: id("Work"), moveMessagesTo: null } as const;
    const known = [view("Work")];
    expect(intent(op, known, { base: 9n }).result.reason).toBe("state_mismatch");
    expect(intent(op, known, { contents: { live: 1, changedSeq: 51n } }).result.reason).toBe("state_mismatch");
    expect(intent(op, known, { contents: { live: 1, changedSeq: 20n } }).result.reason).toBe("mailbox_not_empty");
    expect(intent(op, [...known, view("Sub", { parentId: id("Work") })]).result.reason).toBe("mailbox_has_children");
    expect(intent(op, known)).toMatchObject({ result: { status: "pending" }, plans: [{ verb: "remove" }], changes: [] });
  });

  it("K2: what no server has is the account's own, and goes at once", () => {
    const known = [view("Work", { upstream: null })];
    const removed = intent({ op: "mailbox.remove", mailboxId: id("Work"), moveMessagesTo: null }, known, { writable: false });
    expect(removed).toMatchObject({ result: { status: "applied", reason: "removed" }, plans: [] });
    const named = intent({ op: "mailbox.create", name: "a/b" }, known, { writable: false });
    expect(named).toMatchObject({ result: { status: "applied" }, plans: [] });
    expect(intent({ op: "mailbox.create", name: "a/b" }, [view("Work")]).result.reason).toBe("name_has_delimiter");
  });

  it("D10: takes a role from the mailbox that has it", () => {
    const known = [view("Trash", { role: "trash", roleSource: "special_use" }), view("Bin")];
    const { mailboxes } = intent({ op: "mailbox.update", mailboxId: id("Bin"), role: "trash" }, known);
    expect(mailboxes.map((box) => [box.id, box.role, box.roleSource])).toEqual([
      ["Trash", null, null],
      ["Bin", "trash", "api"],
    ]);
  });
});

describe("what is said to the server", () => {
  const asked = (verb: PendingMailbox["verb"], rest: Partial<PendingMailbox> = {}): PendingMailbox => ({
    verb,
    at: 0,
    deviceId: "A1",
    fence: null,
    ...rest,
  });
  const step = (known: readonly MailboxView[], mailboxId: string, holds = 0, busy = false) => {
    const pending = known.find((one) => one.id === mailboxId)?.pending ?? asked("place");
    const command = {
      mailboxId: id(mailboxId),
      verb: pending.verb,
      status: "planned",
      attempts: 0,
      fence: pending.fence,
      args: {},
    } as const;
    return nextMailboxStep(command, { known, prefix: "", holds, busy });
  };

  it("is drawn from where it is and where it shall be, and is nothing when they are one", () => {
    expect(step([view("B", { path: "A", pending: asked("place") })], "B")).toMatchObject({
      kind: "rename",
      from: "A",
      path: "B",
    });
    expect(step([view("A", { pending: asked("place") })], "A")).toMatchObject({ kind: "end", status: "superseded" });
    expect(step([view("New", { upstream: null, pending: asked("place") })], "New")).toEqual({ kind: "create", path: "New" });
  });

  it("waits for a parent that is not there yet, and for the name to be free", () => {
    const parent = view("P", { upstream: null, pending: asked("place") });
    const child = view("C", { upstream: null, parentId: id("P"), pending: asked("place") });
    expect(step([parent, child], "C")).toMatchObject({ kind: "wait", outcome: "no_mailbox" });
    const doomed = view("Old", { path: "Tax", pending: asked("remove") });
    const heir = view("Tax", { upstream: null, pending: asked("place") });
    expect(step([doomed, heir], "Tax")).toMatchObject({ kind: "wait", outcome: "name_in_use" });
  });

  it("opens a circle of names at one place", () => {
    const known = [view("b", { path: "a", pending: asked("place") }), view("a", { path: "b", pending: asked("place") })];
    const steps = ["a", "b"].map((one) => step(known, one));
    expect(steps.map(({ kind }) => kind).toSorted()).toEqual(["rename", "wait"]);
  });

  it("D8: removes nothing that holds mail, or out of which something is still on its way", () => {
    const doomed = [view("Old", { pending: asked("remove") })];
    expect(step(doomed, "Old", 1)).toMatchObject({ kind: "end", status: "failed", outcome: "mailbox_not_empty" });
    expect(step(doomed, "Old", 0, true)).toMatchObject({ kind: "wait" });
    expect(step(doomed, "Old")).toMatchObject({ kind: "remove", path: "Old", uidValidity: 7 });
  });
});

describe("a survey while something is pending", () => {
  const listed = (path: string, uidValidity = 7): SurveyedMailbox => {
    const status = { messages: 0, uidNext: 1, uidValidity, unseen: 0, highestModseq: null };
    const rest = {
      delimiter: "/",
      selectable: true,
      subscribed: true,
      role: null,
      roleSource: null,
      objectId: null,
      statusError: null,
    };
    return { path, status, ...rest };
  };
  const survey = (paths: readonly SurveyedMailbox[], known: readonly MailboxView[], at = 1000) => {
    const freshIds = Array.from({ length: 20 }, (_, n) => `new${n}`);
    return reconcileSurvey({
      endpointId: "e" as EndpointId,
      complete: true,
      surveyed: paths,
      known,
      replaced: [],
      proven: [],
      answering: [],
      freshIds,
      at,
    });
  };
  const renaming = (name: string, at: number, fence: PendingMailbox["fence"] = null): MailboxView =>
    view(name, { path: "Proj", pending: { verb: "place", at, deviceId: "A1", fence } });

  it("that still shows the old name changes nothing, and neither does our own work when it is seen (I8)", () => {
    expect(survey([listed("Proj")], [renaming("Alpha", 500)])).toMatchObject({ changes: [], mailboxes: [] });
    const fence = { step: "rename", path: "Alpha", from: "Proj", uidValidity: 7 } as const;
    const seen = survey([listed("Alpha")], [renaming("Alpha", 500, fence)]);
    expect(seen).toMatchObject({ changes: [], mailboxes: [], upstream: [{ mailboxId: "Alpha", path: "Alpha" }], gone: [] });
    // Renamed once more since then: what was done before is no word of a device.
    const again = survey([listed("Alpha")], [renaming("Gamma", 900, fence)]);
    expect(again).toMatchObject({ changes: [], mailboxes: [], upstream: [{ mailboxId: "Gamma", path: "Alpha" }], gone: [] });
  });

  it("D4: follows a device that renamed it, unless the app spoke after the look (S57)", () => {
    const moved = { ...listed("Beta"), objectId: "o" };
    const known = (at: number) => {
      const one = renaming("Alpha", at);
      return [{ ...one, upstream: one.upstream === null ? null : { ...one.upstream, objectId: "o" } }];
    };
    const [followed, kept] = [survey([moved], known(500)), survey([moved], known(2000))];
    expect(followed.mailboxes.map(({ name }) => name)).toEqual(["Beta"]);
    expect(kept.mailboxes).toEqual([]);
    for (const { changes } of [followed, kept]) expect(changes.map(({ rule }) => rule)).toContain("D4");
  });

  it("D5: leaves a name with the mailbox that has it upstream, and numbers the one that only wants it", () => {
    const { mailboxes } = survey([listed("Proj"), listed("Tax", 8)], [renaming("Tax", 500)]);
    expect(mailboxes.map(({ name, created }) => [name, created]).toSorted()).toEqual(
      [
        ["Tax (2)", false],
        ["Tax", true],
      ].toSorted(),
    );
  });

  it("D8 D2: takes for gone at once what it asked to be removed, and nothing else", () => {
    const fence = { step: "remove", path: "Old", from: null, uidValidity: 7 } as const;
    const known = [view("Old", { pending: { verb: "remove", at: 1, deviceId: "A1", fence } }), view("Other")];
    const { gone, changes } = survey([listed("INBOX")], known);
    expect(gone).toEqual(["Old"]);
    expect(changes.find(({ kind }) => kind === "mailbox.removed")).toMatchObject({ source: "api", deviceId: "A1", rule: "D8" });
  });

  it("keeps each field that only one side moved", () => {
    expect(mergeField({ shadow: 1, observed: 1, canonical: 2 }, false)).toEqual({ value: 2, lost: null });
    expect(mergeField({ shadow: 1, observed: 2, canonical: 1 }, true)).toEqual({ value: 2, lost: null });
    expect(mergeField({ shadow: 1, observed: 2, canonical: 2 }, true)).toEqual({ value: 2, lost: null });
    expect(mergeField({ shadow: 1, observed: 2, canonical: 3 }, true)).toEqual({ value: 3, lost: "observed" });
    expect(mergeField({ shadow: 1, observed: 2, canonical: 3 }, false)).toEqual({ value: 2, lost: "canonical" });
  });
});
