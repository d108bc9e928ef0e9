import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { defaultPolicy, type Policy } from "../../src/model/account.ts";
import { type Batch, excludesStore, hasBatchShape } from "../../src/reconciler/vanish-evidence.ts";
import {
  classifyImapVanish,
  classifyPop3Vanish,
  type ImapVanishEvidence,
  outcomeOf,
  type OutcomeInput,
  type Pop3VanishEvidence,
  type VanishAction,
  type VanishClass,
} from "../../src/reconciler/vanish-rules.ts";

const nothing: ImapVanishEvidence = {
  role: null,
  ownCommand: false,
  foundElsewhere: null,
  epochChanged: false,
  outsideWindow: false,
  breakerTripped: false,
  shownByPop3After: false,
  mailboxGone: false,
  labelRemoved: false,
  markedDeleted: false,
  atRetentionAge: false,
  drainSuspect: false,
  storeExcluded: false,
  batchShape: false,
  goneFromInboxToo: false,
  pop3Devices: "unknown",
  cutHasGaps: false,
};

/** All that speaks for a rule at once, so that each row also shows that it comes before those below it. */
const everything: ImapVanishEvidence = {
  role: "inbox",
  ownCommand: true,
  foundElsewhere: "L1",
  epochChanged: true,
  outsideWindow: true,
  breakerTripped: true,
  shownByPop3After: true,
  mailboxGone: true,
  labelRemoved: false,
  markedDeleted: true,
  atRetentionAge: true,
  drainSuspect: true,
  storeExcluded: true,
  batchShape: true,
  goneFromInboxToo: true,
  pop3Devices: "declared",
  cutHasGaps: false,
};

type Row = readonly [rule: string, name: VanishClass, confidence: number | null, unlike: Partial<ImapVanishEvidence>];

/** Top to bottom; each row takes away what the row above it needed. */
const ladder: readonly Row[] = [
  ["V1", "self", 1, {}],
  ["V2", "moved", 0.99, { ownCommand: false }],
  ["V2b", "moved", 0.97, { foundElsewhere: "L3" }],
  ["V2b", "moved", 0.9, { foundElsewhere: "L4" }],
  ["V2b", "moved", 0.8, { foundElsewhere: "L5" }],
  ["V4", "inconsistent_views", null, { foundElsewhere: null }],
  ["V5", "epoch", null, { shownByPop3After: false }],
  ["V6", "window_slide", 0.95, { epochChanged: false }],
  ["V7", "mass_vanish", null, { outsideWindow: false }],
  ["V8", "mailbox_deleted", 0.9, { breakerTripped: false }],
  ["V9", "user_expunge", 0.97, { mailboxGone: false }],
  ["V10", "retention", 0.9, { markedDeleted: false, role: "trash" }],
  ["V10", "retention", 0.6, { atRetentionAge: false }],
  ["V11", "user_expunge", 0.85, { drainSuspect: false, role: "junk" }],
  ["V12", "pop3_drain", 0.95, { role: "inbox" }],
  ["V13", "pop3_drain", 0.85, { storeExcluded: false }],
  ["V14", "pop3_drain", 0.6, { batchShape: false, pop3Devices: "learned" }],
  ["V15", "unknown", 0.5, { pop3Devices: "denied", storeExcluded: true }],
  ["V16", "pop3_drain", 0.8, { pop3Devices: "declared", role: "archive" }],
  ["V17", "user_expunge", 0.75, { goneFromInboxToo: false }],
];

describe("the reason why IMAP lacks an item", () => {
  it.for(ladder.map((row, index) => [row[0], index] as const))("%s (row %i) comes before what stands below it", ([, index]) => {
    const seen = ladder.slice(0, index + 1).reduce((so, [, , , unlike]) => ({ ...so, ...unlike }), everything);
    const [rule, name, confidence] = ladder[index] as Row;
    expect(classifyImapVanish(seen)).toEqual({ rule, class: name, confidence });
  });

  it("S105: is a label that was taken away, where the server keeps labels and shows the mail under another one (V8b)", () => {
    const found = { rule: "V8b", class: "label_removed", confidence: 0.97 } as const;
    const labelled = { ...nothing, labelRemoved: true };
    expect(classifyImapVanish(labelled)).toEqual(found);
    expect(classifyImapVanish({ ...labelled, role: "inbox", markedDeleted: true, pop3Devices: "declared" })).toEqual(found);
    expect(classifyImapVanish({ ...labelled, mailboxGone: true })).toMatchObject({ rule: "V8" });
    expect(classifyImapVanish({ ...labelled, breakerTripped: true })).toMatchObject({ rule: "V7" });
    const policy = { ...defaultPolicy, onUserExpunge: "keep" } as const;
    const asked = { found, policy, pop3Devices: "declared", drainSuspect: false, canRestore: true } as const;
    expect(outcomeOf(asked)).toEqual({ action: "remove", recoverableDays: policy.retentionDays });
  });

  it("is an ordinary deletion where nothing else was seen, in INBOX too", () => {
    expect(classifyImapVanish(nothing)).toMatchObject({ rule: "V17" });
    expect(classifyImapVanish({ ...nothing, role: "inbox", batchShape: true })).toMatchObject({ rule: "V17" });
    expect(classifyImapVanish({ ...nothing, role: "archive", goneFromInboxToo: true, pop3Devices: "learned" })).toMatchObject({
      rule: "V17",
    });
  });

  it("S135: is not asked for while POP3 shows what IMAP lacks (V4), by any policy", () => {
    const found = classifyImapVanish({ ...everything, ownCommand: false, foundElsewhere: null });
    expect(found).toEqual({ rule: "V4", class: "inconsistent_views", confidence: null });
    for (const onPop3Drain of ["keep", "mirror", "restore"] as const)
      for (const pop3Devices of ["declared", "unknown"] as const) {
        const policy = { ...defaultPolicy, onPop3Drain, onUserExpunge: "mirror", onUnknownVanish: "mirror" } as const;
        expect(outcomeOf({ found, policy, pop3Devices, drainSuspect: false, canRestore: true }).action).toBe("hold");
      }
  });

  it("is unknown when it may have gone where nobody could look (V0), but not against positive evidence", () => {
    expect(classifyImapVanish({ ...nothing, cutHasGaps: true, markedDeleted: true })).toMatchObject({
      rule: "V0",
      class: "unknown",
    });
    expect(classifyImapVanish({ ...nothing, cutHasGaps: true, foundElsewhere: "L1" })).toMatchObject({ rule: "V2" });
    expect(classifyImapVanish({ ...nothing, cutHasGaps: true, mailboxGone: true })).toMatchObject({ rule: "V8" });
  });
});

describe("the reason why POP3 lacks an item", () => {
  const lacks = (seen: Partial<Pop3VanishEvidence>) =>
    classifyPop3Vanish({
      ownCommand: false,
      foundElsewhere: null,
      epochChanged: false,
      outsideWindow: false,
      breakerTripped: false,
      imap: "none",
      ...seen,
    });

  it("is none at all while IMAP shows it (V3), and none yet until IMAP was asked (K9)", () => {
    expect(lacks({ imap: "present", breakerTripped: true })).toEqual({ rule: "V3", class: "pop3_hidden", confidence: 0.99 });
    expect(lacks({ imap: "stale", outsideWindow: true })).toMatchObject({ class: "imap_decides", rule: "K9" });
    expect(lacks({ imap: "absent" })).toMatchObject({ class: "imap_decides" });
  });

  it("is found in the order of the list where there is no IMAP", () => {
    expect(lacks({ ownCommand: true, epochChanged: true })).toMatchObject({ rule: "V1" });
    expect(lacks({ epochChanged: true, outsideWindow: true })).toMatchObject({ rule: "ID-9", class: "epoch" });
    expect(lacks({ outsideWindow: true, breakerTripped: true })).toMatchObject({ rule: "V6", class: "window_slide" });
    expect(lacks({ breakerTripped: true })).toMatchObject({ rule: "V7", class: "mass_vanish" });
    expect(lacks({})).toMatchObject({ class: "pop3_drain" });
  });
});

describe("what follows from the reason (4.5)", () => {
  const outcome = (name: VanishClass, more: Partial<OutcomeInput> & { readonly confidence?: number } = {}) => {
    const { confidence = 0.97, ...rest } = more;
    return outcomeOf({
      found: { class: name, rule: "V", confidence },
      policy: defaultPolicy,
      pop3Devices: "unknown",
      drainSuspect: false,
      canRestore: true,
      ...rest,
    });
  };
  const policy = (more: Partial<Policy>): Policy => ({ ...defaultPolicy, ...more });

  it("by default is what the table says", () => {
    const expected: Readonly<Record<VanishClass, VanishAction>> = {
      self: "settle",
      moved: "settle",
      epoch: "settle",
      inconsistent_views: "hold",
      mass_vanish: "hold",
      imap_decides: "wait",
      pop3_hidden: "close",
      window_slide: "close",
      user_expunge: "remove",
      retention: "remove",
      mailbox_deleted: "remove",
      label_removed: "remove",
      pop3_drain: "keep",
      unknown: "remove",
    };
    expect(Object.fromEntries(Object.keys(expected).map((name) => [name, outcome(name as VanishClass).action]))).toEqual(
      expected,
    );
  });

  it("of a drain is kept, removed or uploaded again, as the account says", () => {
    expect(outcome("pop3_drain", { policy: policy({ onPop3Drain: "mirror" }) }).action).toBe("remove");
    expect(outcome("pop3_drain", { policy: policy({ onPop3Drain: "restore" }) }).action).toBe("restore");
    expect(outcome("pop3_drain", { policy: policy({ onPop3Drain: "restore" }), canRestore: false }).action).toBe("keep");
    expect(outcome("retention", { drainSuspect: true }).action).toBe("keep");
  });

  it("of an unknown cause is kept where a POP3 device is to be expected, or where the account says so", () => {
    expect(outcome("unknown", { pop3Devices: "learned" }).action).toBe("keep");
    expect(outcome("unknown", { policy: policy({ onUnknownVanish: "keep" }) }).action).toBe("keep");
    expect(outcome("unknown", { pop3Devices: "declared", policy: policy({ onUnknownVanish: "mirror" }) }).action).toBe("remove");
  });

  it("can be undone for the account's days, and for ninety where the cause was a guess (I3)", () => {
    expect(outcome("user_expunge", { confidence: 0.97 }).recoverableDays).toBe(30);
    expect(outcome("user_expunge", { confidence: 0.75 }).recoverableDays).toBe(90);
    expect(outcome("unknown", { confidence: 0.95 }).recoverableDays).toBe(90);
    expect(outcome("user_expunge", { confidence: 0.75, policy: policy({ retentionDays: 365 }) }).recoverableDays).toBe(365);
  });

  it("never removes what the account wants kept, and never by a read that proves no absence", () => {
    const flags = fc.record({
      ownCommand: fc.boolean(),
      foundElsewhere: fc.constantFrom(
        null,
        "L0" as const,
        "L1" as const,
        "L2" as const,
        "L3" as const,
        "L4" as const,
        "L5" as const,
      ),
      epochChanged: fc.boolean(),
      outsideWindow: fc.boolean(),
      breakerTripped: fc.boolean(),
    });
    const imap = fc.record({
      role: fc.constantFrom(null, "inbox" as const, "trash" as const, "junk" as const, "archive" as const),
      shownByPop3After: fc.boolean(),
      mailboxGone: fc.boolean(),
      labelRemoved: fc.boolean(),
      markedDeleted: fc.boolean(),
      atRetentionAge: fc.boolean(),
      drainSuspect: fc.boolean(),
      storeExcluded: fc.boolean(),
      batchShape: fc.boolean(),
      goneFromInboxToo: fc.boolean(),
      pop3Devices: fc.constantFrom("unknown" as const, "declared" as const, "learned" as const, "denied" as const),
      cutHasGaps: fc.boolean(),
    });
    const policies = fc.record({
      onPop3Drain: fc.constantFrom("keep" as const, "mirror" as const, "restore" as const),
      onUserExpunge: fc.constantFrom("keep" as const, "mirror" as const),
      onUnknownVanish: fc.constantFrom("auto" as const, "keep" as const, "mirror" as const),
    });
    fc.assert(
      fc.property(flags, imap, policies, fc.boolean(), (common, rest, wishes, canRestore) => {
        const seen = { ...common, ...rest };
        const found = classifyImapVanish(seen);
        const { pop3Devices } = seen;
        const { action } = outcomeOf({ found, policy: policy(wishes), pop3Devices, drainSuspect: false, canRestore });
        if (seen.epochChanged || seen.breakerTripped || seen.outsideWindow || seen.shownByPop3After)
          expect(["settle", "hold", "close"]).toContain(action);
        if (found.class === "pop3_drain" && wishes.onPop3Drain !== "mirror") expect(action).not.toBe("remove");
        // A label that is taken away takes no mail: it is among all mail still (V8b).
        const keepsAll = Object.values(wishes).every((wish) => wish === "keep");
        if (keepsAll && found.class !== "label_removed") expect(action).not.toBe("remove");
      }),
      { numRuns: 3000 },
    );
  });
});

describe("items that vanished together", () => {
  const day = 86_400_000;
  const at = 100 * day;
  const vanished = (...rows: readonly (readonly [uid: number, days: number])[]): Batch["vanished"] =>
    rows.map(([uid, days]) => ({ uid, receivedAt: at - days * day, stronglySeen: false }));
  const batch = (more: Partial<Batch>): Batch => ({
    vanished: vanished([8, 1], [9, 0.5], [10, 0.1]),
    elsewhere: 0,
    highestPresent: 7,
    leftBetween: 0,
    at,
    ...more,
  });

  it("look like a drain when they are a run that ends with the newest", () => {
    expect(hasBatchShape(batch({}))).toBe(true);
    expect(hasBatchShape(batch({ highestPresent: 11 }))).toBe(false);
    expect(hasBatchShape(batch({ leftBetween: 1 }))).toBe(false);
    expect(hasBatchShape(batch({ vanished: [] }))).toBe(false);
  });

  it("look like a drain when all are of one age, and there are some", () => {
    const aged = vanished([3, 14], [4, 14.9], [6, 13.1]);
    expect(hasBatchShape(batch({ vanished: aged, highestPresent: 40, leftBetween: 1 }))).toBe(true);
    expect(hasBatchShape(batch({ vanished: aged.slice(1), highestPresent: 40 }))).toBe(false);
    expect(hasBatchShape(batch({ vanished: vanished([3, 14], [4, 17], [6, 14]), highestPresent: 40 }))).toBe(false);
    expect(hasBatchShape(batch({ vanished: vanished([3, 0.1], [4, 0.2], [6, 0.3]), highestPresent: 40 }))).toBe(false);
  });

  it("do not when a person had read one, or when other mailboxes lost mail as well", () => {
    expect(hasBatchShape(batch({ vanished: [{ uid: 8, receivedAt: at, stronglySeen: true }] }))).toBe(false);
    expect(hasBatchShape(batch({ elsewhere: 1 }))).toBe(false);
  });

  it("leave no room for a STORE only where MODSEQ counts transactions and exactly one is unexplained", () => {
    const budget = { arithmetic: "per_transaction", before: 16n, after: 18n, explained: 1 } as const;
    expect(excludesStore(budget)).toBe(true);
    expect(excludesStore({ ...budget, explained: 0 })).toBe(false);
    expect(excludesStore({ ...budget, explained: 2 })).toBe(false);
    expect(excludesStore({ ...budget, arithmetic: "unknown" })).toBe(false);
    expect(excludesStore({ ...budget, before: null })).toBe(false);
  });
});
