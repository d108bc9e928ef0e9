/** What the API may want of mailboxes, and what upstream is told of it, one case at a time. */
import { describe, expect, it } from "vitest";
import type { MailboxId } from "../../src/model/ids.ts";
import type { MailboxOp } from "../../src/model/mailbox-intent.ts";
import { afterEmptying } from "../../src/reconciler/commands.ts";
import { type MailboxIntentInput, reconcileMailboxIntent } from "../../src/reconciler/mailbox-intents.ts";
import { mergeField } from "../../src/reconciler/mailbox-names.ts";
import { type MailboxCommandView, type MailboxWorld, nextMailboxStep } from "../../src/reconciler/mailbox-plan.ts";
import type { MailboxView } from "../../src/reconciler/state.ts";

const box = (name: string, rest: Partial<MailboxView> = {}): MailboxView => ({
  id: name as MailboxId,
  name,
  parentId: null,
  role: null,
  roleSource: null,
  subscribed: true,
  changedSeq: 1n,
  pending: null,
  upstream: { path: name, delimiter: "/", selectable: true, objectId: null, uidValidity: 1, uidNext: 2, absentSince: null },
  ...rest,
});
const inbox = box("INBOX", { role: "inbox", roleSource: "special_use" });
const work = box("Work");
const below = box("Below", { parentId: work.id });

const decide = (op: MailboxOp, rest: Partial<MailboxIntentInput> = {}) =>
  reconcileMailboxIntent({
    op,
    deviceId: "d",
    base: 5n,
    known: [inbox, work, below],
    writable: true,
    contents: { live: 0, changedSeq: 1n },
    freshId: "new" as MailboxId,
    ...rest,
  });
const answer = (...input: Parameters<typeof decide>) => {
  const { status, reason } = decide(...input).result;
  return `${status} ${reason}`;
};
const rename = (mailboxId: MailboxId, patch: object) => ({ op: "mailbox.update", mailboxId, ...patch }) as MailboxOp;
const remove = (mailboxId: MailboxId, moveMessagesTo: MailboxId | null = null): MailboxOp => ({
  op: "mailbox.remove",
  mailboxId,
  moveMessagesTo,
});

describe("an operation on a mailbox", () => {
  it("D6: never puts it into itself, nor into what lies below it", () => {
    expect(answer(rename(work.id, { parentId: below.id }))).toBe("rejected mailbox_cycle");
    expect(answer(rename(work.id, { parentId: work.id }))).toBe("rejected mailbox_cycle");
    expect(answer(rename(below.id, { parentId: null }))).toBe("applied updated");
  });

  it("D12: leaves INBOX where it is, and the name to it", () => {
    expect(answer(rename(inbox.id, { name: "Mail" }))).toBe("rejected inbox_fixed");
    expect(answer(remove(inbox.id))).toBe("rejected inbox_fixed");
    expect(answer(rename(work.id, { name: "Inbox" }))).toBe("rejected mailbox_exists");
  });

  it("D8: removes none that holds mail without a place for it, or that others lie in", () => {
    const alone = { known: [inbox, work] };
    expect(answer(remove(work.id), alone)).toBe("pending awaits_upstream");
    expect(answer(remove(work.id))).toBe("rejected mailbox_has_children");
    const contents = { live: 1, changedSeq: 1n };
    expect(answer(remove(work.id), { ...alone, contents })).toBe("rejected mailbox_not_empty");
    expect(answer(remove(work.id, inbox.id), { ...alone, contents })).toBe("pending awaits_upstream");
  });

  it("Q3: removes none that has changed since its sender looked", () => {
    const known = [inbox, box("Work", { changedSeq: 6n })];
    expect(answer(remove(work.id), { known })).toBe("rejected state_mismatch");
    expect(answer(remove(work.id), { known: [inbox, work], contents: { live: 0, changedSeq: 6n } })).toBe(
      "rejected state_mismatch",
    );
  });

  it("D5: gets a number for a name that its sender could not know to be taken, else a no", () => {
    expect(answer({ op: "mailbox.create", name: "Work" })).toBe("rejected mailbox_exists");
    const { mailboxes, changes } = decide({ op: "mailbox.create", name: "Work" }, { base: 0n });
    expect(mailboxes.map(({ name }) => name)).toEqual(["Work (2)"]);
    expect(changes.map(({ kind, rule }) => `${kind} ${rule}`)).toEqual(["mailbox.created Q4", "conflict.resolved D5"]);
  });

  it("D10: takes a role from who had it", () => {
    const archive = box("Archive", { role: "archive", roleSource: "special_use" });
    const { mailboxes } = decide(rename(work.id, { role: "archive" }), { known: [inbox, work, archive] });
    expect(mailboxes.map(({ name, role }) => `${name} ${role}`).sort()).toEqual(["Archive null", "Work archive"]);
  });
});

describe("a name that two have changed (D4)", () => {
  it.each([
    ["neither", "a", "a", false, "a", null],
    ["upstream", "b", "a", true, "b", null],
    ["the API", "a", "c", false, "c", null],
    ["both, to the same", "b", "b", false, "b", null],
    ["both, upstream later", "b", "c", false, "b", "canonical"],
    ["both, the API later", "b", "c", true, "c", "observed"],
  ])("%s", (_, observed, canonical, isLater, value, lost) => {
    expect(mergeField({ shadow: "a", observed, canonical }, isLater)).toEqual({ value, lost });
  });
});

describe("what upstream is told", () => {
  const step = (command: Partial<MailboxCommandView>, world: Partial<MailboxWorld> = {}) =>
    nextMailboxStep(
      { mailboxId: work.id, verb: "remove", status: "planned", attempts: 0, fence: null, args: {}, ...command },
      { known: [inbox, work], prefix: "", holds: 0, busy: false, ...world },
    );

  it("D7: is no removal while something came into it, or is on its way out", () => {
    expect(step({})).toMatchObject({ kind: "remove", path: "Work" });
    expect(step({}, { holds: 1 })).toMatchObject({ kind: "end", status: "failed", outcome: "mailbox_not_empty" });
    expect(step({}, { busy: true })).toMatchObject({ kind: "wait", outcome: "not_empty_yet" });
    expect(step({ args: { moveTo: inbox.id } }, { holds: 1 })).toEqual({ kind: "empty", to: inbox.id });
    expect(step({ args: { moveTo: below.id } }, { holds: 1 })).toMatchObject({ kind: "end", outcome: "mailbox_not_empty" });
    expect(step({}, { known: [inbox, work, below] })).toMatchObject({ kind: "end", outcome: "mailbox_has_children" });
  });

  it("D7: is no removal in the end where something comes into it at every look", () => {
    const world = { holds: 1 };
    let command: Partial<MailboxCommandView> = { args: { moveTo: inbox.id } };
    let waitedMs = 0;
    for (let looks = 0; step(command, world).kind === "empty"; looks += 1) {
      expect(looks).toBeLessThan(100);
      const attempts = command.attempts ?? 0;
      const next = afterEmptying(attempts, 5000);
      command = { ...command, attempts: attempts + (next.tried === true ? 1 : 0) };
      waitedMs += next.afterMs;
    }
    expect(step(command, world)).toMatchObject({ kind: "end", status: "failed", outcome: "mailbox_not_empty" });
    expect(waitedMs).toBeGreaterThan(30 * 60_000);
  });

  it("D4: is where the mailbox shall be when it is said, and nothing when it is there", () => {
    const moved = box("Job", { id: work.id, ...{ upstream: work.upstream } });
    expect(step({ verb: "place" }, { known: [inbox, moved] })).toMatchObject({ kind: "rename", from: "Work", path: "Job" });
    expect(step({ verb: "place" })).toMatchObject({ kind: "end", status: "superseded", outcome: "already_so" });
  });

  it("D5 D11: is another name where this one is taken upstream, or is one with another's to the server", () => {
    const wanted = box("Job", { id: work.id, upstream: null });
    expect(step({ verb: "place" }, { known: [inbox, wanted] })).toEqual({ kind: "create", path: "Job" });
    const holder = box("Called otherwise", {
      upstream: { ...(work.upstream as object), path: "Job" } as MailboxView["upstream"],
    });
    expect(step({ verb: "place" }, { known: [inbox, wanted, holder] })).toEqual({ kind: "number", name: "Job (2)" });
    const fence = { step: "create", path: "Job", from: null, uidValidity: null, exists: true } as const;
    expect(step({ verb: "place", fence }, { known: [inbox, wanted] })).toEqual({ kind: "number", name: "Job (2)" });
  });
});
