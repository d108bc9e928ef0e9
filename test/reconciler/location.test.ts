/** What the log says of where mail is, to who comes with an older base (P1–P5). */
import { describe, expect, it } from "vitest";
import type { MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import { placeOf } from "../../src/reconciler/dots.ts";
import { relocate } from "../../src/reconciler/intent-location.ts";
import { emptyIntentDraft, type IntentPlacement, type IntentSlice } from "../../src/reconciler/intent-slice.ts";
import { contest, type LocationEntry, type PlaceDot, placeDots, type Rank, rankOf } from "../../src/reconciler/location.ts";

const [inbox, work] = ["inbox", "work"] as MailboxId[] as [MailboxId, MailboxId];

const entry = (kind: LocationEntry["kind"], rest: Partial<LocationEntry> = {}): LocationEntry => ({
  seq: 5n,
  kind,
  deviceId: null,
  source: "endpoint e",
  reason: "upstream_move",
  rule: null,
  from: inbox,
  to: inbox,
  ...rest,
});

/** Ranks of what one entry says. */
const ranksOf = (one: LocationEntry): Rank[] => placeDots({ located: [one], placed: [] }, () => null).map(({ rank }) => rank);

describe("an entry of the log", () => {
  it("says that it was brought back where it was gone, and not where it was only kept here (ID-5c)", () => {
    expect(ranksOf(entry("message.restored", { rule: "ID-5d" }))).toEqual([rankOf.restore]);
    expect(ranksOf(entry("message.restored", { rule: "ID-5c" }))).toEqual([]);
  });

  it("says that it was asked to go where somebody did: a person, the server, or who took a label away (V8b)", () => {
    for (const reason of ["user_expunge", "retention", "mailbox_deleted", "label_removed"])
      expect(ranksOf(entry("message.removed", { reason, to: null }))).toEqual([rankOf.removal]);
    for (const reason of ["pop3_drain", "unknown"]) expect(ranksOf(entry("message.removed", { reason, to: null }))).toEqual([]);
  });
});

describe("two that want a placement elsewhere", () => {
  const dot = (mailboxId: MailboxId, rank: Rank, seq: bigint, source: string): PlaceDot => {
    return { mailboxId, rank, place: placeOf(seq, false), source, api: true };
  };

  it("P1: who has seen the other wins, whatever the ranks", () => {
    const said = dot(work, rankOf.trash, 6n, "device a");
    const { winner, beaten, rule } = contest([dot(inbox, rankOf.restore, 5n, "device b")], said, 5n);
    expect([winner, beaten, rule]).toEqual([said, null, "P1"]);
  });

  it("P2 P5: else the higher rank does, and of equal ranks the later", () => {
    const said = dot(work, rankOf.move, 6n, "device a");
    const other = (rank: Rank) => contest([dot(inbox, rank, 5n, "device b")], said, 4n);
    expect(other(rankOf.restore)).toMatchObject({ winner: { mailboxId: inbox }, beaten: { mailboxId: work }, rule: "P2" });
    expect(other(rankOf.move)).toMatchObject({ winner: { mailboxId: work }, beaten: { mailboxId: inbox }, rule: "P5" });
    expect(other(rankOf.trash)).toMatchObject({ winner: { mailboxId: work }, beaten: { mailboxId: inbox }, rule: "P2" });
  });
});

describe("what is said with an old base", () => {
  const trash = "trash" as MailboxId;
  const placement: IntentPlacement = {
    id: "p" as PlacementId,
    messageId: "m" as MessageId,
    mailboxId: work,
    keywords: [],
    lifecycle: "live",
    kept: false,
    absent: false,
    receivedAt: 0,
    binding: null,
    changedSeq: 6n,
    reason: "api_move",
    recoverable: true,
    durable: true,
  };
  /** Device b throws away what device a has moved to Work meanwhile. */
  const throwAway = (rest: Partial<IntentPlacement>, mailboxes: readonly MailboxId[]) => {
    const base = 4n;
    const moved = { placementId: placement.id, mailboxId: work, rank: rankOf.move, seq: 5n, silent: false, deviceId: "a", base };
    const slice: IntentSlice = {
      mailboxes: new Map(mailboxes.map((id) => [id, id === trash ? "trash" : null])),
      held: new Set(),
      renumbered: new Set(),
      hasImap: true,
      expectsDrains: false,
      retentionDays: 30,
      head: 6n,
      began: 6n,
      placements: [],
      history: new Map([[placement.id, { seen: [], said: [], located: [], placed: [moved] }]]),
      homes: new Map(),
      standIns: new Map(),
      undone: null,
      freshIds: [],
    };
    const draft = emptyIntentDraft();
    const intent = {
      op: { op: "delete", messageId: placement.messageId },
      deviceId: "b",
      base,
      exact: false,
      destructive: false,
    } as const;
    const wanted = { placement: { ...placement, ...rest }, mailboxId: trash, rank: rankOf.trash, reason: "api_trash" };
    const outcome = relocate(draft, intent, wanted, slice);
    return [outcome, ...draft.placements.map(({ lifecycle, mailboxId }) => `${lifecycle} ${mailboxId}`)];
  };

  it("P2: gives way to a higher rank, which brings nothing back that went for another reason since", () => {
    expect(throwAway({ mailboxId: inbox }, [inbox, work, trash])).toEqual(["outranked", "live work"]);
    expect(throwAway({ lifecycle: "removed" }, [inbox, work, trash])).toEqual(["outranked"]);
  });

  it("D7: gives way to nobody who wants it in a mailbox that is gone", () => {
    expect(throwAway({ mailboxId: inbox }, [inbox, trash])).toEqual(["changed", "live trash"]);
  });
});
