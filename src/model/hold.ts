/** Changes that a breaker holds back until somebody says what they are (semantics 4.4). */

/** `approved`: the server is right. `rejected`: what is here is right. */
export type HoldDecision = "approved" | "rejected";

/** What becomes of what is held, in plain words; null: nobody can decide that. */
export interface HoldChoice {
  readonly approve: string;
  readonly reject: string;
}

/** By the reason of the hold. */
export const holdChoices: Readonly<Record<string, HoldChoice | null>> = {
  /** Too much is missing at once (B1). */
  mass_vanish: {
    approve: "The mail was taken away on purpose: it is removed or kept as the account's policy says.",
    reject: "The mail is kept here, though the server has it no more.",
  },
  /** The same, over POP3. */
  mass_drain: {
    approve: "The mail was taken away on purpose: it is removed or kept as the account's policy says.",
    reject: "The mail is kept here, though the server has it no more.",
  },
  /** IMAP lacks what POP3 still shows (V4). */
  inconsistent_views: {
    approve: "IMAP is right: the mail is removed or kept as the account's policy says, whatever POP3 shows.",
    reject: "The mail is kept here, though IMAP has it no more.",
  },
  /** Too much lost the same flag at once (B3). */
  mass_flag_loss: {
    approve: "The flags were taken away on purpose, and go here, too.",
    reject: "The flags stay as they are here, and the server is given them again.",
  },
  /** A mailbox was numbered anew, and is hardly the one it was (B4). */
  epoch: {
    approve: "It is the same mailbox, with other mail: what is listed is read, and what was there before counts as missing.",
    reject: "It is another mailbox: what is listed is read, and what was there before is kept here.",
  },
  /** What is stored of it is not what was read, so that its server copy stays. */
  octets_damaged: null,
};
