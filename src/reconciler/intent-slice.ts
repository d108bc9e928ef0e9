/** What an intent is decided on and how what is decided is written; shared by all that an intent can want. */
import type { DecidedChange } from "../model/change.ts";
import type { MailboxId, MessageId, PlacementId } from "../model/ids.ts";
import type { IntentResult, IntentStatus, MailOp } from "../model/intent.ts";
import type { Role } from "../model/mail.ts";
import type { KeywordHistory } from "./intent-keywords.ts";
import type { LocationHistory, SaidPlace } from "./location.ts";
import type { LoggedChange } from "./undo.ts";
import { type Draft, emptyDraft, type PlacementView, type PlacementWrite, record } from "./state.ts";

export interface IntentPlacement extends PlacementView {
  /** Its last change. */
  readonly changedSeq: bigint;
  /** Why it is as it is. */
  readonly reason: string;
  /** Of a removed one: it can still be brought back. */
  readonly recoverable: boolean;
  /** Its octets are stored. */
  readonly durable: boolean;
}

/** Since the base of the intent, in the order of the log. */
export interface PlacementHistory extends KeywordHistory, LocationHistory {}

/** A decision, with what the intents say of places, for those who come later with an older base. */
export interface IntentDraft extends Draft {
  readonly places: SaidPlace[];
}

export const emptyIntentDraft = (): IntentDraft => ({ ...emptyDraft(), places: [] });

/** What is the same for all intents that are decided together. */
export interface AccountSlice {
  /** Live ones with their role. */
  readonly mailboxes: ReadonlyMap<MailboxId, Role | null>;
  /** Mailboxes in which something is held back. */
  readonly held: ReadonlySet<MailboxId>;
  /** Mailboxes that their server numbered anew, and that are not read to the end since. */
  readonly renumbered: ReadonlySet<MailboxId>;
  /** It has an IMAP endpoint, which its mail is written back to. */
  readonly hasImap: boolean;
  /** Mail in INBOX may be taken by a POP3 device that does not mean to delete it. */
  readonly expectsDrains: boolean;
  readonly retentionDays: number;
  /** The last change of the account. */
  readonly head: bigint;
  /** The last change before the request that the intent came with. */
  readonly began: bigint;
}

export interface IntentSlice extends AccountSlice {
  /** All that are not purged; none: there is no such message. */
  readonly placements: readonly IntentPlacement[];
  readonly history: ReadonlyMap<PlacementId, PlacementHistory>;
  /** Of what is in Trash or Junk, or was removed from there: where it came from. */
  readonly homes: ReadonlyMap<PlacementId, MailboxId>;
  /** Of mailboxes that what comes back was in: the live one that has the path of each now. */
  readonly standIns: ReadonlyMap<MailboxId, MailboxId>;
  /** Of an undo: the change; null: there is none of that number. */
  readonly undone: LoggedChange | null;
  /** Unused ids: one for each mailbox that the intent names. */
  readonly freshIds: readonly string[];
}

export interface Intent {
  readonly op: MailOp;
  readonly deviceId: string;
  /** The last change that its sender had seen. */
  readonly base: bigint;
  /** Its sender named that change, and means it. */
  readonly exact: boolean;
  /** It does too much for less than an exact base (Q3). */
  readonly destructive: boolean;
}

export const result = (
  status: IntentStatus,
  reason: string,
  messageId: MessageId,
  warnings: readonly string[] = [],
): IntentResult => ({ status, reason, messageId, warnings });

const noHistory: PlacementHistory = { seen: [], said: [], located: [], placed: [] };

export const historyOf = (slice: IntentSlice, { id }: Pick<PlacementView, "id">): PlacementHistory =>
  slice.history.get(id) ?? noHistory;

export const isLive = ({ lifecycle }: PlacementView): boolean => lifecycle === "live";

export const roleIn =
  ({ mailboxes }: AccountSlice) =>
  (id: MailboxId | null): Role | null =>
    id === null ? null : (mailboxes.get(id) ?? null);

export const mailboxOfRole = ({ mailboxes }: AccountSlice, role: Role): MailboxId | null => {
  for (const [id, its] of mailboxes) if (its === role) return id;
  return null;
};

/** P10: does its sender know all that became of the placements, but for what came with the same request? */
export const knowsAll = ({ base, exact }: Intent, { placements, began }: IntentSlice): boolean =>
  exact && placements.every(({ changedSeq }) => changedSeq <= base || changedSeq > began);

export const noteChange = (
  draft: Draft,
  { deviceId }: Pick<Intent, "deviceId">,
  { id, messageId, mailboxId }: Pick<PlacementView, "id" | "messageId" | "mailboxId">,
  rest: Pick<DecidedChange, "kind" | "before" | "after" | "reason" | "rule"> & Partial<DecidedChange>,
): number =>
  record(draft, {
    messageId,
    mailboxId,
    placementId: id,
    source: "api",
    endpointId: null,
    deviceId,
    confidence: null,
    evidence: [],
    ...rest,
  });

/** The placement as the draft leaves it. */
export const drafted = (draft: Draft, placement: IntentPlacement): IntentPlacement => {
  const written = draft.placements.find(({ id }) => id === placement.id);
  if (written === undefined || written.lifecycle === "purged") return placement;
  const { mailboxId, keywords, lifecycle, kept, absent } = written;
  return { ...placement, mailboxId, keywords, lifecycle, kept, absent };
};

/** Writes the placement with what is new of it; a draft writes each once, whole. */
export const writePlacement = (
  draft: Draft,
  placement: PlacementView,
  rest: Pick<PlacementWrite, "change"> & Partial<PlacementWrite>,
): void => {
  const { id, mailboxId, keywords, lifecycle, kept, absent } = placement;
  const written = { id, mailboxId, keywords, lifecycle, kept, absent, reason: null, recoverableDays: null, ...rest };
  const at = draft.placements.findIndex((one) => one.id === id);
  if (at < 0) draft.placements.push(written);
  else draft.placements[at] = written;
};
