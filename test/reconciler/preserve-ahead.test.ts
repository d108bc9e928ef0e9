/** Copies of mail that a POP3 device may take from INBOX (V21): of which, what they become, and how long they are wanted. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { defaultPolicy } from "../../src/model/account.ts";
import type { OpenStatus } from "../../src/model/command.ts";
import type { EndpointId, MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import { reviewAppend } from "../../src/reconciler/commands.ts";
import { type ItemFact, type ItemsInput, type KnownMessage, reconcileItems } from "../../src/reconciler/items.ts";
import { isMoot } from "../../src/reconciler/moves.ts";
import { preservesAhead } from "../../src/reconciler/preserve-ahead.ts";
import type { PlacementView } from "../../src/reconciler/state.ts";

const inbox = "inbox" as MailboxId;
const archive = "archive" as MailboxId;

const placementOf = (id: string, rest: Partial<PlacementView> = {}): PlacementView => ({
  id: id as PlacementId,
  messageId: "m" as MessageId,
  mailboxId: inbox,
  keywords: [],
  lifecycle: "live",
  kept: false,
  absent: false,
  receivedAt: 0,
  binding: null,
  ...rest,
});

const fact = (rest: Partial<ItemFact> = {}): ItemFact => ({
  uid: 9,
  flags: [],
  modseq: null,
  receivedAt: 0,
  sha256: "aa",
  ...rest,
});

const arrive = (placements: readonly PlacementView[], rest: Partial<ItemsInput> = {}) =>
  reconcileItems({
    scope: { endpointId: "e" as EndpointId, mailboxId: inbox, epoch: 1 },
    items: [fact()],
    bound: new Map(),
    known: placements.length === 0 ? new Map() : new Map([["aa", { id: "m" as MessageId, placements }]]),
    preserves: true,
    freshIds: ["m1", "p1", "m2", "p2"],
    reason: "delivered",
    ...rest,
  });

const copied = (...given: Parameters<typeof arrive>) => {
  const { commands } = arrive(...given);
  for (const { verb, reason } of commands) expect([verb, reason]).toEqual(["append", "preserved_ahead"]);
  return commands.map(({ placementId }) => placementId);
};

describe("V21: mail that comes into INBOX", () => {
  it("is copied where the account asks for it and a device reads it, and what had lain there is not", () => {
    const devices = ["unknown", "declared", "learned", "denied"] as const;
    const input = fc.record({
      asked: fc.boolean(),
      pop3Devices: fc.constantFrom(...devices),
      role: fc.constantFrom("inbox" as const, "archive" as const, null),
      reason: fc.constantFrom("backfilled" as const, "delivered" as const),
    });
    fc.assert(
      fc.property(input, ({ asked, ...rest }) => {
        const isMet =
          asked && ["declared", "learned"].includes(rest.pop3Devices) && rest.role === "inbox" && rest.reason === "delivered";
        return preservesAhead({ policy: { ...defaultPolicy, preserveAhead: asked }, ...rest }) === isMet;
      }),
    );
    expect(defaultPolicy.preserveAhead).toBe(false);
  });

  it("is copied once, and no draft, nor what is not given", () => {
    expect(copied([])).toEqual(["p1"]);
    expect(copied([], { items: [fact(), fact({ uid: 10 })] })).toEqual(["p1"]);
    expect(copied([], { items: [fact(), fact({ uid: 10, sha256: "bb" })] })).toEqual(["p1", "p2"]);
    expect(copied([], { items: [fact({ flags: ["\\Draft"] })] })).toEqual([]);
    expect(copied([], { items: [fact({ sha256: null })] })).toEqual([]);
    expect(copied([], { preserves: false })).toEqual([]);
  });

  it("is copied where POP3 had shown it before, unless it has a place elsewhere", () => {
    const shown = placementOf("shown");
    expect(copied([shown])).toEqual(["shown"]);
    expect(copied([shown, placementOf("other", { mailboxId: archive })])).toEqual([]);
    expect(copied([shown, placementOf("other", { mailboxId: archive, lifecycle: "purged" })])).toEqual(["shown"]);
  });

  it("is copied where its header block tells that POP3 had shown it, and not before its octets are had", () => {
    const placement = placementOf("shown");
    const joined = (message: KnownMessage | null) =>
      copied([], { items: [fact({ sha256: null })], claimed: new Map([[9, { placement, confidence: 0.9, message }]]) });
    const id = placement.messageId;
    expect(joined({ id, placements: [placement] })).toEqual(["shown"]);
    expect(joined({ id, placements: [placement, placementOf("other", { mailboxId: archive })] })).toEqual([]);
    expect(joined(null)).toEqual([]);
  });

  it("is not copied where the account has it: what we put there, what was moved there, a copy", () => {
    const binding = { mailboxId: archive, epoch: 1, uid: 3, active: true, closedReason: null, shadowFlags: [] };
    expect(copied([placementOf("p", { mailboxId: archive, binding })])).toEqual([]);
    expect(copied([placementOf("p", { mailboxId: archive, absent: true, binding: { ...binding, active: false } })])).toEqual([]);
    const placement = placementOf("p");
    const claim = { commandId: "c", verb: "append", opId: "op", is: "placed", placement, sent: [], from: 9 } as const;
    expect(copied([], { claims: [{ ...claim, hashes: new Set(["aa"]) }] })).toEqual([]);
  });
});

describe("V21: a copy that is seen", () => {
  const binding = { mailboxId: inbox, epoch: 1, uid: 3, active: true, closedReason: null, shadowFlags: [] };
  const scope = { endpointId: "e" as EndpointId, mailboxId: archive, epoch: 1 };
  const seen = (placement: PlacementView, items = [fact()]) => {
    const claim = { commandId: "c", verb: "append", opId: null, is: "copy", placement, sent: [], from: 9 } as const;
    return arrive([placement], { scope, items, preserves: false, claims: [{ ...claim, hashes: new Set(["aa"]) }] });
  };

  it("is another placement of the message, whatever became of the first", () => {
    const first = placementOf("first", { binding });
    const states = [{}, { kept: true }, { absent: true }, { lifecycle: "removed" }, { absent: true, binding: null }] as const;
    for (const state of states)
      expect(seen({ ...first, ...state })).toMatchObject({
        changes: [{ kind: "message.created", reason: "preserved_ahead", rule: "V21", messageId: "m", mailboxId: archive }],
        newMessages: [],
        newPlacements: [{ id: "p1", messageId: "m", mailboxId: archive, reason: "preserved_ahead" }],
        placements: [],
        bindings: [{ uid: 9, placementId: "p1" }],
        commands: [],
      });
  });

  it("is one: what comes beside it is what it would be without", () => {
    const gone = placementOf("first", { absent: true, binding: { ...binding, active: false } });
    const { bindings, changes } = seen(gone, [fact(), fact({ uid: 10 })]);
    expect(bindings.map(({ placementId }) => placementId)).toEqual(["p1", "first"]);
    expect(changes.map(({ kind, rule }) => `${kind} ${rule}`)).toEqual(["message.created V21", "message.moved ID-5a"]);
  });
});

describe("V21: a copy that is owed", () => {
  const live = placementOf("p");
  const owed = (placement: PlacementView | null, { status = "planned", wanted = true, attempts = 0 } = {}) =>
    reviewAppend(
      { reason: "preserved_ahead", status: status as OpenStatus, attempts, outcome: null, placement },
      { wanted, awaited: false },
    );

  it("is made of what is there, and of what a device took and is kept here", () => {
    for (const placement of [live, { ...live, kept: true }]) {
      expect(owed(placement)).toEqual({ kind: "send" });
      expect(isMoot({ verb: "append", reason: "preserved_ahead", status: "planned", placement })).toBe(false);
    }
    expect(owed(live, { attempts: 10 })).toMatchObject({ status: "failed" });
  });

  it("waits for what is missing, which may have been moved, and ends with what is gone or not wanted", () => {
    expect(owed({ ...live, absent: true })).toMatchObject({ kind: "wait", outcome: "unbound" });
    for (const placement of [null, { ...live, lifecycle: "removed" as const }])
      expect(owed(placement)).toMatchObject({ status: "superseded", outcome: "gone" });
    expect(owed(live, { wanted: false })).toMatchObject({ status: "superseded", outcome: "not_wanted" });
  });

  it("is looked for where it may have been made, wanted or not (C3)", () => {
    for (const status of ["sent", "unknown"])
      for (const placement of [null, live, { ...live, lifecycle: "removed" as const }])
        expect(owed(placement, { status, wanted: false })).toEqual({ kind: "look" });
  });
});
