/**
 * Mail that the maildrop alone has, of an account that IMAP reads as well: two views that disagree (V4). IMAP decides what it
 * shows itself (K9); of what it has not shown for so long that it is not going to, somebody has to keep the octets.
 */
import type { MaildropItem, MaildropSession } from "../endpoints/endpoint.ts";
import { keyOf } from "../reconciler/maildrop.ts";
import type { Scope } from "../reconciler/state.ts";
import { hasUnfinished } from "../store/stubs.ts";
import type { MaildropContext } from "./maildrop-commit.ts";
import type { ImapSide } from "./maildrop-identity.ts";
import { readWhole } from "./maildrop-reading.ts";
import { refusedMs } from "./maildrop-stubs.ts";

interface LackedLook {
  readonly context: MaildropContext;
  readonly session: MaildropSession;
  readonly memory: { readonly lackedSince: Map<string, number>; readonly lookedAt: number };
  readonly imap: ImapSide;
  readonly lackedMs: number;
  readonly onAlone: () => void;
  readonly signal: AbortSignal;
}

/** Of what nothing in INBOX is like: what both views were complete without for `lackedMs`. */
export const lackedLong = (
  { memory: { lackedSince }, imap, lackedMs }: Pick<LackedLook, "memory" | "imap" | "lackedMs">,
  unmatched: readonly MaildropItem[],
): MaildropItem[] => {
  const before = new Map(lackedSince);
  lackedSince.clear();
  if (imap !== "read") return [];
  const now = Date.now();
  for (const key of unmatched.map(keyOf)) lackedSince.set(key, before.get(key) ?? now);
  return unmatched.filter((item) => now - (before.get(keyOf(item)) ?? now) >= lackedMs);
};

/**
 * Reads it, without marking it (K10), and makes mail of what is new. What is known already, in another mailbox or as removed, is
 * left alone for an hour; so is everything while INBOX has mail without octets, which it may be.
 */
export const readLacked = async (
  input: LackedLook,
  scope: Scope,
  lacked: readonly MaildropItem[],
): Promise<{ readonly bound: number; readonly created: number }> => {
  const { context, session, memory, lackedMs, onAlone, signal } = input;
  const nothing = { bound: 0, created: 0 };
  if (lacked.length === 0 || (await hasUnfinished(context.db, context.accountId, scope.mailboxId))) return nothing;
  const came = { after: memory.lookedAt, before: Date.now() };
  const putAside = (): void => undefined;
  const read = await readWhole(
    { context, session, scope, imap: "lacking", first: null, lacked: [], came, putAside, signal },
    lacked,
  );
  for (const item of lacked) memory.lackedSince.set(keyOf(item), Date.now() + refusedMs - lackedMs);
  if (read.bound > 0) onAlone();
  return read;
};
