import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { defaultPolicy } from "../../src/model/account.ts";
import type { SecondView } from "../../src/reconciler/second-view.ts";
import { type Candidate, type CutView, resolveCandidates, type ResolveInput } from "../../src/reconciler/vanish.ts";

const cutAt = (at: number, more: Partial<CutView> = {}): CutView => ({
  batchShape: false,
  inboxLost: new Set(),
  secondViews: new Map(),
  unwell: false,
  account: { candidates: 0, live: 1_000_000 },
  keepsLabels: false,
  trashDays: null,
  at,
  ...more,
});

describe("candidates in one mailbox", () => {
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
    mailboxGone: false,
    shownElsewhere: false,
    cameAt: null,
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
      lately: 0,
      epoch: 1,
      hold: null,
      decided: null,
      dispute: null,
      cut: cutAt(6 * 3_600_000),
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

  it.each(["trash", "junk"] as const)("B1: holds nothing of %s, from which mail is expected to go", (role) => {
    const candidates = Array.from({ length: 25 }, (_, n) => candidate(n, { role }));
    expect(resolve({ candidates })).toMatchObject({ held: 0, changes: { length: 25 } });
  });

  it("V1 V19: keeps here what we removed there, whatever the policy, and holds none of it", () => {
    const candidates = Array.from({ length: 25 }, (_, n) => candidate(n, { ownCommand: true }));
    const { held, changes, placements } = resolve({ candidates, policy: { ...defaultPolicy, onUserExpunge: "mirror" } });
    expect([held, new Set(changes.map(({ kind, rule }) => `${kind} ${rule}`))]).toEqual([0, new Set(["message.kept V1"])]);
    expect(placements.every(({ lifecycle, kept }) => lifecycle === "live" && kept)).toBe(true);
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

  it("B1: are what somebody says that they are: gone, or not to be believed", () => {
    const hold = { epoch: 1, from: 0, cuts: [] };
    const said = (decided: ResolveInput["decided"]) => {
      const { held, changes } = resolve({ hold, decided });
      return [held, ...new Set(changes.map(({ kind, reason, rule }) => `${kind} ${reason} ${rule}`))];
    };
    expect(said(null)).toEqual([25]);
    expect(said("approved")).toEqual([0, "message.removed user_expunge V17"]);
    expect(said("rejected")).toEqual([0, "message.kept mass_vanish_rejected B1"]);
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
      evidence: [{ seen: { drainSuspect: true } }],
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
    const first = resolve({ candidates: lost, live: 160, cut: cutAt(0) });
    expect(first).toMatchObject({ held: 60, changes: [], placements: [] });
    const hold = { epoch: 1, from: 0, cuts: [0] };
    expect(resolve({ candidates: lost, live: 160, hold })).toMatchObject({ held: 60, changes: [], placements: [] });
  });

  const seenAs = (candidates: readonly Candidate[], view: SecondView) => new Map(candidates.map(({ id }) => [id, view] as const));

  it("wait for a mailbox that is held, where they may lie in it (V0), but not what we removed ourselves", () => {
    const [there, gone, ours] = [candidate(1), candidate(2), candidate(3, { ownCommand: true })];
    const cut = cutAt(0, { unread: new Set([there.id, ours.id]) });
    const { awaited, changes } = resolve({ candidates: [there, gone, ours], cut });
    expect([awaited, changes.map(({ placementId }) => placementId)]).toEqual([1, [gone.id, ours.id]]);
  });

  it("B1: are no mass where most of them may lie in a mailbox that is held", () => {
    const lost = Array.from({ length: 60 }, (_, n) => candidate(n));
    const unread = new Set(lost.slice(5).map(({ id }) => id));
    expect(resolve({ candidates: lost, live: 160, cut: cutAt(0, { unread }) })).toMatchObject({ held: 0, awaited: 55 });
  });

  it("B1 V0: are told of where they are many, and wait, while a mailbox that is held tells nothing", () => {
    const lost = [candidate(0, { ownCommand: true }), ...Array.from({ length: 60 }, (_, n) => candidate(n + 1))];
    const of = (count: number, rest: Partial<ResolveInput> = {}) => {
      const { held, awaited, changes } = resolve({
        candidates: lost.slice(0, count + 1),
        live: 160,
        cut: cutAt(7 * 3_600_000, { blind: true }),
        ...rest,
      });
      return [held, awaited, changes.length];
    };
    expect(of(5)).toEqual([0, 5, 1]);
    expect(of(60)).toEqual([60, 0, 1]);
    const hold = { epoch: 1, from: 0, cuts: [0, 3_600_000] };
    expect(of(5, { hold })).toEqual([5, 0, 1]);
    for (const decided of ["approved", "rejected"] as const) expect(of(60, { hold, decided })).toEqual([0, 60, 1]);
  });

  it("S135: are disputed while the maildrop shows them (V4), and wait until it was listed", () => {
    const three = [candidate(1), candidate(2), candidate(3, { markedDeleted: true })];
    const about = (view: SecondView) => resolve({ candidates: three, cut: cutAt(0, { secondViews: seenAs(three, view) }) });
    expect(about("shown")).toMatchObject({ disputed: 3, awaited: 0, held: 0, changes: [], placements: [] });
    expect(about("awaited")).toMatchObject({ disputed: 0, awaited: 3, held: 0, changes: [], placements: [] });
    for (const view of ["lacking", "unheard"] as const) {
      const { changes, ...rest } = about(view);
      expect(rest).toMatchObject({ disputed: 0, awaited: 0, held: 0 });
      expect(changes.map(({ kind, rule }) => `${kind} ${rule}`)).toEqual([
        "message.removed V17",
        "message.removed V17",
        "message.removed V9",
      ]);
      for (const { evidence } of changes) expect(evidence).toMatchObject([{ maildrop: view }]);
    }
  });

  it("V4: are kept in the end where the views disagreed and one is not heard any more", () => {
    const one = [candidate(1)];
    const cut = cutAt(0, { secondViews: seenAs(one, "unheard") });
    const { changes } = resolve({ candidates: one, dispute: "open", cut });
    expect(changes).toMatchObject([{ kind: "message.kept", reason: "inconsistent_views_released", rule: "V4" }]);
  });

  it("V4: are what somebody says that they are", () => {
    const one = [candidate(1)];
    const said = (dispute: "approved" | "rejected") =>
      resolve({ candidates: one, dispute, cut: cutAt(0, { secondViews: seenAs(one, "shown") }) }).changes;
    expect(said("approved")).toMatchObject([{ kind: "message.removed", reason: "user_expunge", rule: "V17" }]);
    expect(said("rejected")).toMatchObject([{ kind: "message.kept", reason: "inconsistent_views_rejected", rule: "V4" }]);
  });

  it("V4: are never touched while the maildrop shows them or was not listed, and else what they are without it", () => {
    const views = fc.constantFrom<SecondView>("none", "awaited", "shown", "lacking", "unheard");
    const some = fc.array(
      fc.record({
        view: views,
        markedDeleted: fc.boolean(),
        durable: fc.boolean(),
        role: fc.constantFrom<Candidate["role"]>("inbox", "trash", null),
        ownCommand: fc.boolean(),
      }),
      { minLength: 1, maxLength: 30 },
    );
    const policies = fc.record({
      onPop3Drain: fc.constantFrom("keep", "mirror", "restore"),
      onUserExpunge: fc.constantFrom("keep", "mirror"),
      onUnknownVanish: fc.constantFrom("auto", "keep", "mirror", "restore"),
    });
    const devices = fc.constantFrom<ResolveInput["pop3Devices"]>("unknown", "declared", "learned");
    fc.assert(
      fc.property(some, policies, devices, fc.constantFrom("open" as const, null), (seen, policy, pop3Devices, dispute) => {
        const all = seen.map(({ view: _, ...more }, n) => candidate(n, more));
        const secondViews = new Map(all.map(({ id }, n) => [id, seen[n]?.view ?? "none"] as const));
        const about = { candidates: all, live: 100, policy: { ...defaultPolicy, ...policy } as never, pop3Devices, dispute };
        const decided = resolve({ ...about, cut: cutAt(0, { secondViews }) });
        const without = resolve({ ...about, cut: cutAt(0) });
        const what = new Map(without.placements.map(({ id, ...rest }) => [id, `${rest.lifecycle} ${rest.reason}`]));
        const became = new Map(decided.placements.map(({ id, ...rest }) => [id, `${rest.lifecycle} ${rest.reason}`]));
        for (const { id, ownCommand } of all) {
          const view = secondViews.get(id);
          const open = (view === "shown" || view === "awaited") && !ownCommand;
          if (open) expect(became.has(id)).toBe(false);
          else if (view === "unheard" && dispute !== null)
            expect(became.get(id)?.startsWith("removed user_expunge") ?? false).toBe(false);
          else expect(became.get(id)).toBe(what.get(id));
        }
        expect(decided.placements.length + decided.held + decided.disputed + decided.awaited).toBe(all.length);
      }),
      { numRuns: 500 },
    );
  });

  it("B2: are held by half as many where something was not well", () => {
    const twelve = Array.from({ length: 12 }, (_, n) => candidate(n));
    expect(resolve({ candidates: twelve, live: 60 })).toMatchObject({ held: 0, changes: { length: 12 } });
    expect(resolve({ candidates: twelve, live: 60, cut: cutAt(0, { unwell: true }) })).toMatchObject({ held: 12, changes: [] });
  });

  it("B1: are held where little of each mailbox is gone, but much of the account", () => {
    const ten = Array.from({ length: 10 }, (_, n) => candidate(n));
    expect(resolve({ candidates: ten, live: 100 })).toMatchObject({ held: 0, changes: { length: 10 } });
    const cut = cutAt(0, { account: { candidates: 60, live: 600 } });
    expect(resolve({ candidates: ten, live: 100, cut })).toMatchObject({ held: 10, changes: [] });
  });

  it("B1: are held with what was removed shortly before", () => {
    const five = Array.from({ length: 5 }, (_, n) => candidate(n));
    expect(resolve({ candidates: five, live: 40, lately: 14 })).toMatchObject({ held: 0, changes: { length: 5 } });
    expect(resolve({ candidates: five, live: 40, lately: 15 })).toMatchObject({ held: 5, changes: [] });
    // The last five of ten.
    expect(resolve({ candidates: five, live: 5, lately: 5 })).toMatchObject({ held: 5, changes: [] });
  });

  it("S59: of a mailbox that is gone are removed with it or kept (V8), and are counted (B1)", () => {
    const five = Array.from({ length: 5 }, (_, n) => candidate(n, { mailboxGone: true, role: null, markedDeleted: n === 0 }));
    const stories = (more: Partial<ResolveInput>) =>
      new Set(
        resolve({ candidates: five, live: 5, ...more }).changes.map(
          ({ kind, reason, rule, confidence }) => `${kind} ${reason} ${rule} ${confidence}`,
        ),
      );
    expect(stories({})).toEqual(new Set(["message.removed mailbox_deleted V8 0.9"]));
    expect(stories({ policy: { ...defaultPolicy, onUserExpunge: "keep" } })).toEqual(
      new Set(["message.kept mailbox_deleted V8 0.9"]),
    );
    const ten = Array.from({ length: 10 }, (_, n) => candidate(n, { mailboxGone: true, role: null }));
    expect(resolve({ candidates: ten, live: 10 })).toMatchObject({ held: 10, changes: [] });
  });

  it("S105: of a label are removed as such only where the server keeps labels, and the mail is under another one", () => {
    const rules = (shownElsewhere: boolean, keepsLabels: boolean) =>
      resolve({
        candidates: [candidate(1, { role: "inbox", shownElsewhere })],
        cut: { ...cutAt(1), keepsLabels },
      }).changes.map(({ kind, reason, rule }) => `${kind} ${reason} ${rule}`);
    expect(rules(true, true)).toEqual(["message.removed label_removed V8b"]);
    expect(rules(true, false)).toEqual(["message.removed user_expunge V17"]);
    expect(rules(false, true)).toEqual(["message.removed user_expunge V17"]);
  });

  it("V10: of Trash are what the server removes by age, where they were there so long, and of nothing else", () => {
    const day = 86_400_000;
    const cut = cutAt(100 * day, { trashDays: 30 });
    const rules = (more: Partial<Candidate>, over: CutView = cut) =>
      resolve({ candidates: [candidate(1, { role: "trash", cameAt: 71 * day, ...more })], cut: over }).changes.map(
        ({ rule }) => rule,
      );
    expect(rules({})).toEqual(["V10"]);
    expect(rules({ role: "junk" })).toEqual(["V10"]);
    expect(rules({ cameAt: 71 * day + 1 })).toEqual(["V11"]);
    expect(rules({ cameAt: null })).toEqual(["V11"]);
    expect(rules({ markedDeleted: true })).toEqual(["V9"]);
    expect(rules({ role: "archive" })).toEqual(["V17"]);
    expect(rules({}, { ...cut, trashDays: null })).toEqual(["V11"]);
  });

  it("S26: keeps what a POP3 device removed everywhere at once (V16)", () => {
    const cut = { ...cutAt(0), inboxLost: new Set([candidate(1).messageId]) };
    const filed = (n: number, pop3Devices: ResolveInput["pop3Devices"]) =>
      resolve({ candidates: [candidate(n, { role: null })], cut, pop3Devices }).changes[0];
    expect(filed(1, "declared")).toMatchObject({ kind: "message.kept", reason: "pop3_drain", rule: "V16", confidence: 0.8 });
    expect(filed(2, "declared")).toMatchObject({ kind: "message.removed", rule: "V17" });
    expect(filed(1, "unknown")).toMatchObject({ kind: "message.removed", rule: "V17" });
  });
});
