/** Moves and removals that operations want: what is done next, drawn from where the item is. */
import { describe, expect, it } from "vitest";
import type { CommandVerb } from "../../src/model/command.ts";
import type { EndpointId, MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import type { Role } from "../../src/model/mail.ts";
import { type CommandView, reviewAppend, reviewStore } from "../../src/reconciler/commands.ts";
import { contestSeen } from "../../src/reconciler/contests.ts";
import { rankOf, rankOfMove } from "../../src/reconciler/location.ts";
import { isMoot, mostExpunged, reviewExpunge, reviewMove, type Succession, successionOf } from "../../src/reconciler/moves.ts";
import type { BindingView, PlacementView } from "../../src/reconciler/state.ts";

const [inbox, work, trash] = ["inbox", "work", "trash"] as MailboxId[] as [MailboxId, MailboxId, MailboxId];

const placementOf = (rest: Partial<PlacementView> = {}, binding: Partial<BindingView> = {}): PlacementView => ({
  id: "p" as PlacementId,
  messageId: "m" as MessageId,
  mailboxId: work,
  keywords: [],
  lifecycle: "live",
  kept: false,
  absent: false,
  receivedAt: 0,
  binding: { mailboxId: inbox, epoch: 1, uid: 7, active: true, closedReason: null, shadowFlags: [], ...binding },
  ...rest,
});

const command = (placement: PlacementView | null, rest: Partial<CommandView> = {}): CommandView => ({
  reason: "api_write",
  status: "planned",
  attempts: 0,
  outcome: null,
  placement,
  ...rest,
});

const reviewed = (view: CommandView, durable = true, sentTo: MailboxId | null = null) => reviewMove(view, { durable, sentTo });

describe("a command that nobody wants any more", () => {
  const verbs = ["append", "move", "store", "expunge"] as const;
  const view = { remove: null, modseq: null, permanentFlags: null, durable: true, room: true } as const;
  const review = (verb: CommandVerb, wanted: CommandView) => {
    if (verb === "append") return reviewAppend(wanted, { wanted: true, awaited: false });
    if (verb === "move") return reviewMove(wanted, { ...view, sentTo: null });
    return verb === "store"
      ? reviewStore({ ...wanted, ...view })
      : reviewExpunge(wanted, { ...view, succession: "coming", lasting: true });
  };

  it("C5 I16: ends at once, whatever it waits for, and only then", () => {
    const placements: (PlacementView | null)[] = [null];
    for (const lifecycle of ["live", "removed", "purged"] as const)
      for (const kept of [false, true]) placements.push(placementOf({ lifecycle, kept }));
    const moot = verbs
      .flatMap((verb) =>
        (["planned", "sent", "unknown"] as const).flatMap((status) =>
          (["api_write", "restored_after_drain"] as const).flatMap((reason) =>
            placements.map((placement) => ({ verb, wanted: command(placement, { status, reason }) })),
          ),
        ),
      )
      .filter(({ verb, wanted }) => isMoot({ ...wanted, verb }));
    for (const { verb, wanted } of moot) expect(review(verb, wanted)).toMatchObject({ kind: "end", status: "superseded" });
    expect(isMoot({ ...command(placementOf({ lifecycle: "removed" })), verb: "append" })).toBe(true);
    expect(isMoot({ ...command(placementOf({ kept: true }), { reason: "restored_after_drain" }), verb: "append" })).toBe(false);
    for (const verb of verbs)
      expect(isMoot({ ...command(placementOf({ lifecycle: verb === "expunge" ? "removed" : "live" })), verb })).toBe(false);
  });
});

describe("a move", () => {
  it("I2: of what is not stored waits, and what was sent is looked for all the same", () => {
    expect(reviewed(command(placementOf()), false)).toMatchObject({ kind: "wait", outcome: "not_durable" });
    expect(reviewed(command(placementOf(), { status: "unknown" }), false)).toEqual({ kind: "look" });
  });

  it("C9 I2: that nobody wants any more is looked for all the same, where it may have been done", () => {
    for (const lifecycle of ["removed", "purged"] as const) {
      const gone = placementOf({ lifecycle });
      expect(reviewed(command(gone))).toMatchObject({ kind: "end", status: "superseded" });
      for (const status of ["sent", "unknown"] as const) {
        expect(reviewed(command(gone, { status }))).toEqual({ kind: "look" });
        const arrived = placementOf({ lifecycle }, { mailboxId: work });
        expect(reviewed(command(arrived, { status }))).toMatchObject({ kind: "end", status: "superseded" });
      }
    }
  });

  it("C2 C3: is sent while the item is elsewhere, looked for when it was sent, and done when it is there", () => {
    expect(reviewed(command(placementOf()))).toEqual({ kind: "send" });
    for (const status of ["sent", "unknown"] as const)
      expect(reviewed(command(placementOf(), { status }))).toEqual({ kind: "look" });
    const there = placementOf({}, { mailboxId: work });
    expect(reviewed(command(there, { status: "sent" }))).toMatchObject({ kind: "end", status: "confirmed" });
    expect(reviewed(command(there))).toMatchObject({ kind: "end", status: "superseded" });
  });

  it("C2 C3: goes on at once from where it came to, where it is wanted elsewhere by then", () => {
    const arrived = placementOf({}, { mailboxId: trash });
    for (const status of ["sent", "unknown"] as const) {
      const next = reviewed(command(arrived, { status, attempts: 10 }), true, trash);
      expect(next).toMatchObject({ kind: "wait", afterMs: 0, unsettled: false, progress: true });
      expect(reviewed(command(arrived, { status }), true, work)).toEqual({ kind: "look" });
    }
    expect(reviewed(command(arrived), true, trash)).toEqual({ kind: "send" });
  });

  it("takes the mark away that a device had put on it where it was", () => {
    const there = placementOf({}, { mailboxId: work, shadowFlags: ["\\Deleted"] });
    expect(reviewed(command(there, { status: "sent" }))).toEqual({ kind: "clear", uid: 7 });
  });

  it("waits for what is missing or stands in a new epoch, and ends where it is gone", () => {
    const unbound = (closedReason: string, absent: boolean) =>
      reviewed(command(placementOf({ absent }, { active: false, closedReason })));
    for (const found of [unbound("absent", true), unbound("epoch", false)])
      expect(found).toMatchObject({ kind: "wait", outcome: "unbound" });
    expect(unbound("expunged", false)).toMatchObject({ kind: "end", status: "superseded" });
  });

  it("I16: ends after a bounded number of tries, and where there is nothing to move", () => {
    expect(reviewed(command(placementOf(), { attempts: 10 }))).toMatchObject({ kind: "end", status: "failed" });
    expect(reviewed(command(placementOf(), { attempts: 10, outcome: "over_quota" }))).toEqual({ kind: "send" });
    for (const placement of [null, placementOf({ lifecycle: "removed" }), placementOf({ kept: true })])
      expect(reviewed(command(placement))).toMatchObject({ kind: "end", status: "superseded" });
  });
});

describe("a removal", () => {
  const gone = placementOf({ lifecycle: "removed" });
  const expungeable = { durable: true, room: true, succession: "done" as Succession, lasting: true };
  const review = (placement: PlacementView, rest: Partial<CommandView> = {}, how = expungeable) =>
    reviewExpunge(command(placement, rest), how);

  it("C7: is of what is gone here and still there, and is done when it is not", () => {
    expect(review(gone)).toEqual({ kind: "send", uid: 7 });
    expect(review(placementOf())).toMatchObject({ kind: "end", outcome: "overtaken" });
    const unbound = placementOf({ lifecycle: "removed" }, { active: false, closedReason: "absent" });
    expect(review(unbound, { status: "sent" })).toMatchObject({ kind: "end", status: "confirmed" });
  });

  it("ID-8: waits to be found until its mailbox, which was numbered anew, is read", () => {
    const lost = placementOf({ lifecycle: "removed" }, { active: false, closedReason: "epoch" });
    for (const status of ["planned", "sent"] as const) {
      for (const attempts of [0, 10])
        expect(review(lost, { status, attempts })).toEqual({
          kind: "wait",
          outcome: "unbound",
          afterMs: 60_000,
          unsettled: false,
        });
      // Where numbers never last the reading has no end that says so.
      const fleeting = { ...expungeable, lasting: false };
      expect(review(lost, { status }, fleeting)).toMatchObject({ kind: "wait", outcome: "unbound", tried: true });
      expect(review(lost, { status, attempts: 10 }, fleeting)).toMatchObject({ kind: "end" });
    }
  });

  it("I2: waits for octets that can be brought back, and for none that were purged", () => {
    expect(review(gone, {}, { ...expungeable, durable: false })).toMatchObject({ kind: "wait", outcome: "not_durable" });
    expect(review(placementOf({ lifecycle: "purged" as "removed" }), {}, { ...expungeable, durable: false })).toMatchObject({
      kind: "send",
    });
  });

  it("C5: of what is replaced comes after what replaces it, and not at all where that does not come", () => {
    const next = placementOf();
    const unplaced = { ...next, binding: null };
    expect([successionOf(next, false), successionOf(unplaced, true), successionOf(unplaced, false)]).toEqual([
      "done",
      "coming",
      "failed",
    ]);
    const missing = placementOf({}, { active: false, closedReason: "epoch" });
    const unwanted = { ...unplaced, lifecycle: "removed" as const };
    expect([successionOf(missing, false), successionOf(unwanted, true)]).toEqual(["coming", "done"]);
    const ends = { kind: "end", status: "failed", outcome: "not_replaced" };
    expect(review(gone, {}, { ...expungeable, succession: "failed" })).toMatchObject(ends);
    expect(review(gone, {}, { ...expungeable, succession: "coming" })).toMatchObject({ kind: "wait", outcome: "not_replaced" });
  });

  it("B5: waits where much was removed in ten minutes: fifty items, or one in twenty", () => {
    expect(review(gone, {}, { ...expungeable, room: false })).toMatchObject({ kind: "wait", outcome: "outbound_breaker" });
    expect([0, 1000, 1019, 1020].map(mostExpunged)).toEqual([50, 50, 50, 51]);
  });
});

describe("an item that is seen elsewhere than where it is wanted", () => {
  const roles: Readonly<Record<string, Role>> = { inbox: "inbox", trash: "trash" };
  const seenIn = (mailboxId: MailboxId, rank: 3 | 5, readAt: number) => {
    const pending = new Map([["p" as PlacementId, { rank, source: "device d", at: 10 }]]);
    const contests = { pending, roleOf: (id: MailboxId) => roles[id] ?? null, readAt };
    const placement = placementOf({ mailboxId: rank === 3 ? trash : work });
    return contestSeen({ endpointId: "e" as EndpointId, mailboxId, epoch: 1 }, placement, contests);
  };
  const other = "other" as MailboxId;

  it("P2: stands where the higher rank wants it", () => {
    expect(seenIn(trash, 5, 20)).toMatchObject({ winner: "wanted", rule: "P2" });
    expect(seenIn(other, 3, 20)).toMatchObject({ winner: "seen", rule: "P2" });
  });

  it("P2: ranks a way out of Trash or Junk above a move, and those above a way in", () => {
    expect(rankOfMove("trash", null)).toBe(rankOf.restore);
    expect(rankOfMove("junk", "inbox")).toBe(rankOf.restore);
    expect(rankOfMove("inbox", "archive")).toBe(rankOf.move);
    expect(rankOfMove(null, "junk")).toBe(rankOf.junk);
    expect(rankOfMove("junk", "trash")).toBe(rankOf.trash);
  });

  it("P4: at equal rank where the server has it, unless that was read before", () => {
    expect(seenIn(other, 5, 10)).toMatchObject({ winner: "seen", rule: "P4" });
    expect(seenIn(other, 5, 9)).toMatchObject({ winner: "wanted", rule: "P4" });
  });

  it("P3: is no conflict where both want the same", () => {
    expect(seenIn(work, 5, 20)).toBeNull();
  });
});
