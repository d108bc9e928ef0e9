/** What a lane keeps in memory of its account: small, and always rebuilt from PostgreSQL after a failure. */
import type { Session } from "../endpoints/endpoint.ts";
import type { ModseqArithmetic } from "../model/endpoint.ts";
import type { Fence, Policy } from "../model/account.ts";
import type { EndpointId, AccountId, MailboxId, MessageId, TenantId } from "../model/ids.ts";
import type { Role } from "../model/mail.ts";
import type { MailboxCursor, MailboxStatus } from "../model/observation.ts";
import type { Scope } from "../reconciler/state.ts";
import type { FactsReader } from "../mime/facts-reader.ts";
import type { Database } from "../store/database.ts";
import type { UpstreamMailbox } from "../store/mailbox-writes.ts";
import type { Logger } from "../telemetry/log.ts";
import type { Recognition } from "./recognition.ts";
import type { Trouble } from "./trouble.ts";

export interface MailboxLane {
  readonly mailboxId: MailboxId;
  path: string;
  selectable: boolean;
  role: Role | null;
  /** By which the server knows what it lists under this name now; null: it does not tell. */
  objectId: string | null;
  /** What is listed under this name is another mailbox (D9): nothing of it is read here, the next survey sets it right. */
  replaced: boolean;
  epoch: number;
  /** Where the last agreed look ended; null before the first. */
  cursor: MailboxCursor | null;
  /** Everything from here up has been read; 1 when the first reading is complete. */
  backfillLow: number | null;
  /** Another one had been read before it was first seen: what it has may have been moved there. */
  late: boolean;
  /** What it was last seen to keep when it was opened for writing; null: not known. */
  permanentFlags: readonly string[] | null;
  /** Active bindings. */
  bound: number;
  /** Messages upstream when last counted. */
  exists: number;
  auditedAt: number;
  /** What the server last counted as unseen when our bindings were held against that; null: they were not. */
  unseen: number | null;
  failures: number;
  parkedUntil: number;
  /** The server let us look at it when that was last tried. */
  answered: boolean;
  /** When a look last showed all of it that there was, in ms since 1970; 0: not known. */
  lookedAt: number;
  /** When a listing first showed it empty although we hold items (gate G4); 0: it does not. */
  emptySince: number;
  /** Its items were compared with what other views of the account had shown before. */
  compared: boolean;
  /** Of its placements so many are not shown; null: not counted. */
  unshown: number | null;
  /** False: the server numbers it anew at each look, as it said at the last one. */
  numbersLast: boolean;
  /** The session that looked whether its items are what they were; null: none has. */
  sampledIn: Session | null;
  /** When the last new epochs began, in ms since 1970. */
  epochsAt: number[];
  /** What is known of a mailbox that is being recognised, before it is read; null: it is not. */
  recognition: Recognition | null;
  /**
   * Placements that wait because it may not be the mailbox that they were in: what is listed is not read, and nothing is missing
   * (B4). 0: it is not held.
   */
  held: number;
  /** Flags that much of it lost at once are held (B3), and perhaps somebody has said what they are. */
  flagsHeld: "no" | "held" | "decided";
  /** What stands at its path has another epoch, and may be one that has taken its name (D1); and perhaps names were listed since. */
  stranger: "no" | "doubted" | "listed";
}

/** Going round what is asked for again, a page at a time. */
export interface StubTurns {
  /** When the next page is due, in ms since 1970; infinity: there is none. */
  dueAt: number;
  /** Before the next round. */
  waitMs: number;
  /** The last of the page before; null: a round begins. */
  after: MessageId | null;
}

/** Everything a pass works with, for one endpoint of one account. */
export interface LaneContext {
  readonly db: Database;
  readonly log: Logger;
  readonly facts: FactsReader;
  readonly fence: Fence;
  readonly accountId: AccountId;
  readonly tenantId: TenantId;
  readonly endpointId: EndpointId;
  readonly policy: Policy;
  /** Another endpoint shows mail of the account, too: what tells it in another view is kept with it. */
  readonly twoViews: boolean;
  readonly mailboxes: Map<MailboxId, MailboxLane>;
  /** What the server's mod-sequences were seen to count. */
  readonly modseq: { known: ModseqArithmetic };
  /** Days that the server was seen to leave mail in Trash and Junk; null: not learned. */
  readonly retention: { days: number | null };
  readonly trouble: Trouble;
  /** When the survey began that the stored tree agrees with, in ms since 1970; 0: there was none. */
  readonly tree: { readAt: number };
  /** What is listed and was not given: its octets, and the header blocks of what not even those are known of. */
  readonly stubs: StubTurns;
  readonly headless: StubTurns;
  /** Octets: no message is taken that is larger. */
  readonly maxMessageBytes: number;
}

/** What of a mailbox an input is decided with: data, as of when its facts were read. */
export type MailboxFacts = Readonly<
  Pick<MailboxLane, "mailboxId" | "role" | "epoch" | "cursor" | "permanentFlags" | "bound" | "lookedAt" | "flagsHeld">
>;

export const mailboxFacts = (mailbox: MailboxLane): MailboxFacts => {
  const { mailboxId, role, epoch, cursor, permanentFlags, bound, lookedAt, flagsHeld } = mailbox;
  return { mailboxId, role, epoch, cursor, permanentFlags, bound, lookedAt, flagsHeld };
};

/** What of a lane an input is decided with. */
export interface LaneFacts {
  readonly endpointId: EndpointId;
  readonly twoViews: boolean;
  /** The mailbox that the other endpoint shows as well; null: there is no other, or not this mailbox. */
  readonly sharedMailbox: MailboxId | null;
  readonly roles: ReadonlyMap<MailboxId, Role>;
  readonly modseq: ModseqArithmetic;
  readonly trashDays: number | null;
  /** The server's word counts less for a while (B2). */
  readonly unwell: boolean;
}

export const inboxOf = ({ roles }: Pick<LaneFacts, "roles">): MailboxId | null =>
  roles.entries().find(([, role]) => role === "inbox")?.[0] ?? null;

export const laneFacts = (context: LaneContext): LaneFacts => {
  const { endpointId, twoViews, mailboxes, modseq, retention, trouble } = context;
  const roles = new Map(
    [...mailboxes.values()].flatMap(({ mailboxId, role }) => (role === null ? [] : [[mailboxId, role] as const])),
  );
  return {
    endpointId,
    twoViews,
    sharedMailbox: twoViews ? inboxOf({ roles }) : null,
    roles,
    modseq: modseq.known,
    trashDays: retention.days,
    unwell: trouble.isRecent,
  };
};

export const scopeOf = (context: Pick<LaneContext, "endpointId">, mailbox: Pick<MailboxLane, "mailboxId" | "epoch">): Scope => ({
  endpointId: context.endpointId,
  mailboxId: mailbox.mailboxId,
  epoch: mailbox.epoch,
});

export const toMailboxLane = (row: UpstreamMailbox, bound: number): MailboxLane => ({
  mailboxId: row.mailboxId,
  path: row.path,
  selectable: row.selectable,
  role: row.role,
  objectId: null,
  replaced: false,
  epoch: row.epoch,
  cursor:
    row.uidValidity === null || row.uidNext === null
      ? null
      : { uidValidity: row.uidValidity, uidNext: row.uidNext, highestModseq: row.highestModseq },
  backfillLow: row.backfillLow,
  // Of what was begun before this process nobody knows any more.
  late: row.backfillLow !== null,
  permanentFlags: null,
  bound,
  exists: bound,
  auditedAt: row.auditedAt?.getTime() ?? 0,
  unseen: null,
  failures: row.failures,
  parkedUntil: row.parkedUntil?.getTime() ?? 0,
  answered: true,
  lookedAt: 0,
  emptySince: 0,
  compared: false,
  unshown: null,
  sampledIn: null,
  epochsAt: [],
  recognition: null,
  held: row.held,
  flagsHeld: row.flagsHeld ? "held" : "no",
  numbersLast: true,
  stranger: "no",
});

/** Can INBOX be looked at? Put aside, refused or not listed at all it cannot be, and not for a moment only. */
export const isInboxOpen = ({ mailboxes }: LaneContext): boolean =>
  [...mailboxes.values()].some(
    ({ role, selectable, answered, cursor, parkedUntil }) =>
      role === "inbox" && selectable && answered && cursor !== null && parkedUntil <= Date.now(),
  );

/** An empty listing of a mailbox we hold items of counts only when it is seen again this much later, in ms (gate G4). */
export const emptyConfirmMs = 60_000;

export const backfillDone = (mailbox: MailboxLane): boolean => mailbox.backfillLow !== null && mailbox.backfillLow <= 1;

const auditEveryMs = 24 * 3_600_000;

/** G6: once a day a whole listing, whatever the counters say. */
export const auditIsDue = (mailbox: MailboxLane): boolean =>
  backfillDone(mailbox) && mailbox.auditedAt > 0 && Date.now() - mailbox.auditedAt > auditEveryMs;

/** The next look is a whole listing, also of what was put aside. */
export const lookAtAll = (mailbox: MailboxLane): void => {
  mailbox.auditedAt = 1;
  mailbox.parkedUntil = 0;
};

/** A whole listing of it is due, and it can be had. */
export const isToBeLookedAt = (mailbox: MailboxLane): boolean =>
  mailbox.selectable && mailbox.answered && mailbox.parkedUntil <= Date.now() && auditIsDue(mailbox);

/** Without: not every server that counts changes in STATUS tells of them where a mailbox is opened. */
export const countsChanges = ({ cursor }: MailboxLane, { highestModseq }: MailboxStatus): boolean =>
  highestModseq !== null && cursor !== null && cursor.highestModseq !== null;

/** Did the counters move since our cursor? Without mod-sequences a change of flags shows in UNSEEN at most. */
export const hasMoved = (mailbox: MailboxLane, status: MailboxStatus): boolean => {
  const { cursor } = mailbox;
  if (cursor === null) return true;
  if (status.uidValidity !== cursor.uidValidity || status.uidNext !== cursor.uidNext) return true;
  if (countsChanges(mailbox, status)) return status.highestModseq !== cursor.highestModseq;
  return status.messages !== mailbox.exists;
};
