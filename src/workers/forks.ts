/** Versions of a draft that do not know of each other (P12). */
import type { MessageId } from "../model/ids.ts";
import type { Role } from "../model/mail.ts";
import type { Scope } from "../reconciler/state.ts";
import type { InputTx } from "../store/account-tx.ts";
import type { MessageContent } from "../store/decisions.ts";
import { loadForks } from "../store/successors.ts";

export interface ComingDrafts {
  readonly mailbox: { readonly role: Role | null };
  /** Items, each with its content at the same index. */
  readonly batch: { readonly facts: readonly { readonly uid: number }[]; readonly contents: readonly MessageContent[] };
  readonly reason: "backfilled" | "delivered";
}

/** Of drafts that came: those of which an app brought another version at the same time, by UID. */
export const forksOf = async (
  account: InputTx,
  scope: Scope,
  { mailbox, batch, reason }: ComingDrafts,
): Promise<ReadonlyMap<number, MessageId>> => {
  if (mailbox.role !== "drafts" || reason !== "delivered") return new Map();
  const news = batch.facts.flatMap(({ uid }, item) => {
    const messageId = batch.contents[item]?.headers?.messageId ?? null;
    return messageId === null ? [] : [{ uid, messageId }];
  });
  return loadForks(account, scope, news);
};
