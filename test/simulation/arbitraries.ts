/** Plans for a run, made and made smaller by fast-check (semantics 8.2). */
import fc from "fast-check";
import type { Action } from "./devices.ts";
import type { Fault, FaultKind } from "./life.ts";
import { noQuirks, type Quirks } from "./quirks.ts";
import type { Plan } from "./world.ts";

const small = fc.nat({ max: 5 });
const flag = fc.constantFrom("\\Seen", "\\Flagged", "\\Answered", "urgent");
/** INBOX more often than others. */
const box = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: small });
/** Few contents, so that twins come. */
const content = fc.oneof({ weight: 4, arbitrary: fc.nat({ max: 30 }) }, { weight: 1, arbitrary: fc.nat({ max: 2 }) });
const flags = fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: fc.subarray(["\\Seen", "\\Flagged"]) });

const deliver = fc.record({ do: fc.constant("deliver" as const), content, box, flags });
const mark = fc.record({ do: fc.constant("mark" as const), box, item: small, flag, set: fc.boolean() });
const markAll = fc.record({ do: fc.constant("mark all" as const), box, flag, set: fc.boolean() });
const move = fc.record({ do: fc.constantFrom("move" as const, "move by copy" as const), box, item: small, to: small });
const markAndCopy = fc.record({
  do: fc.constant("mark and copy" as const),
  box,
  item: small,
  to: small,
  unmark: fc.boolean(),
});
const copy = fc.record({ do: fc.constant("copy" as const), box, item: small, to: small });
const remove = fc.record({ do: fc.constant("delete" as const), box, item: small, slow: fc.boolean() });
const goOn = fc.constant({ do: "go on" as const });
const count = fc.nat({ max: 8 });
const pop3 = fc.record({
  do: fc.constant("pop3" as const),
  retr: count,
  dele: count,
  from: fc.constantFrom("oldest" as const, "newest" as const),
});
const pop3Ends = fc.record({ do: fc.constant("pop3 ends" as const), well: fc.boolean() });
const makeMailbox = fc.record({ do: fc.constant("make mailbox" as const), name: small });
const renameMailbox = fc.record({ do: fc.constant("rename mailbox" as const), box: fc.integer({ min: 3, max: 5 }), name: small });
const newEpoch = fc.record({ do: fc.constant("new epoch" as const), box, flags: fc.boolean(), numbers: fc.boolean() });
const swapNumbers = fc.record({ do: fc.constant("swap numbers" as const), box, item: small, counted: fc.boolean() });
const loseModseqs = fc.record({ do: fc.constant("lose modseqs" as const), box });

const weigh = (...pairs: readonly (readonly [number, fc.Arbitrary<Action>])[]): fc.Arbitrary<Action> =>
  fc.oneof(...pairs.map(([weight, arbitrary]) => ({ weight, arbitrary })));

/** What IMAP clients do. */
export const imapActions = weigh(
  [4, deliver],
  [3, mark],
  [1, markAll],
  [3, move],
  [1, copy],
  [1, markAndCopy],
  [2, remove],
  [2, goOn],
);
export const pop3Actions = weigh([4, deliver], [2, mark], [2, move], [1, remove], [1, goOn], [3, pop3], [2, pop3Ends]);
const apiMarks = fc.record({
  do: fc.constant("api marks" as const),
  device: fc.nat({ max: 1 }),
  message: small,
  keyword: fc.constantFrom("$seen", "$flagged", "$answered", "urgent"),
  set: fc.boolean(),
  twice: fc.boolean(),
});
const device = fc.nat({ max: 1 });
const twice = fc.boolean();
const apiMoves = fc.record({ do: fc.constant("api moves" as const), device, message: small, to: small, copies: rarely(), twice });
const apiThrowsAway = fc.record({
  do: fc.constant("api throws away" as const),
  device,
  message: small,
  how: fc.constantFrom("delete" as const, "delete" as const, "purge" as const),
  twice,
});
const apiRestores = fc.record({ do: fc.constant("api restores" as const), device, message: small, to: small, twice });
const apiUndoes = fc.record({ do: fc.constant("api undoes" as const), device, change: small, twice });
const apiImports = fc.record({
  do: fc.constant("api imports" as const),
  device,
  content,
  to: small,
  keywords: fc.subarray(["$seen", "$flagged"]),
  twice,
});
const apiSyncs = fc.record({ do: fc.constant("api syncs" as const), device: fc.nat({ max: 1 }) });
/** What clients of the API do to mail, with clients of IMAP on the same mail. */
export const apiPlaceActions = weigh(
  [3, deliver],
  [1, mark],
  [2, move],
  [2, remove],
  [1, goOn],
  [1, apiMarks],
  [4, apiMoves],
  [2, apiThrowsAway],
  [1, apiRestores],
  [1, apiUndoes],
  [1, apiImports],
  [1, apiSyncs],
);
/** Much that is put into mailboxes, while devices do the same. */
export const apiPutActions = weigh([4, deliver], [1, move], [4, apiImports], [1, apiMoves], [1, apiSyncs]);
/** IMAP clients and clients of the API on the same mail. */
export const apiActions = weigh([3, deliver], [2, mark], [1, move], [1, remove], [1, goOn], [5, apiMarks], [1, apiSyncs]);
/** Mail that comes, and goes in every way. */
export const goingActions = weigh([6, deliver], [1, mark], [1, move], [3, remove], [2, goOn], [2, pop3], [2, pop3Ends]);
export const drainActions = weigh([3, deliver], [3, pop3], [2, pop3Ends]);
export const mailboxActions = weigh([3, imapActions], [1, makeMailbox], [1, renameMailbox]);
export const epochActions = weigh([5, imapActions], [1, newEpoch], [1, loseModseqs]);
/** Numbers that stand for other mail, while devices and clients of the API go on. */
export const swapActions = weigh([4, deliver], [3, mark], [1, move], [1, remove], [2, apiMarks], [1, apiMoves], [3, swapNumbers]);
const later = fc.constantFrom([], [{ do: "time passes", days: 0.01 }] as const);
/** A mail that comes and is moved by copying, with or without a look between two steps. */
const leaving = fc
  .tuple(deliver, later, markAndCopy, later, goOn, later, goOn, later)
  .map(([first, a, marked, b, copied, c, ended, d]): Action[] => [
    first,
    ...a,
    { ...marked, box: first.box },
    ...b,
    copied,
    ...c,
    ended,
    ...d,
  ]);
export const leavingScripts = fc
  .array(fc.oneof({ weight: 3, arbitrary: leaving }, { weight: 1, arbitrary: epochActions.map((one) => [one]) }), {
    minLength: 1,
    maxLength: 5,
  })
  .map((parts) => parts.flat());

/** Nothing is taken away, by anybody. */
export const harmlessActions = weigh(
  [4, deliver],
  [2, fc.record({ ...markOn(), set: fc.constant(true) })],
  [1, newEpoch],
  [1, loseModseqs],
);

function rarely(): fc.Arbitrary<boolean> {
  return fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) });
}

function markOn() {
  return { do: fc.constant("mark" as const), box, item: small, flag };
}

export const moveActions: fc.Arbitrary<Action> = fc.record({ do: fc.constant("move" as const), box, item: small, to: small });

const schedule = (most: number): fc.Arbitrary<number[]> => fc.array(fc.nat({ max: 14 }), { maxLength: most });

const faultBefore = (at: number, ...kinds: readonly FaultKind[]): fc.Arbitrary<Fault> =>
  fc.record({ at: fc.nat({ max: at }), kind: fc.constantFrom(...kinds) });

export const faultsOf = (...kinds: readonly FaultKind[]): fc.Arbitrary<Fault[]> =>
  fc.array(faultBefore(160, ...kinds), { maxLength: 3 });

/** Answers that are lost, and perhaps a look after that. */
export const lostAnswers: fc.Arbitrary<Fault[]> = fc
  .tuple(
    fc.array(faultBefore(30, "unanswered"), { minLength: 1, maxLength: 2 }),
    fc.array(faultBefore(80, "cut", "drop"), { maxLength: 1 }),
  )
  .map((faults) => faults.flat());

export const quirksArbitrary: fc.Arbitrary<Quirks> = fc.record({
  changes: fc.constantFrom("qresync" as const, "qresync" as const, "condstore" as const, "full" as const),
  push: fc.constantFrom("notify" as const, "idle" as const, "poll" as const),
  uidplus: fc.boolean(),
  keywords: fc.constantFrom("any" as const, "any" as const, "none" as const),
  retrSeen: fc.constantFrom("session_end" as const, "no" as const, "per_message" as const),
  deleEffect: fc.constantFrom("expunge" as const, "expunge" as const, "move_to_trash" as const, "hide" as const),
  uidl: fc.constantFrom("hex" as const, "dotted" as const, "uid" as const, "guid" as const),
  window: fc.constant(0),
  top: fc.boolean(),
  deafStore: rarely(),
  nilBody: rarely(),
  endlessUidl: rarely(),
  objectIds: fc.constantFrom("none" as const, "none" as const, "own" as const, "same" as const),
});

/** Of mail that was never had nothing can be told, wherever it is seen again. */
export const givingQuirks = quirksArbitrary.map((quirks): Quirks => ({ ...quirks, nilBody: false }));

export const planOf = (parts: {
  readonly actions: fc.Arbitrary<Action>;
  readonly most?: number;
  readonly faults?: fc.Arbitrary<Fault[]>;
  readonly quirks?: fc.Arbitrary<Quirks>;
  readonly policy?: fc.Arbitrary<Plan["policy"]>;
  readonly protocols?: Plan["protocols"];
  readonly undisturbed?: boolean;
}): fc.Arbitrary<Plan> => {
  const { actions, most = 14, faults = fc.constant([]), quirks = fc.constant(noQuirks), policy = fc.constant({}) } = parts;
  return fc.record({
    script: fc.array(actions, { minLength: 1, maxLength: most }),
    schedule: schedule(60),
    faults,
    quirks,
    policy,
    protocols: fc.constant(parts.protocols ?? (["imap"] as const)),
    undisturbed: fc.constant(parts.undisturbed ?? false),
  });
};
