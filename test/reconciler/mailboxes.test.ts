import { describe, expect, it } from "vitest";
import type { EndpointId, MailboxId } from "../../src/model/ids.ts";
import type { SurveyedMailbox } from "../../src/model/survey.ts";
import { isRebuilt, reconcileSurvey } from "../../src/reconciler/mailboxes.ts";
import type { MailboxView } from "../../src/reconciler/state.ts";

const endpointId = "e" as EndpointId;

const box = (path: string, rest: Partial<SurveyedMailbox> = {}): SurveyedMailbox => ({
  path,
  delimiter: "/",
  selectable: true,
  subscribed: true,
  role: path === "INBOX" ? "inbox" : null,
  roleSource: path === "INBOX" ? "special_use" : null,
  objectId: null,
  status: { messages: 3, uidNext: 10, uidValidity: path.length * 1000, unseen: 0, highestModseq: 5n },
  statusError: null,
  ...rest,
});

const survey = (
  surveyed: SurveyedMailbox[],
  known: MailboxView[] = [],
  at = 0,
  complete = true,
  replaced: readonly MailboxId[] = [],
  proven: readonly string[] = [],
  answering: readonly string[] = [],
) =>
  reconcileSurvey({
    endpointId,
    complete,
    surveyed,
    known,
    replaced,
    proven,
    answering,
    at,
    freshIds: Array.from({ length: 50 }, (_, n) => `new${n}`),
  });

/** What the store holds after a first survey. */
const stored = (surveyed: SurveyedMailbox[]): MailboxView[] => {
  const decision = survey(surveyed);
  return decision.mailboxes.map((mailbox) => {
    const address = decision.upstream.find((row) => row.mailboxId === mailbox.id);
    const seen = surveyed.find((one) => one.path === address?.path);
    return {
      ...mailbox,
      changedSeq: 1n,
      pending: null,
      upstream:
        address === undefined
          ? null
          : {
              ...address,
              uidValidity: seen?.status?.uidValidity ?? null,
              uidNext: seen?.status?.uidNext ?? null,
              absentSince: null,
            },
    };
  });
};

describe("a survey", () => {
  it("makes nested mailboxes below their parents, and a container for a parent nobody lists", () => {
    const { mailboxes } = survey([box("INBOX"), box("Lists/Ruby"), box("Work"), box("Work/2026")]);
    const byName = new Map(mailboxes.map((mailbox) => [mailbox.name, mailbox]));
    expect(byName.get("2026")?.parentId).toBe(byName.get("Work")?.id);
    expect(byName.get("Ruby")?.parentId).toBe(byName.get("Lists")?.id);
    expect(byName.get("Lists")?.created).toBe(true);
  });

  it("that shows what is known changes nothing", () => {
    const boxes = [box("INBOX"), box("Work"), box("Work/2026")];
    const decision = survey(boxes, stored(boxes));
    expect([decision.changes, decision.mailboxes, decision.upstream, decision.gone]).toEqual([[], [], [], []]);
  });

  it("follows a rename by its epoch and keeps the id (S54)", () => {
    const known = stored([box("INBOX"), box("Proj")]);
    const renamed = box("Proj2", { status: { messages: 3, uidNext: 10, uidValidity: 4000, unseen: 0, highestModseq: 5n } });
    const decision = survey([box("INBOX"), renamed], known);
    expect(decision.mailboxes.map(({ name, created }) => ({ name, created }))).toEqual([{ name: "Proj2", created: false }]);
    expect(decision.changes.map((change) => change.kind)).toEqual(["mailbox.renamed"]);
  });

  const numbered = (uidValidity: number, uidNext = 10) => ({
    status: { messages: uidNext - 1, uidNext, uidValidity, unseen: 0, highestModseq: 5n },
  });
  /** What becomes of the mailboxes of `before`, by the names they had. */
  const namesIn = (before: MailboxView[], now: SurveyedMailbox[], proven: readonly string[] = []) => {
    const known = before.map((view) => ({ ...view, id: `old ${view.id}` as MailboxId }));
    const { mailboxes, upstream, changes } = survey([box("INBOX"), ...now], known, 0, true, [], proven);
    const old = new Map(known.map(({ id, name }) => [id, name]));
    return {
      kinds: changes.map(({ kind }) => kind),
      moved: mailboxes.map(({ id, name, created }) => `${created ? "new" : old.get(id)} to ${name}`).toSorted(),
      waited: upstream.filter(({ absentSince }) => absentSince !== null).map(({ mailboxId }) => old.get(mailboxId)),
    };
  };

  it("does not follow one to a mailbox that has given out fewer numbers (D1)", () => {
    const known = stored([box("INBOX"), box("A", numbered(7))]);
    expect(namesIn(known, [box("B", numbered(7, 9))])).toMatchObject({ moved: ["new to B"], waited: ["A"] });
    expect(namesIn(known, [box("B", numbered(7, 10))])).toMatchObject({ moved: ["A to B"], waited: [] });
  });

  it("follows mailboxes that have taken each other's names (D1)", () => {
    const known = stored([box("INBOX"), box("A", numbered(7)), box("B", numbered(8))]);
    const swapped = namesIn(known, [box("A", numbered(8)), box("B", numbered(7))]);
    expect(swapped).toEqual({ kinds: ["mailbox.renamed", "mailbox.renamed"], moved: ["A to B", "B to A"], waited: [] });
  });

  it("follows one to the name of another, which is gone or nowhere to be known again (D1, D2)", () => {
    const known = stored([box("INBOX"), box("A", numbered(7, 1)), box("B", numbered(8))]);
    // What is nowhere to be seen has to give way (D5).
    expect(namesIn(known, [box("A", numbered(8))])).toMatchObject({ moved: ["A to A (2)", "B to A"], waited: ["A"] });
    expect(namesIn(known, [box("A", numbered(8)), box("C", numbered(7, 1))])).toMatchObject({
      moved: ["A to A (2)", "B to A", "new to C"],
      waited: ["A"],
    });
  });

  it("does not take mailboxes that are all numbered anew for one another (ID-8)", () => {
    const known = stored([box("INBOX"), box("A", numbered(7)), box("B", numbered(8)), box("C", numbered(9))]);
    const anew = [box("A", numbered(8)), box("B", numbered(9)), box("C", numbered(10))];
    expect(namesIn(known, anew)).toEqual({ kinds: [], moved: [], waited: [] });
  });

  it("follows a mailbox whose name a new one has where its mail was seen, and not before (D1)", () => {
    const known = stored([box("INBOX"), box("A", numbered(7))]);
    const now = [box("A", numbered(9, 1)), box("B", numbered(7))];
    expect(namesIn(known, now)).toEqual({ kinds: ["mailbox.created"], moved: ["new to B"], waited: [] });
    const seen = namesIn(known, now, ["B"]);
    expect(seen).toEqual({ kinds: ["mailbox.created", "mailbox.renamed"], moved: ["A to B", "new to A"], waited: [] });
  });

  it("does not take a mailbox for renamed when its UIDVALIDITY is shared", () => {
    const status = { messages: 3, uidNext: 10, uidValidity: 1, unseen: 0, highestModseq: null };
    const known = stored([box("INBOX", { status }), box("A", { status })]);
    const decision = survey([box("INBOX", { status }), box("B", { status })], known);
    expect(decision.mailboxes.map(({ name, created }) => ({ name, created }))).toEqual([{ name: "B", created: true }]);
  });

  it("lets a mailbox go only after two complete listings a minute apart lack it (D2)", () => {
    const known = stored([box("INBOX"), box("Work")]);
    const first = survey([box("INBOX")], known, 1_000);
    expect(first.gone).toEqual([]);
    const waiting = known.map((view) =>
      view.upstream?.path === "Work" ? { ...view, upstream: { ...view.upstream, absentSince: 1_000 } } : view,
    );
    expect(survey([box("INBOX")], waiting, 30_000).gone).toEqual([]);
    expect(survey([box("INBOX")], waiting, 62_000, false).gone).toEqual([]);
    // It is there for the server, which does not list it.
    expect(survey([box("INBOX")], waiting, 62_000, true, [], [], ["Work"])).toMatchObject({ gone: [], changes: [] });
    expect(survey([box("INBOX")], waiting, 62_000).gone).toEqual([waiting.find((view) => view.name === "Work")?.id as MailboxId]);
  });

  it("takes the loss of most mailboxes at once for a sick server", () => {
    const many = Array.from({ length: 8 }, (_, n) => box(`M${n}`));
    const known = stored([box("INBOX"), ...many]).map((view) => ({
      ...view,
      upstream: view.upstream === null || view.upstream.path === "INBOX" ? view.upstream : { ...view.upstream, absentSince: 1 },
    }));
    const decision = survey([box("INBOX")], known, 100_000);
    expect([decision.gone, decision.upstream]).toEqual([[], []]);
  });

  it("leaves a role with a mailbox that may be back, and gives it on when that is gone (D10, D2)", () => {
    const roles = { role: "archive", roleSource: "special_use" } as const;
    const known = stored([box("INBOX"), box("Old", roles)]);
    const now = [box("INBOX"), box("New", { ...roles, status: null })];
    const first = survey(now, known, 1000);
    expect(first.mailboxes.map(({ name, role }) => [name, role])).toEqual([["New", null]]);
    const made = stored([box("New")]).map((view) => ({ ...view, id: "made" as MailboxId }));
    const missed = known.map((view) =>
      view.name === "Old" && view.upstream !== null ? { ...view, upstream: { ...view.upstream, absentSince: 1000 } } : view,
    );
    const later = survey(now, [...missed, ...made], 62_000);
    expect(later.mailboxes.map(({ name, role, lifecycle }) => [name, role, lifecycle])).toEqual([
      ["New", "archive", "live"],
      ["Old", null, "removed"],
    ]);
  });

  it("gives a role that a mailbox of ours has by its name alone to the one that claims it upstream (D10)", () => {
    const known = stored([box("INBOX"), box("Archive", { role: "archive", roleSource: "name" })]);
    const ours = known.map((view) => (view.name === "Archive" ? { ...view, id: "ours" as MailboxId, upstream: null } : view));
    const { mailboxes } = survey([box("INBOX"), box("All Mail", { role: "archive", roleSource: "special_use" })], ours);
    expect(mailboxes.map(({ name, role }) => [name, role])).toEqual([
      ["All Mail", "archive"],
      ["Archive", null],
    ]);
  });

  it("gives each role to one mailbox, the strongest claim first (D10, S63)", () => {
    const { mailboxes } = survey([
      box("INBOX"),
      box("Deleted Items", { role: "trash", roleSource: "name" }),
      box("Trash", { role: "trash", roleSource: "special_use" }),
    ]);
    expect(mailboxes.filter((mailbox) => mailbox.role === "trash").map((mailbox) => mailbox.name)).toEqual(["Trash"]);
  });

  it("gives mailboxes whose names are cut to the same a number, and is quiet then (D5)", () => {
    const long = "n".repeat(255);
    const cut = long.slice(0, 251);
    const boxes = [box("INBOX"), box(`${long}a`), box(`${long}b`), box(`${long}c`)];
    const { mailboxes } = survey(boxes);
    expect(mailboxes.map(({ name }) => name).sort()).toEqual(["INBOX", `${cut} (2)`, `${cut} (3)`, long]);
    expect(survey(boxes, stored(boxes)).changes).toEqual([]);
  });

  it("never lets INBOX go, however often it is not listed (D12)", () => {
    const known = stored([box("INBOX"), box("Work"), box("Elsewhere")]);
    const missed = known.map((view) =>
      view.upstream === null ? view : { ...view, upstream: { ...view.upstream, absentSince: 1 } },
    );
    const { gone } = survey([box("Elsewhere")], missed, 100_000);
    expect(gone).toEqual(known.filter(({ name }) => name === "Work").map(({ id }) => id));
  });

  it("leaves a role with the one that has it where another claims it as well (D10)", () => {
    const archive = { role: "archive", roleSource: "special_use" } as const;
    const known = stored([box("INBOX"), box("Zoo", archive)]).map((view) => ({ ...view, id: `old ${view.id}` as MailboxId }));
    const { mailboxes } = survey([box("INBOX"), box("Zoo", archive), box("Attic", archive)], known);
    expect(mailboxes.map(({ name, role }) => [name, role])).toEqual([["Attic", null]]);
  });

  describe("whose server tells ids of mailboxes (D1, D9)", () => {
    const before = [box("INBOX"), box("Proj", { objectId: "p" }), box("Work", { objectId: "w" })];
    const idOf = (name: string): MailboxId => stored(before).find((view) => view.name === name)?.id as MailboxId;
    const saidOf = (decision: ReturnType<typeof survey>) =>
      decision.changes.map(({ kind, reason, rule }) => [kind, reason, rule]);

    it("keeps a mailbox that has another id until what is in it was compared", () => {
      const decision = survey([box("INBOX"), box("Proj", { objectId: "q" }), box("Work", { objectId: "w" })], stored(before));
      expect([decision.changes, decision.upstream, decision.gone]).toEqual([[], [], []]);
    });

    it("S59: ends the one that was replaced, and makes the other, at once", () => {
      const now = [box("INBOX"), box("Proj", { objectId: "q" }), box("Work", { objectId: "w" })];
      const decision = survey(now, stored(before), 0, true, [idOf("Proj")]);
      expect(saidOf(decision)).toEqual([
        ["mailbox.created", "upstream_created", "D1"],
        ["mailbox.removed", "upstream_deleted", "D9"],
      ]);
      expect(decision.gone).toEqual([idOf("Proj")]);
      expect(decision.upstream.map(({ path, objectId }) => [path, objectId])).toEqual([["Proj", "q"]]);
      const cutShort = survey(now, stored(before), 0, false, [idOf("Proj")]);
      expect([cutShort.changes, cutShort.gone]).toEqual([[], []]);
    });

    it("D9: follows the one that was replaced, though nothing is told of what has its name", () => {
      const now = [box("INBOX"), box("Proj", { status: null }), box("Old", { objectId: "p" }), box("Work", { objectId: "w" })];
      const followed = (replaced: readonly MailboxId[]) =>
        survey(now, stored(before), 0, true, replaced).mailboxes.find(({ id }) => id === idOf("Proj"))?.name;
      expect(followed([idOf("Proj")])).toBe("Old");
      expect(followed([])).toBeUndefined();
    });

    const names = ["a", "b", "c", "d", "e", "f", "g"];
    const many = stored([box("INBOX", { objectId: "i" }), ...names.map((name) => box(name, { objectId: name }))]).map((view) => ({
      ...view,
      id: `old ${view.name}` as MailboxId,
    }));

    it("believes that single ones were replaced, and not that most of all were at once", () => {
      const told = (paths: readonly string[], now: string | null): boolean =>
        isRebuilt(
          many,
          new Map(
            many.map(({ id, upstream }) => [id, paths.includes(upstream?.path ?? "") ? now : (upstream?.objectId ?? null)]),
          ),
        );
      expect(told([], "x")).toBe(false);
      expect(told(["INBOX", ...names.slice(0, 4)], "x")).toBe(false);
      expect(told(names.slice(0, 5), "x")).toBe(true);
      // Not there yet is as good as another.
      expect(told(names.slice(0, 5), null)).toBe(true);
      expect(isRebuilt(stored(before), new Map())).toBe(false);
    });

    it("counts what was replaced among what is missing, before it believes that most of all is (D2)", () => {
      const replaced = ["old a", "old b"] as MailboxId[];
      const now = [box("INBOX", { objectId: "i" }), ...["a", "b", "c"].map((name) => box(name, { objectId: `new ${name}` }))];
      const decision = survey([...now, box("g", { objectId: "g" })], many, 0, true, replaced);
      expect(decision.gone).toEqual(replaced);
      expect(decision.upstream.filter(({ absentSince }) => absentSince !== null)).toEqual([]);
    });

    it("follows a mailbox whose name another one took, and two that changed names", () => {
      const taken = survey(
        [box("INBOX"), box("Old", { objectId: "p" }), box("Proj", { objectId: "q" }), box("Work", { objectId: "w" })],
        stored(before),
      );
      expect(saidOf(taken)).toEqual([
        ["mailbox.renamed", "upstream_renamed", "D1"],
        ["mailbox.created", "upstream_created", "D1"],
      ]);
      expect(taken.mailboxes.find(({ name }) => name === "Old")?.id).toBe(idOf("Proj"));
      const swapped = survey([box("INBOX"), box("Proj", { objectId: "w" }), box("Work", { objectId: "p" })], stored(before));
      expect(new Map(swapped.mailboxes.map(({ id, name }) => [name, id]))).toEqual(
        new Map([
          ["Proj", idOf("Work")],
          ["Work", idOf("Proj")],
        ]),
      );
      expect(swapped.gone).toEqual([]);
    });
  });
});
