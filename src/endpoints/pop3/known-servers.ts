/**
 * What is known of POP3 servers by their kind: from measurements (Dovecot 2.3), their sources (WildDuck, Courier, Cyrus,
 * Stalwart) or their documents (Gmail, Exchange). It stands in for trials that would mark or remove somebody's mail.
 */
import type { DeleEffect, Pop3Findings, ServerKind } from "../../model/diagnosis.ts";

interface Known {
  readonly retrSetsSeen: Pop3Findings["retrSetsSeen"];
  readonly deleEffect: DeleEffect;
}

const unknown: Known = {
  retrSetsSeen: { verdict: "unknown", because: "It is not known of this server, and trying it would mark mail as read." },
  deleEffect: "unknown",
};

const known: Partial<Record<ServerKind, Known>> = {
  dovecot: {
    retrSetsSeen: {
      verdict: "session_end",
      because: "Dovecot marks what was retrieved when the session ends, unless its operator has set pop3_no_flag_updates.",
    },
    deleEffect: "expunge",
  },
  wildduck: {
    retrSetsSeen: { verdict: "session_end", because: "WildDuck marks what was retrieved when the session ends." },
    deleEffect: "move_to_trash",
  },
  courier: {
    retrSetsSeen: { verdict: "per_message", because: "Courier marks each message as it is retrieved." },
    deleEffect: "expunge",
  },
  cyrus: {
    retrSetsSeen: { verdict: "no", because: "Cyrus marks nothing, unless its operator has set popuseimapflags." },
    deleEffect: "expunge",
  },
  stalwart: {
    retrSetsSeen: { verdict: "no", because: "Stalwart marks nothing." },
    deleEffect: "destroy_everywhere",
  },
  gmail: {
    retrSetsSeen: { verdict: "unknown", because: "With Gmail it is a setting of the account, under Forwarding and POP/IMAP." },
    deleEffect: "server_policy",
  },
  exchange: {
    retrSetsSeen: { verdict: "per_message", because: "Users of Exchange report that retrieving marks as read." },
    deleEffect: "unknown",
  },
};

export const knownOf = (kind: ServerKind): Known => known[kind] ?? unknown;

type Window = Pop3Findings["listingWindow"];

const wildduckWindow = 250;

/** Numbers at which servers and their operators like to cut. */
const isRound = (count: number): boolean => count >= 50 && (count % 250 === 0 || [50, 100, 200, 300, 400].includes(count));

/** Does the listing show all there is? POP3 has no word for it (semantics G3). */
export const windowOf = (kind: ServerKind, count: number | null): Window => {
  if (kind === "gmail")
    return {
      verdict: "not_yet_popped",
      because: "Gmail lists what no POP3 device has taken yet, or with recent: the last 30 days.",
    };
  if (kind === "wildduck")
    return {
      verdict: "newest_only",
      because: `WildDuck lists the newest ${wildduckWindow} messages unless its operator has set more.`,
    };
  if (count !== null && isRound(count))
    return {
      verdict: "suspected",
      because: `Exactly ${count} messages are listed, which may be where the server cuts the list.`,
    };
  return { verdict: "none_seen", because: "Nothing hints at a list that is cut." };
};
