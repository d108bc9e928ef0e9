/**
 * What the maildrop of an account shows of an item that IMAP lacks (V4). Servers list a maildrop as it was at login, so that
 * only a listing whose session began after the absence was noted tells anything. Instants are milliseconds since 1970.
 */

export type SecondView =
  /** There is no maildrop, it does not have the item, or it shows more than INBOX. */
  | "none"
  /** It was not listed since, and may be. */
  | "awaited"
  | "shown"
  | "lacking"
  /** It was not listed in time, or cannot be listed: nothing is known of it. */
  | "unheard";

/** Of a complete listing (G2, G4), what it says of one item. */
export interface ListedLast {
  /** Before the session logged in. */
  readonly beganAt: number;
  readonly shown: boolean;
}

export interface SecondViewInput {
  readonly absentSince: number;
  /** The last complete listing; null: none was since it was asked for. */
  readonly listed: ListedLast | null;
  /** Since when somebody has been there to ask. */
  readonly askedSince: number;
  /** False: no session is tried until a person changes something. */
  readonly reachable: boolean;
  /** The views were seen to disagree about this mailbox, and that is not settled. */
  readonly disputed: boolean;
  readonly at: number;
}

/** A candidate is held no longer without a reason that is shown (4.1). */
const awaitedMs = 600_000;
/** What one view has shown is not given up because it cannot be asked for a while; as long as B1 holds at the least. */
const disputedMs = 6 * 3_600_000;

export const readSecondView = (input: SecondViewInput): SecondView => {
  const { absentSince, listed, askedSince, reachable, disputed, at } = input;
  if (listed !== null && listed.beganAt > absentSince) {
    if (!listed.shown) return "lacking";
    return at - listed.beganAt < disputedMs ? "shown" : "unheard";
  }
  const patience = disputed ? disputedMs : reachable ? awaitedMs : 0;
  return patience > 0 && at - Math.max(absentSince, askedSince) < patience ? "awaited" : "unheard";
};
