/** Opens a mailbox for reading. EXAMINE, never SELECT: SELECT would take \Recent away from the owner's devices. */
import { SyncError } from "../../model/failure.ts";
import type { FlagsFact, MailboxCursor } from "../../model/observation.ts";
import { nameArguments } from "./names.ts";
import { bigintOf, fetchLineOf, type Line, textsOf, uidsOf, uint32Of } from "./tokens.ts";
import { codeOf, type Handlers, refusalOf, sectionOf, type View, type Wire } from "./wire.ts";

const examineMs = 60_000;
/** Changes one EXAMINE may bring; past this the mailbox is listed instead. */
const maxChanges = 1_000_000;

export interface Examined {
  /** Goes on changing as the server tells more; the counts below are those of the answer. */
  readonly view: View;
  readonly exists: number;
  readonly highestModseq: bigint | null;
  /** Null: the server does not tell UIDNEXT here (seen on Courier); `view.uidNext` is then a lower bound. */
  readonly uidNext: number | null;
  readonly permanentFlags: readonly string[];
  /** False where items are numbered anew at each SELECT (UIDNOTSTICKY, RFC 4315). */
  readonly numbersLast: boolean;
  /** What changed below the cursor, when it was asked for by QRESYNC and may be believed; else null. */
  readonly changes: { readonly flags: readonly FlagsFact[]; readonly vanished: readonly number[] } | null;
}

interface Told {
  exists: number | null;
  uidValidity: number | null;
  uidNext: number | null;
  highestModseq: bigint | null;
  permanentFlags: readonly string[];
  numbersLast: boolean;
  flags: Map<number, FlagsFact>;
  vanished: Set<number>;
  unreadable: boolean;
}

const nothingTold = (): Told => ({
  exists: null,
  uidValidity: null,
  uidNext: null,
  highestModseq: null,
  permanentFlags: [],
  numbersLast: true,
  flags: new Map(),
  vanished: new Set(),
  unreadable: false,
});

const applyCode = (told: Told, line: Line): void => {
  const value = sectionOf(line)?.[1];
  switch (codeOf(line)) {
    case "CLOSED":
      // What came before was about the mailbox that was open until now (RFC 7162 3.2.11).
      Object.assign(told, nothingTold());
      break;
    case "UIDVALIDITY":
      told.uidValidity = uint32Of(value) || null;
      break;
    case "UIDNEXT":
      told.uidNext = uint32Of(value) || null;
      break;
    case "HIGHESTMODSEQ":
      told.highestModseq = bigintOf(value);
      break;
    case "NOMODSEQ":
      told.highestModseq = null;
      break;
    case "PERMANENTFLAGS":
      told.permanentFlags = textsOf(value);
      break;
    default: // Other codes tell nothing about the mailbox.
  }
};

const listening = (wire: Wire, told: Told, below: number): Handlers => {
  const on = (handle: (line: Line) => void) => (line: Line) => Promise.resolve(handle(line));
  return {
    OK: on((line) => applyCode(told, line)),
    NO: on((line) => {
      if (codeOf(line) === "UIDNOTSTICKY") wire.numbersLast = told.numbersLast = false;
    }),
    FLAGS: on(() => undefined),
    EXISTS: on((line) => {
      told.exists = uint32Of(line.command) ?? told.exists;
    }),
    FETCH: on((line) => {
      const { uid, flags, modseq } = fetchLineOf(line);
      if (uid === null || flags === null || uid >= below) return;
      if (told.flags.size >= maxChanges) told.unreadable = true;
      else told.flags.set(uid, { uid, flags, modseq });
    }),
    VANISHED: on((line) => {
      const uids = uidsOf(line.attributes?.at(-1), { from: 1, to: below - 1 });
      if (uids === null || told.vanished.size + uids.length > maxChanges) told.unreadable = true;
      else for (const uid of uids) told.vanished.add(uid);
    }),
  };
};

/** `EXAMINE mailbox (QRESYNC (uidvalidity modseq 1:n))`, or `(CONDSTORE)` where nothing enabled it yet. */
const parameters = (wire: Wire, since: MailboxCursor | null): unknown[] => {
  if (since !== null) {
    const known = { type: "SEQUENCE", value: `1:${since.uidNext - 1}` };
    const args = [atom(String(since.uidValidity)), atom(String(since.highestModseq)), known];
    return [[atom("QRESYNC"), args]];
  }
  return wire.can("CONDSTORE") && !wire.enabled("CONDSTORE") ? [[atom("CONDSTORE")]] : [];
};

const atom = (value: string) => ({ type: "ATOM", value });

const notReadable = (message: string): SyncError =>
  new SyncError("bug", "mailbox", {
    code: "endpoint_protocol_error",
    message,
    action: "Nothing; the mailbox is left out and tried again later.",
  });

const toExamined = (path: string, told: Told, since: MailboxCursor | null): Examined => {
  if (told.uidValidity === null)
    throw notReadable("The server gives this mailbox no UIDVALIDITY, so its messages cannot be told apart.");
  if (told.exists === null) throw notReadable("The server does not say how many messages this mailbox holds.");
  const { uidNext, exists, highestModseq, permanentFlags, numbersLast } = told;
  const view = { path, uidValidity: told.uidValidity, uidNext: uidNext ?? 1, exists, highestModseq };
  const believed = since !== null && !told.unreadable && told.uidValidity === since.uidValidity;
  const flags = [...told.flags.values()].sort((a, b) => a.uid - b.uid);
  const vanished = [...told.vanished].sort((a, b) => a - b);
  return { view, exists, highestModseq, uidNext, permanentFlags, numbersLast, changes: believed ? { flags, vanished } : null };
};

/**
 * Opens `path` and, given a cursor with mod-sequences on a QRESYNC session, learns in the same turn what changed below it.
 * @throws what the connection throws; SyncError `bug`/mailbox when the server leaves out what RFC 9051 6.3.2 demands.
 */
export const examine = async (wire: Wire, path: string, cursor: MailboxCursor | null, signal: AbortSignal): Promise<Examined> => {
  const resync = cursor !== null && cursor.highestModseq !== null && cursor.uidNext > 1 && wire.enabled("QRESYNC");
  const since = resync ? cursor : null;
  const names = nameArguments(path, wire.client);
  for (const [index, name] of names.entries()) {
    const told = nothingTold();
    // From here on the old mailbox is closed, whatever the answer is (RFC 9051 6.3.2).
    wire.view = null;
    try {
      const untagged = listening(wire, told, since?.uidNext ?? 1);
      await wire.command("EXAMINE", [name, ...parameters(wire, since)], { untagged, ms: examineMs, signal });
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal === null || refusal.throttled || index + 1 === names.length) throw error;
      continue;
    }
    const examined = toExamined(path, told, since);
    wire.view = examined.view;
    return examined;
  }
  throw notReadable("This mailbox has a name that cannot be sent.");
};
