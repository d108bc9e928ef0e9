/** What becomes of a planned command, as a table and as laws (semantics W1–W6, C3, C5, C9, V18). */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CommandReason, OpenStatus } from "../../src/model/command.ts";
import type { MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import type { Role } from "../../src/model/mail.ts";
import {
  afterLook,
  afterSetback,
  afterStore,
  restoreMailboxName,
  restorePlace,
  reviewAppend,
  reviewStore,
  type Setback,
  type StoreView,
} from "../../src/reconciler/commands.ts";
import type { BindingView, PlacementView } from "../../src/reconciler/state.ts";

const reason: CommandReason = "pop3_seen_reverted";
const binding: BindingView = {
  mailboxId: "x" as MailboxId,
  epoch: 0,
  uid: 7,
  active: true,
  closedReason: null,
  shadowFlags: ["\\Seen"],
};
const placement: PlacementView = {
  id: "p" as PlacementId,
  messageId: "m" as MessageId,
  mailboxId: "x" as MailboxId,
  keywords: [],
  lifecycle: "live",
  kept: false,
  absent: false,
  receivedAt: 0,
  binding,
};
const view: StoreView = {
  reason,
  status: "planned",
  attempts: 0,
  outcome: null,
  placement,
  remove: ["$seen"],
  modseq: 5n,
  permanentFlags: null,
};
const store = (over: Partial<StoreView> = {}) => reviewStore({ ...view, ...over });

describe("a store", () => {
  it("is sent while it is wanted and not so, on the condition that nothing changed (W1, W2)", () => {
    expect(store()).toEqual({ kind: "send", change: "remove", uid: 7, keywords: ["$seen"], unchangedSince: 5n });
    expect(store({ attempts: 6 })).toMatchObject({ kind: "send", unchangedSince: null });
  });

  it("ends where nobody wants it any more, or where somebody did it", () => {
    expect(store({ placement: { ...placement, keywords: ["$seen"] } })).toMatchObject({ status: "superseded" });
    const done = { ...placement, binding: { ...binding, shadowFlags: [] } };
    expect(store({ placement: done })).toMatchObject({ status: "superseded", outcome: "already_so" });
    for (const status of ["sent", "unknown"] as const)
      expect(store({ placement: done, status })).toMatchObject({ status: "confirmed", outcome: reason });
    for (const gone of [null, { ...placement, kept: true }, { ...placement, lifecycle: "removed" as const }])
      expect(store({ placement: gone })).toMatchObject({ status: "superseded", outcome: "gone" });
  });

  it("waits for an item that is missing, or is to be found in a new epoch", () => {
    expect(store({ placement: { ...placement, binding: { ...binding, active: false } } })).toMatchObject({ kind: "wait" });
  });

  it("is believed by what the item shows and by nothing else (C1)", () => {
    const said = { change: "remove", keywords: ["$seen"] } as const;
    const sent = { ...view, attempts: 1, sent: said };
    expect(afterStore(sent, { shown: ["$flagged"], conflict: true }, 10)).toMatchObject({ status: "confirmed" });
    expect(afterStore(sent, { shown: ["$seen"], conflict: true }, 10)).toMatchObject({ kind: "wait", afterMs: 0 });
    expect(afterStore(sent, { shown: ["$seen"], conflict: false }, 10)).toMatchObject({ kind: "wait", outcome: "no_effect" });
    expect(afterStore(sent, { shown: null, conflict: false }, 10)).toMatchObject({ kind: "wait", outcome: "gone" });
  });
});

describe("a store that an operation wants", () => {
  const wanting = (keywords: readonly string[], flags: readonly string[], rest: Partial<StoreView> = {}): StoreView => ({
    ...view,
    reason: "api_write",
    remove: null,
    placement: { ...placement, keywords, binding: { ...binding, shadowFlags: flags } },
    ...rest,
  });

  it("writes what differs, additions first, each direction on its own (F7)", () => {
    expect(reviewStore(wanting(["$flagged", "blue"], ["\\Seen"]))).toMatchObject({
      change: "add",
      keywords: ["$flagged", "blue"],
    });
    expect(reviewStore(wanting(["blue"], ["\\Seen", "Blue"]))).toMatchObject({ change: "remove", keywords: ["$seen"] });
    const sent = { change: "add", keywords: ["blue"] } as const;
    const both = { ...wanting(["blue"], ["\\Seen"]), sent };
    expect(afterStore(both, { shown: ["$seen", "blue"], conflict: false }, 10)).toMatchObject({ kind: "wait", progress: true });
    expect(afterStore(both, { shown: ["blue"], conflict: false }, 10)).toMatchObject({ status: "confirmed" });
  });

  it("is conditional where it could undo what somebody did (W2)", () => {
    const since = (keywords: readonly string[], flags: readonly string[]) => {
      const next = reviewStore(wanting(keywords, flags));
      return next.kind === "send" ? next.unchangedSince : undefined;
    };
    expect([since([], ["\\Seen"]), since(["$junk"], []), since([], ["$NotJunk"])]).toEqual([5n, 5n, 5n]);
    expect([since(["$seen"], []), since(["$flagged"], []), since([], ["\\Flagged"])]).toEqual([null, null, null]);
  });

  it("leaves out what the mailbox does not keep, and says so when nothing else is left", () => {
    const permanentFlags = ["\\Seen", "\\Flagged"];
    expect(reviewStore(wanting(["$seen", "blue"], [], { permanentFlags }))).toMatchObject({ keywords: ["$seen"] });
    expect(reviewStore(wanting(["blue"], [], { permanentFlags }))).toMatchObject({
      status: "masked",
      outcome: "unsupported_flag",
    });
    expect(reviewStore(wanting(["$seen"], [], { permanentFlags: [] }))).toMatchObject({
      status: "masked",
      outcome: "no_permission",
    });
    expect(reviewStore(wanting(["blue"], [], { permanentFlags: [...permanentFlags, "\\*"] }))).toMatchObject({ kind: "send" });
    const sent = { change: "add", keywords: ["$seen", "blue"] } as const;
    const half = { ...wanting(["$seen", "blue"], [], { permanentFlags }), sent };
    expect(afterStore(half, { shown: ["$seen"], conflict: false }, 10)).toMatchObject({ status: "masked", applied: true });
  });

  it("never says what is the server's own", () => {
    expect(reviewStore(wanting(["\\x", "$submitted"], []))).toMatchObject({ status: "superseded", outcome: "already_so" });
  });
});

describe("a setback", () => {
  const setbacks: readonly Setback[] = [
    "epoch",
    "no_mailbox",
    "no_permission",
    "over_quota",
    "try_later",
    "unsupported",
    "no_answer",
    "no_effect",
  ];

  it("ends every command after a bounded number of tries, but never for want of room (I16, C5)", () => {
    fc.assert(
      fc.property(fc.constantFrom(...setbacks), fc.integer({ min: 0, max: 40 }), (setback, attempts) => {
        const next = afterSetback(setback, attempts, 5000);
        if (setback === "over_quota") return next.kind === "wait";
        if (setback === "no_permission" || setback === "unsupported") return next.kind === "end" && next.status === "masked";
        return attempts >= 10 ? next.kind === "end" && next.status === "failed" : next.kind === "wait" && next.afterMs >= 5000;
      }),
    );
  });

  it("leaves open whether it was done only where no answer came (C9)", () => {
    for (const setback of setbacks) {
      const next = afterSetback(setback, 1, 5000);
      expect(next.kind === "wait" && next.unsettled).toBe(setback === "no_answer");
    }
  });
});

describe("an append", () => {
  const kept = { ...placement, kept: true };
  const append = (over: { status?: OpenStatus; attempts?: number; placement?: PlacementView | null } = {}, wanted = true) =>
    reviewAppend(
      { reason: "restored_after_drain", status: "planned", attempts: 0, outcome: null, placement: kept, ...over },
      { wanted, awaited: false },
    );

  it("is sent only when it is known that it was not done (C3)", () => {
    expect(append()).toEqual({ kind: "send" });
    expect(append({ status: "sent" })).toEqual({ kind: "look" });
    expect(append({ status: "unknown" })).toEqual({ kind: "look" });
    expect(append({ attempts: 10 })).toMatchObject({ status: "failed" });
  });

  it("is not wanted of mail that is shown again or gone", () => {
    expect(append({ placement })).toMatchObject({ status: "superseded", outcome: "reappeared" });
    expect(append({ placement: null })).toMatchObject({ status: "superseded", outcome: "gone" });
  });

  it("is not sent under a policy that does not ask for it any more, and looked for where it was sent", () => {
    expect(append({}, false)).toMatchObject({ status: "superseded", outcome: "not_wanted" });
    expect(append({ status: "sent" }, false)).toEqual({ kind: "look" });
  });

  it("of a copy waits for octets that are still to come, unless it may have been done", () => {
    const copy = { reason: "api_write", attempts: 0, outcome: null, placement: { ...placement, binding: null } } as const;
    const next = (status: OpenStatus, awaited: boolean) => reviewAppend({ ...copy, status }, { wanted: false, awaited });
    expect(next("planned", true)).toMatchObject({ kind: "wait", outcome: "not_durable", unsettled: false });
    expect(next("planned", false)).toEqual({ kind: "send" });
    expect(next("unknown", true)).toEqual({ kind: "look" });
  });

  it("of a copy waits for what is missing, or is to be found in a new epoch", () => {
    const next = (absent: boolean, closedReason: string) => {
      const gone = { ...placement, absent, binding: { ...binding, active: false, closedReason } };
      const copy = { reason: "api_write", status: "planned", attempts: 0, outcome: null, placement: gone } as const;
      return reviewAppend(copy, { wanted: false, awaited: false });
    };
    for (const found of [next(true, "absent"), next(false, "epoch")])
      expect(found).toMatchObject({ kind: "wait", outcome: "unbound" });
    expect(next(false, "expunged")).toEqual({ kind: "send" });
  });

  it("is repeated after two complete looks, and after none that was not", () => {
    expect([null, 1, 2].map((looks) => afterLook(looks, false, 10))).toMatchObject([
      { kind: "wait", unsettled: true },
      { kind: "wait", unsettled: true },
      { kind: "wait", unsettled: false, afterMs: 0 },
    ]);
    expect(afterLook(2, true, 10)).toEqual({ kind: "end", status: "failed", outcome: "not_found" });
  });

  it("V18: never goes to INBOX, whatever the mailboxes are", () => {
    const roles: (Role | null)[] = ["inbox", "archive", "trash", null];
    const paths = ["INBOX", "inbox", "Archive", restoreMailboxName, `INBOX.${restoreMailboxName}`, `Not ${restoreMailboxName}`];
    const mailbox = fc.record({
      path: fc.constantFrom(...paths),
      role: fc.constantFrom(...roles),
      selectable: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(mailbox, { maxLength: 6 }), (mailboxes) => {
        const place = restorePlace(mailboxes);
        if (place === null)
          return !mailboxes.some(
            ({ role, path, selectable }) => selectable && role === "archive" && path.toUpperCase() !== "INBOX",
          );
        const named = place.role === "archive" || !place.path.startsWith("Not");
        return place.path.toUpperCase() !== "INBOX" && place.role !== "inbox" && place.selectable && named;
      }),
    );
  });
});
