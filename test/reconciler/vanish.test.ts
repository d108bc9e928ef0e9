import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { defaultPolicy } from "../../src/model/account.ts";
import { type Candidate, resolveCandidates, type ResolveInput } from "../../src/reconciler/vanish.ts";
import { excludesStoreIn, learnArithmetic, type ModseqStep } from "../../src/reconciler/vanish-evidence.ts";

describe("the steps of a server's mod-sequences", () => {
  const marked = { modseq: 11n, flags: ["\\Deleted"] };
  const step = (more: Partial<ModseqStep>): ModseqStep => ({
    before: 10n,
    after: 11n,
    arrived: 0,
    changed: [],
    vanished: 0,
    vanishedMarked: 0,
    ...more,
  });
  const learned = { store: true, expunge: true };
  const drained = step({ vanished: 3 });

  it("are learned from a change of flags and from an expunge of what was marked before", () => {
    const afterStore = learnArithmetic({}, step({ changed: [marked] }));
    expect(afterStore).toEqual({ store: true });
    expect(excludesStoreIn(afterStore, drained)).toBe(false);
    const both = learnArithmetic(afterStore, step({ vanished: 2, vanishedMarked: 2 }));
    expect(both).toEqual(learned);
    expect(excludesStoreIn(both, drained)).toBe(true);
  });

  it("say nothing of a removal that took two, that came with mail, or that was marked together with what is still there", () => {
    expect(excludesStoreIn(learned, { ...drained, after: 12n })).toBe(false);
    expect(excludesStoreIn(learned, { ...drained, arrived: 1 })).toBe(false);
    expect(excludesStoreIn(learned, { ...drained, after: 12n, changed: [marked] })).toBe(false);
    expect(excludesStoreIn(learned, { ...drained, after: 12n, changed: [{ modseq: 11n, flags: ["\\Seen"] }] })).toBe(true);
    expect(excludesStoreIn(learned, { ...drained, after: null })).toBe(false);
  });

  it("are never believed again on a server that expunges without a step", () => {
    const refuted = learnArithmetic(learned, step({ after: 10n, vanished: 1 }));
    expect(excludesStoreIn(refuted, drained)).toBe(false);
    expect(learnArithmetic(refuted, step({ changed: [marked] }))).toEqual(refuted);
  });

  it("exclude no STORE that an IMAP client made, whatever else it did meanwhile, where every transaction is a step", () => {
    const action = fc.record({ kind: fc.constantFrom("flag", "delete", "mark", "arrive"), item: fc.nat(9), also: fc.nat(9) });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 6 }), (actions) => {
        let modseq = 10n;
        let arrived = 0;
        const shown = new Map<number, { modseq: bigint; flags: string[] }>();
        const gone = new Set<number>();
        for (const { kind, item, also } of actions) {
          if (kind === "arrive") arrived += 1;
          modseq += 1n;
          if (kind === "arrive" || gone.has(item)) continue;
          if (kind === "flag") shown.set(item, { modseq, flags: shown.get(item)?.flags ?? [] });
          else shown.set(item, { modseq, flags: ["\\Deleted"] });
          if (kind !== "delete") continue;
          // One STORE for two, and an EXPUNGE of one of them.
          if (also !== item && !gone.has(also)) shown.set(also, { modseq, flags: ["\\Deleted"] });
          modseq += 1n;
          gone.add(item);
          shown.delete(item);
        }
        const seen = step({ after: modseq, arrived, changed: [...shown.values()], vanished: gone.size });
        if (gone.size > 0) expect(excludesStoreIn(learned, seen)).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("a breaker in one mailbox", () => {
  const candidate = (n: number, more: Partial<Candidate> = {}): Candidate => ({
    id: `p${n}` as Candidate["id"],
    messageId: `m${n}` as Candidate["messageId"],
    mailboxId: "in" as Candidate["mailboxId"],
    keywords: [],
    lifecycle: "live",
    kept: false,
    absent: true,
    receivedAt: 0,
    binding: {
      mailboxId: "in" as Candidate["mailboxId"],
      epoch: 1,
      uid: n,
      active: false,
      closedReason: "absent",
      shadowFlags: [],
    },
    role: "inbox",
    ownCommand: false,
    markedDeleted: false,
    drainSuspect: false,
    absentSince: 0,
    trace: null,
    durable: true,
    restorable: true,
    ...more,
  });
  const resolve = (more: Partial<ResolveInput>) =>
    resolveCandidates({
      endpointId: "e" as ResolveInput["endpointId"],
      candidates: Array.from({ length: 25 }, (_, n) => candidate(n)),
      live: 30,
      epoch: 1,
      hold: null,
      decided: null,
      cut: { batchShape: false, inboxLost: new Set(), at: 6 * 3_600_000 },
      policy: defaultPolicy,
      pop3Devices: "unknown",
      mayRestore: true,
      ...more,
    });

  it("holds what would be removed, and lets go of what was seen marked as deleted", () => {
    expect(resolve({})).toMatchObject({ held: 25, changes: [] });
    const marked = Array.from({ length: 25 }, (_, n) => candidate(n, { markedDeleted: true }));
    expect(resolve({ candidates: marked })).toMatchObject({ held: 0, changes: { length: 25 } });
    const mixed = [...marked.slice(0, 20), ...Array.from({ length: 24 }, (_, n) => candidate(30 + n))];
    const { held, changes } = resolve({ candidates: mixed, live: 44 });
    expect([held, changes.length]).toEqual([24, 20]);
  });

  it("holds nothing that is kept anyway, as where a POP3 device empties INBOX", () => {
    const { held, changes } = resolve({ pop3Devices: "learned" });
    expect(held).toBe(0);
    expect(new Set(changes.map(({ kind, reason, rule }) => `${kind} ${reason} ${rule}`))).toEqual(
      new Set(["message.kept pop3_drain V14"]),
    );
  });

  it("ends in keeping, never in removing, and holds on to the rest while it lasts", () => {
    const hold = { epoch: 1, from: 0, cuts: [0, 900_000] };
    const late = Array.from({ length: 3 }, (_, n) => candidate(50 + n, { absentSince: 3_600_000 }));
    const { held, changes, placements } = resolve({
      hold,
      candidates: [...Array.from({ length: 25 }, (_, n) => candidate(n)), ...late],
    });
    expect([held, changes.length]).toEqual([3, 25]);
    expect(
      changes.every(({ kind, reason, rule }) => kind === "message.kept" && reason === "mass_vanish_released" && rule === "B1"),
    ).toBe(true);
    expect(placements.every(({ lifecycle, kept }) => lifecycle === "live" && kept)).toBe(true);
    expect(resolve({ hold, candidates: late })).toMatchObject({ held: 3, changes: [] });
  });

  it("S27: hints at a device where nobody had marked what left INBOX as deleted (V15), and can undo for long", () => {
    const trace = { newBelow: 9, storeExcluded: true };
    expect(resolve({ candidates: [candidate(1, { trace })] })).toMatchObject({
      hinted: true,
      changes: [
        {
          kind: "message.removed",
          reason: "unknown",
          rule: "V15",
          confidence: 0.5,
          evidence: [{ hint: "possible_pop3_or_webmail" }],
        },
      ],
      placements: [{ lifecycle: "removed", recoverableDays: 90 }],
    });
    expect(resolve({ candidates: [candidate(1, { trace })], pop3Devices: "declared" })).toMatchObject({
      hinted: false,
      changes: [{ rule: "V12", confidence: 0.95 }],
    });
  });

  it("S10: what a POP3 device sent to Trash is kept when its stay there ends, unless it was marked as deleted", () => {
    const trashed = (more: Partial<Candidate> = {}) =>
      resolve({ candidates: [candidate(1, { role: "trash", drainSuspect: true, ...more })], pop3Devices: "declared" }).changes[0];
    expect(trashed()).toMatchObject({
      kind: "message.kept",
      reason: "retention",
      rule: "V10",
      confidence: 0.6,
      evidence: [{ drainSuspect: true }],
    });
    expect(trashed({ markedDeleted: true })).toMatchObject({ kind: "message.removed", rule: "V9" });
    expect(trashed({ drainSuspect: false })).toMatchObject({ kind: "message.removed", rule: "V11" });
  });

  it("S06: keeps nothing of what went before its octets were there, and says so", () => {
    const reasons = (["declared", "unknown"] as const).flatMap((pop3Devices) =>
      resolve({ candidates: [candidate(1, { durable: false, restorable: false })], pop3Devices }).changes.map(
        ({ kind, reason }) => `${kind} ${reason}`,
      ),
    );
    expect(reasons).toEqual(Array(2).fill("message.removed lost_before_durable"));
    const stubs = Array.from({ length: 25 }, (_, n) => candidate(n, { durable: false, restorable: false }));
    expect(resolve({ candidates: stubs })).toMatchObject({ held: 25, changes: [] });
  });

  it("S135: decides nothing about 60 of 160 that a look lacks, nor six hours later when one more lacks them", () => {
    const lost = Array.from({ length: 60 }, (_, n) => candidate(n));
    const first = resolve({ candidates: lost, live: 160, cut: { batchShape: false, inboxLost: new Set(), at: 0 } });
    expect(first).toMatchObject({ held: 60, changes: [], placements: [] });
    const hold = { epoch: 1, from: 0, cuts: [0] };
    expect(resolve({ candidates: lost, live: 160, hold })).toMatchObject({ held: 60, changes: [], placements: [] });
  });

  it("S26: keeps what a POP3 device removed everywhere at once (V16)", () => {
    const cut = { batchShape: false, inboxLost: new Set([candidate(1).messageId]), at: 0 };
    const filed = (n: number, pop3Devices: ResolveInput["pop3Devices"]) =>
      resolve({ candidates: [candidate(n, { role: null })], cut, pop3Devices }).changes[0];
    expect(filed(1, "declared")).toMatchObject({ kind: "message.kept", reason: "pop3_drain", rule: "V16", confidence: 0.8 });
    expect(filed(2, "declared")).toMatchObject({ kind: "message.removed", rule: "V17" });
    expect(filed(1, "unknown")).toMatchObject({ kind: "message.removed", rule: "V17" });
  });
});
