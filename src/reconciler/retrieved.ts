/**
 * What this daemon had to RETR itself while IMAP was down (semantics K11): the server may have marked it as read, and nobody has
 * read it. Instants are milliseconds since 1970.
 */
import type { EndpointId } from "../model/ids.ts";
import { hasSeen, withoutSeen } from "./pop3-seen.ts";
import { type Decision, emptyDraft, type PlacementView, record } from "./state.ts";

export interface RetrievedItem {
  readonly retrievedAt: number;
  /** With its binding at the IMAP endpoint, which shows it again. */
  readonly placement: PlacementView;
  readonly imapEndpointId: EndpointId;
  /** An app said that it is read. */
  readonly readOverApi: boolean;
}

export interface RetrievedDecision extends Decision {
  /** One for each item; null: the server may mark it yet. */
  readonly outcomes: readonly ("cleared" | "read" | "unread" | null)[];
}

/** Servers mark at the end of the session or when they find the connection gone; what is unseen after so long stays so. */
const markedWithinMs = 60_000;

const sessionFlags = new Set(["\\recent"]);

/** Nothing but `\Seen` was set, and nobody said it over the API. */
const isOurs = ({ placement, readOverApi }: RetrievedItem, shadow: readonly string[]): boolean => {
  const others = withoutSeen(shadow).filter((flag) => !sessionFlags.has(flag.toLowerCase()));
  return !readOverApi && others.length === 0 && placement.keywords.every((keyword) => keyword === "$seen");
};

/** Takes `\Seen` back where we are the only ones who can have caused it. Each item is decided once. */
export const settleRetrieved = (items: readonly RetrievedItem[], at: number): RetrievedDecision => {
  const draft = emptyDraft();
  const outcomes = items.map((item): RetrievedDecision["outcomes"][number] => {
    const { placement, retrievedAt, imapEndpointId } = item;
    const { id, messageId, mailboxId, keywords, lifecycle, kept, absent, binding } = placement;
    const shadow = binding?.shadowFlags ?? [];
    if (!hasSeen(shadow)) return at - retrievedAt > markedWithinMs ? "unread" : null;
    if (!keywords.includes("$seen")) return "unread";
    if (!isOurs(item, shadow)) return "read";
    const change = record(draft, {
      kind: "message.keywords",
      messageId,
      mailboxId,
      placementId: id,
      before: { keywords },
      after: { keywords: [] },
      source: "rule",
      endpointId: imapEndpointId,
      deviceId: null,
      reason: "self_inflicted_seen",
      rule: "K11",
      confidence: null,
      evidence: [{ retrievedAt }],
    });
    const rest = { reason: null, recoverableDays: null, change };
    draft.placements.push({ id, mailboxId, keywords: [], lifecycle, kept, absent, ...rest });
    draft.commands.push({ placementId: id, verb: "store", args: { remove: ["$seen"] }, reason: "self_inflicted_seen" });
    return "cleared";
  });
  return { ...draft, outcomes };
};
