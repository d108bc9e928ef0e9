/** A tree that devices and apps have both changed (D4–D6). */
import { describe, expect, it } from "vitest";
import type { EndpointId, MailboxId } from "../../src/model/ids.ts";
import type { SurveyedMailbox } from "../../src/model/survey.ts";
import { reconcileSurvey } from "../../src/reconciler/mailboxes.ts";
import type { MailboxView } from "../../src/reconciler/state.ts";

const listed = (path: string, uidValidity: number): SurveyedMailbox => ({
  path,
  delimiter: "/",
  selectable: true,
  subscribed: true,
  role: null,
  roleSource: null,
  objectId: null,
  status: { messages: 3, uidNext: 10, uidValidity, unseen: 0, highestModseq: 5n },
  statusError: null,
});

const known = (path: string, uidValidity: number, rest: Partial<MailboxView> = {}): MailboxView => ({
  id: path as MailboxId,
  name: path,
  parentId: null,
  role: null,
  roleSource: null,
  subscribed: true,
  changedSeq: 1n,
  pending: null,
  upstream: { path, delimiter: "/", selectable: true, objectId: null, uidValidity, uidNext: 10, absentSince: null },
  ...rest,
});

/** What an app wants at 200, and no server was told yet. */
const wanted: Partial<MailboxView> = {
  pending: { verb: "place", at: 200, deviceId: "phone", fence: null },
};

/** Where each known mailbox is after a survey. */
const survey = (before: readonly MailboxView[], now: readonly SurveyedMailbox[], at: number) => {
  const { mailboxes, changes } = reconcileSurvey({
    endpointId: "e" as EndpointId,
    complete: true,
    surveyed: now,
    known: before,
    replaced: [],
    proven: [],
    answering: [],
    at,
    freshIds: Array.from({ length: 9 }, (_, n) => `new${n}`),
  });
  const written = new Map(mailboxes.map((one) => [one.id, one]));
  return {
    tree: Object.fromEntries(
      before.map((view) => {
        const { name, parentId } = written.get(view.id) ?? view;
        return [view.id, parentId === null ? name : `${parentId}/${name}`];
      }),
    ),
    rules: changes.filter(({ kind }) => kind === "conflict.resolved").map(({ rule }) => rule),
  };
};

describe("a mailbox that an app and a device have renamed (D4)", () => {
  const both = [known("Work", 7, { name: "Job", ...wanted })];

  it("has the name of who came later, in doubt that of the server", () => {
    expect(survey(both, [listed("Tasks", 7)], 100)).toEqual({ tree: { Work: "Job" }, rules: ["D4"] });
    expect(survey(both, [listed("Tasks", 7)], 300)).toEqual({ tree: { Work: "Tasks" }, rules: ["D4"] });
  });
});

describe("mailboxes that an app and a device have moved into each other (D6)", () => {
  it("are where the server has them, whoever came later", () => {
    const before = [known("A", 7, { parentId: "B" as MailboxId, ...wanted }), known("B", 8), known("C", 9)];
    for (const at of [100, 300])
      expect(survey(before, [listed("A", 7), listed("A/B", 8), listed("C", 9)], at)).toEqual({
        tree: { A: "A", B: "A/B", C: "C" },
        rules: ["D6"],
      });
  });

  it("leave alone what is to lie below them", () => {
    const into = (parent: string) => ({ parentId: parent as MailboxId, ...wanted });
    const before = [known("A", 7, into("Z")), known("B", 8, into("A")), known("Z", 9)];
    const { tree } = survey(before, [listed("A", 7), listed("A/Z", 9), listed("B", 8)], 300);
    expect(tree).toEqual({ A: "A", B: "A/B", Z: "A/Z" });
  });
});

describe("mailboxes that want one name (D5)", () => {
  it("leave it to the one that the server calls so", () => {
    const before = [known("A", 7, { name: "Z", ...wanted }), known("B", 8)];
    expect(survey(before, [listed("A", 7), listed("Z", 8)], 300)).toMatchObject({ tree: { A: "Z (2)", B: "Z" }, rules: ["D5"] });
  });
});
