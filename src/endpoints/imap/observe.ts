/**
 * One look at one mailbox: by QRESYNC (RFC 7162 3.2) where the server has it, by CHANGEDSINCE where it keeps mod-sequences,
 * by a listing of all UIDs and flags where it keeps none or where its numbers do not add up (gates G1, G5, G6).
 */
import type { FlagsFact, MailboxCursor, MailboxObservation, ObserveRequest } from "../../model/observation.ts";
import { type Examined, examine } from "./examine.ts";
import { nameArguments } from "./names.ts";
import { fetchLineOf, type Line, listOf, textOf, uint32Of } from "./tokens.ts";
import { searchUids, untilWhole } from "./uid-search.ts";
import type { Handlers, Wire } from "./wire.ts";

const commandMs = 60_000;
/** Time a server gets for each message of a listing, in milliseconds, on top of that. */
const perMessageMs = 2;
/** A listing cut through by somebody else's expunge is made once more. */
const tries = 2;

type Facts = Pick<MailboxObservation, "flags" | "vanished" | "present" | "method">;

const atom = (value: string) => ({ type: "ATOM", value });
const sequence = (value: string) => ({ type: "SEQUENCE", value });

const byUid = (a: { readonly uid: number }, b: { readonly uid: number }): number => a.uid - b.uid;

const collectFlags = (facts: Map<number, FlagsFact>): Handlers => ({
  FETCH: (line) => {
    const { uid, flags, modseq } = fetchLineOf(line);
    if (uid !== null && flags !== null) facts.set(uid, { uid, flags, modseq });
    return Promise.resolve();
  },
});

/**
 * The listed UIDs that are everything the mailbox held when it was opened (G1), less what arrived since; null when they
 * are not. A server whose UIDNEXT is too low (seen) is taken at its count, if nothing arrived meanwhile.
 */
const wholeOf = (opened: Examined, uids: readonly number[]): readonly number[] | null => {
  const { exists, uidNext, view } = opened;
  const before = uidNext === null ? uids : uids.filter((uid) => uid < uidNext);
  if (before.length === exists) return before;
  return uids.length === exists && view.exists === exists ? uids : null;
};

class Look {
  readonly #wire: Wire;
  readonly #signal: AbortSignal;
  readonly #opened: Examined;
  readonly #removals: number;

  constructor(wire: Wire, opened: Examined, signal: AbortSignal) {
    this.#wire = wire;
    this.#signal = signal;
    this.#opened = opened;
    this.#removals = wire.removals;
  }

  get #ms(): number {
    return commandMs + this.#opened.exists * perMessageMs;
  }

  get #undisturbed(): boolean {
    return this.#wire.removals === this.#removals;
  }

  /** Items up to a UID. */
  async #fetch(last: number | "*", attributes: readonly unknown[], untagged: Handlers): Promise<boolean> {
    const whole = await untilWhole((below) => {
      const set = sequence(`1:${below === null ? last : below - 1}`);
      return this.#wire.command("UID FETCH", [set, ...attributes], { untagged, ms: this.#ms, signal: this.#signal });
    });
    return whole && this.#undisturbed;
  }

  /** Flags of everything in the mailbox; `present` is null when the listing cannot be taken for whole. */
  async everything(): Promise<{ readonly flags: FlagsFact[]; readonly present: readonly number[] | null }> {
    const facts = new Map<number, FlagsFact>();
    if (this.#opened.exists === 0) return { flags: [], present: [] };
    const clean = await this.#fetch("*", [[atom("UID"), atom("FLAGS")]], collectFlags(facts));
    const flags = [...facts.values()].sort(byUid);
    const present = clean
      ? wholeOf(
          this.#opened,
          flags.map(({ uid }) => uid),
        )
      : null;
    return { flags: present === null ? flags : flags.slice(0, present.length), present };
  }

  /** All UIDs, without their flags; null when they cannot be taken for all. */
  async uids(): Promise<readonly number[] | null> {
    if (this.#opened.exists === 0) return [];
    const { uids, whole } = await searchUids(this.#wire, [atom("ALL")], { ms: this.#ms, signal: this.#signal });
    return whole && this.#undisturbed ? wholeOf(this.#opened, uids) : null;
  }

  async changesSince(cursor: MailboxCursor): Promise<FlagsFact[]> {
    const facts = new Map<number, FlagsFact>();
    if (cursor.uidNext <= 1 || cursor.highestModseq === null) return [];
    const changedSince = [atom("CHANGEDSINCE"), atom(cursor.highestModseq.toString())];
    await this.#fetch(cursor.uidNext - 1, [[atom("UID"), atom("FLAGS")], changedSince], collectFlags(facts));
    return [...facts.values()].filter(({ uid }) => uid < cursor.uidNext).sort(byUid);
  }
}

/** G5: is this the same life of the mailbox as the cursor's? */
const sameEpoch = (opened: Examined, since: MailboxCursor): boolean => {
  const { view, uidNext, highestModseq } = opened;
  if (view.uidValidity !== since.uidValidity) return false;
  if (uidNext !== null && uidNext < since.uidNext) return false;
  return highestModseq === null || since.highestModseq === null || highestModseq >= since.highestModseq;
};

/** G6: what EXISTS must be if nothing was missed; null when it cannot be said. Assumes that no arrival is gone again. */
const expectedCount = (opened: Examined, request: ObserveRequest, since: MailboxCursor, vanished: number): number | null =>
  request.boundCount === null || opened.uidNext === null
    ? null
    : request.boundCount - vanished + (opened.uidNext - since.uidNext);

const listed = async (look: Look, since: MailboxCursor | null): Promise<Facts> => {
  const { flags, present } = await look.everything();
  const below = since?.uidNext ?? Number.POSITIVE_INFINITY;
  return { method: "full", flags: flags.filter(({ uid }) => uid < below), vanished: [], present };
};

const increment = async (look: Look, opened: Examined, request: ObserveRequest, since: MailboxCursor): Promise<Facts> => {
  const method = opened.changes === null ? "condstore" : "qresync";
  const quiet = opened.highestModseq === since.highestModseq;
  const { flags, vanished } = opened.changes ?? { flags: quiet ? [] : await look.changesSince(since), vanished: [] };
  const expected = expectedCount(opened, request, since, vanished.length);
  if (expected === null || expected === opened.exists) return { method, flags, vanished, present: null };
  // An arrival may be gone again, or (without QRESYNC) something older: all UIDs tell, for a few bytes.
  const present = await look.uids();
  if (method === "condstore" || present === null) return { method, flags, vanished, present };
  const below = present.filter((uid) => uid < since.uidNext).length;
  if (below === (request.boundCount ?? 0) - vanished.length) return { method, flags, vanished, present };
  // The server's account of its changes does not add up: it is not to be trusted with flags either.
  return listed(look, since);
};

/** UIDNEXT where EXAMINE does not tell it (Courier): STATUS, else one past the highest UID. */
const learnUidNext = async (wire: Wire, opened: Examined, signal: AbortSignal): Promise<number> => {
  let uidNext: number | null = null;
  const STATUS = (line: Line): Promise<void> => {
    const items = listOf(line.attributes?.[1]) ?? [];
    const at = items.findIndex((token) => textOf(token)?.toUpperCase() === "UIDNEXT");
    uidNext ??= at < 0 ? null : uint32Of(items[at + 1]);
    return Promise.resolve();
  };
  const [name] = nameArguments(opened.view.path, wire.client);
  await wire.command("STATUS", [name, [atom("UIDNEXT")]], { untagged: { STATUS }, ms: commandMs, signal });
  if (uidNext !== null || opened.exists === 0) return uidNext ?? 1;
  const facts = new Map<number, FlagsFact>();
  await wire.command("UID FETCH", [sequence("*"), [atom("UID"), atom("FLAGS")]], {
    untagged: collectFlags(facts),
    ms: commandMs,
    signal,
  });
  return Math.max(0, ...facts.keys()) + 1;
};

const open = async (wire: Wire, request: ObserveRequest, signal: AbortSignal): Promise<Examined> => {
  const opened = await examine(wire, request.path, request.since, signal);
  if (opened.uidNext !== null) return opened;
  const told = await learnUidNext(wire, opened, signal);
  const { since } = request;
  const uidNext = since !== null && since.uidValidity === opened.view.uidValidity ? Math.max(told, since.uidNext) : told;
  const view = { ...opened.view, uidNext };
  wire.view = view;
  return { ...opened, view, uidNext };
};

/** A UIDNEXT below a UID that is there (seen) would lose that message: one past the highest UID is told instead. */
const soundUidNext = (opened: Examined, facts: Facts): number =>
  Math.max(opened.view.uidNext, (facts.present?.at(-1) ?? 0) + 1, (facts.flags.at(-1)?.uid ?? 0) + 1);

/** Numbers that end with the session tell of no absence: the next look may show the same item under another one. */
const lasting = (facts: Facts, { numbersLast }: Examined): Facts =>
  numbersLast ? facts : { ...facts, vanished: [], present: null };

/**
 * Looks at the mailbox once; nothing in it changes.
 * `permanentFlags` is what the server tells under EXAMINE, where many tell none.
 * @throws what the connection throws, to be classified.
 */
export const observe = async (wire: Wire, request: ObserveRequest, signal: AbortSignal): Promise<MailboxObservation> => {
  for (let attempt = 1; ; attempt++) {
    const startedAt = new Date();
    const opened = await open(wire, request, signal);
    const look = new Look(wire, opened, signal);
    const since = request.since !== null && sameEpoch(opened, request.since) ? request.since : null;
    const numbered = since !== null && since.highestModseq !== null && opened.highestModseq !== null;
    const removals = wire.removals;
    const facts = numbered ? await increment(look, opened, request, since) : await listed(look, since);
    if (wire.removals !== removals && facts.present === null && attempt < tries) continue;
    const { exists, highestModseq, permanentFlags, numbersLast, view } = opened;
    const { path, uidValidity } = view;
    const uidNext = soundUidNext(opened, facts);
    return {
      path,
      startedAt,
      endedAt: new Date(),
      uidValidity,
      uidNext,
      highestModseq,
      exists,
      permanentFlags,
      numbersLast,
      ...lasting(facts, opened),
    };
  }
};
