/** The inverse of each kind of change (Q6). */
import { describe, expect, it } from "vitest";
import type { PlacementId } from "../../src/model/ids.ts";
import { inverseOf, type LoggedChange } from "../../src/reconciler/undo.ts";

const change = (kind: LoggedChange["kind"], rest: Partial<LoggedChange> = {}): LoggedChange => ({
  kind,
  placementId: "p" as PlacementId,
  before: null,
  after: null,
  source: "api",
  reason: "updated",
  evidence: [],
  ...rest,
});

describe("the way back", () => {
  it("of keywords is what differs, and nothing else", () => {
    const logged = change("message.keywords", { before: { keywords: ["a", "b"] }, after: { keywords: ["b", "c"] } });
    expect(inverseOf(logged)).toEqual({ kind: "keywords", keywords: { a: true, c: false } });
  });

  it("of a move or a removal is where it was, and of what was brought back or kept a removal", () => {
    const before = { mailboxId: "work" };
    for (const kind of ["message.moved", "message.removed"] as const)
      expect(inverseOf(change(kind, { before }))).toEqual({ kind: "place", mailboxId: "work", keywords: {} });
    for (const kind of ["message.restored", "message.kept"] as const) expect(inverseOf(change(kind))).toEqual({ kind: "remove" });
  });

  it("of a move is also what came and went with it, and of a removal nothing but its place", () => {
    const before = { mailboxId: "work", keywords: ["a", "b"] };
    const after = { mailboxId: "other", keywords: ["b", "c"] };
    expect(inverseOf(change("message.moved", { before, after }))).toMatchObject({ keywords: { a: true, c: false } });
    expect(inverseOf(change("message.removed", { before }))).toMatchObject({ keywords: {} });
  });

  it("of a copy that another client made is its removal", () => {
    expect(inverseOf(change("message.created", { source: "imap", reason: "copied" }))).toEqual({ kind: "remove" });
  });

  it("of a message is a removal where an app brought it, and none of what a server delivered", () => {
    expect(inverseOf(change("message.created"))).toEqual({ kind: "remove" });
    expect(inverseOf(change("message.created", { source: "imap" }))).toBeNull();
    expect(inverseOf(change("message.purged"))).toBeNull();
  });

  it("P6: of a conflict is what the loser wanted: a place, a removal, a keyword", () => {
    const lost = (evidence: unknown) => inverseOf(change("conflict.resolved", { evidence: [evidence] }));
    expect(lost({ loser: { mailboxId: "work" } })).toEqual({ kind: "place", mailboxId: "work", keywords: {} });
    expect(lost({ loser: { mailboxId: null } })).toEqual({ kind: "remove" });
    expect([lost({ keyword: "a", loser: "set" }), lost({ keyword: "a", loser: "clear" })]).toEqual([
      { kind: "keywords", keywords: { a: true } },
      { kind: "keywords", keywords: { a: false } },
    ]);
    expect(lost({})).toBeNull();
  });
});
