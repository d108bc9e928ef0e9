/**
 * Does somebody read this account with a POP3 device, one that may take mail off the server (semantics 1.7, K6, 4.3)? The
 * owner says so, or it is learned from what was seen, a little at a time. Pure; the store keeps the evidence.
 */
import type { Policy } from "./account.ts";

/** `learned`: POP3 devices were seen at work on this account; `denied`: the owner says that there are none. */
export type Pop3Devices = "unknown" | "declared" | "learned" | "denied";

/**
 * What tells of such a device. `maildrop_in_use`: another client held the maildrop when we came. `drained`: mail left INBOX in
 * the shape of a drain, and no client had marked it as deleted.
 */
export const pop3Signs = ["maildrop_in_use", "drained"] as const;
export type Pop3Sign = (typeof pop3Signs)[number];

/** How often a sign was seen, when for the last time, and since when that is enough (null: it is not). In ms since 1970. */
export interface Pop3SignSeen {
  readonly count: number;
  readonly lastAt: number;
  readonly learnedAt: number | null;
}

export type Pop3Evidence = Readonly<Partial<Record<Pop3Sign, Pop3SignSeen>>>;

/** One sign alone may have other causes; so many of a kind do not. */
const signsNeeded = 3;
/** A sign that was not seen again for so long, in ms, is forgotten, unless it has been enough before. */
const forgottenAfterMs = 30 * 86_400_000;

/** The evidence with one sign more. What was learned once stays learned: only the owner can deny it. */
export const withSign = (evidence: Pop3Evidence, sign: Pop3Sign, at: number): Pop3Evidence => {
  const before = evidence[sign];
  const learnedAt = before?.learnedAt ?? null;
  const isFresh = before !== undefined && (learnedAt !== null || at - before.lastAt <= forgottenAfterMs);
  const count = isFresh ? before.count + 1 : 1;
  const enough = count >= signsNeeded ? at : null;
  return { ...evidence, [sign]: { count, lastAt: at, learnedAt: learnedAt ?? enough } };
};

export interface Pop3DevicesView {
  readonly state: Pop3Devices;
  /** Since when it is learned, in ms since 1970; null in any other state. */
  readonly since: number | null;
  /** `policy`: the owner said it. */
  readonly because: Pop3Sign | "policy" | null;
}

/** What is known of POP3 devices: what the owner says stands over what was seen. */
export const viewPop3Devices = (policy: Pick<Policy, "pop3Devices">, evidence: Pop3Evidence): Pop3DevicesView => {
  if (policy.pop3Devices !== "unknown")
    return { state: policy.pop3Devices === "none" ? "denied" : "declared", since: null, because: "policy" };
  const learned = pop3Signs.flatMap((because) => {
    const since = evidence[because]?.learnedAt ?? null;
    return since === null ? [] : [{ state: "learned" as const, since, because }];
  });
  return learned.toSorted((a, b) => a.since - b.since)[0] ?? { state: "unknown", since: null, because: null };
};

/** Is mail to be expected to leave INBOX by a device that does not mean to delete it? */
export const expectsDrains = (devices: Pop3Devices): boolean => devices === "declared" || devices === "learned";
