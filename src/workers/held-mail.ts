/**
 * Mail that is missed and may lie in a mailbox that is held (B4): what is listed there is not read, and until it is nobody knows
 * that what went there has not gone (V0). Header blocks tell of what that may be.
 */
import type { Session } from "../endpoints/endpoint.ts";
import { listMissing, type MissingRow } from "../store/absence-slices.ts";
import { inAccount } from "../store/account-tx.ts";
import { readStoredHeads } from "../store/epochs.ts";
import type { Unread } from "./absences.ts";
import { planRanges } from "./backfill.ts";
import type { LaneContext, MailboxLane } from "./lane-state.ts";
import { park } from "./parking.ts";
import { headKeyOf, toListed } from "./recognition.ts";

/** Larger ones are not looked through. */
const mostHeld = 100_000;
/** Missed mail that is looked for. */
const mostMissing = 1_000;

interface Heads {
  readonly epoch: number;
  readonly keys: ReadonlySet<string>;
}

/** Of an account's mailboxes, which outlast a pass, while one of them is held. */
interface Read {
  /** Read once for each epoch: what comes later is read as any other mail is. */
  readonly listed: Map<MailboxLane, Heads>;
  /** Of the stored octets of mail that is missed, by hex hash; what is missed no more is forgotten. */
  stored: ReadonlyMap<string, string | null>;
}

const reads = new WeakMap<LaneContext["mailboxes"], Read>();

const readOf = ({ mailboxes }: LaneContext): Read => {
  const read = reads.get(mailboxes) ?? { listed: new Map(), stored: new Map() };
  reads.set(mailboxes, read);
  return read;
};

const isHeld = ({ held, selectable, replaced, cursor }: MailboxLane): boolean =>
  held > 0 && selectable && !replaced && cursor !== null;

/** What a mailbox that is held no more lists is read as any other's is. */
export const forgetReleased = ({ mailboxes }: LaneContext): void => {
  const listed = reads.get(mailboxes)?.listed;
  for (const mailbox of listed?.keys() ?? []) if (!isHeld(mailbox)) listed?.delete(mailbox);
  if (listed?.size === 0) reads.delete(mailboxes);
};

const headsOf = async (
  { listed }: Read,
  session: Session,
  mailbox: MailboxLane,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> => {
  const { path, epoch, cursor } = mailbox;
  const before = listed.get(mailbox);
  if (before?.epoch === epoch) return before.keys;
  const keys = new Set<string>();
  const ranges = planRanges(mailbox, Number.POSITIVE_INFINITY);
  for await (const items of session.heads({ path, uidValidity: cursor?.uidValidity ?? 0, ranges }, signal))
    for (const { head } of items.map(toListed)) if (head !== null) keys.add(head);
  listed.set(mailbox, { epoch, keys });
  return keys;
};

const storedKeys = async (context: LaneContext, missing: readonly MissingRow[]): Promise<ReadonlyMap<string, string | null>> => {
  const read = readOf(context);
  const before = read.stored;
  const rows = new Map(missing.map((row) => [row.sha256.toString("hex"), row]));
  const wanted = [...rows].flatMap(([hash, { sha256 }]) => (before.has(hash) ? [] : [sha256]));
  const heads = await readStoredHeads(context.db, context.accountId, wanted);
  const keys = new Map<string, string | null>();
  for (const [hash, { size }] of rows) {
    const head = heads.get(hash);
    keys.set(hash, before.get(hash) ?? (head === undefined ? null : headKeyOf(head, size)));
  }
  read.stored = keys;
  return keys;
};

/** What its listing tells; null: it cannot be asked now. */
const listedIn = async (
  context: LaneContext,
  session: Session,
  mailbox: MailboxLane,
  signal: AbortSignal,
): Promise<ReadonlySet<string> | null> => {
  if (mailbox.parkedUntil > Date.now() || mailbox.exists > mostHeld) return null;
  try {
    return await headsOf(readOf(context), session, mailbox, signal);
  } catch (error) {
    await park(context, mailbox, error, session);
    return null;
  }
};

/** Of the placements that are missed, those whose mail may be among what a held mailbox lists; all of them where nobody can tell. */
export const maybeHeld = async (context: LaneContext, session: Session, signal: AbortSignal): Promise<Unread> => {
  const held = [...context.mailboxes.values()].filter(isHeld);
  if (held.length === 0) return [];
  const { db, fence, accountId } = context;
  const missing = await inAccount(db, fence, accountId, (account) => listMissing(account, mostMissing + 1));
  if (missing.length === 0) return [];
  if (missing.length > mostMissing) return "all";
  const listed = new Set<string>();
  for (const mailbox of held) {
    const keys = await listedIn(context, session, mailbox, signal);
    if (keys === null) return "all";
    for (const key of keys) listed.add(key);
  }
  const keys = await storedKeys(context, missing);
  return missing.flatMap(({ id, sha256 }) => {
    const key = keys.get(sha256.toString("hex")) ?? null;
    return key !== null && listed.has(key) ? [id] : [];
  });
};
