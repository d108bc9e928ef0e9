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
      expect(inverseOf(change(kind, { before }))).toEqual({ kind: "place", mailboxId: "work" });
    for (const kind of ["message.restored", "message.kept"] as const) expect(inverseOf(change(kind))).toEqual({ kind: "remove" });
  });

  it("of a message is a removal where an app brought it, and none of what a server delivered", () => {
    expect(inverseOf(change("message.created"))).toEqual({ kind: "remove" });
    expect(inverseOf(change("message.created", { source: "imap" }))).toBeNull();
    expect(inverseOf(change("message.purged"))).toBeNull();
  });

  it("P6: of a conflict is what the loser wanted: a place, a removal, a keyword", () => {
    const lost = (evidence: unknown) => inverseOf(change("conflict.resolved", { evidence: [evidence] }));
    expect(lost({ loser: { mailboxId: "work" } })).toEqual({ kind: "place", mailboxId: "work" });
    expect(lost({ loser: { mailboxId: null } })).toEqual({ kind: "remove" });
    expect([lost({ keyword: "a", loser: "set" }), lost({ keyword: "a", loser: "clear" })]).toEqual([
      { kind: "keywords", keywords: { a: true } },
      { kind: "keywords", keywords: { a: false } },
    ]);
    expect(lost({})).toBeNull();
  });
});
