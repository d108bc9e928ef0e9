/** Octets that the store has lost are read once more, where a server still shows them. Nothing else of their messages changes. */
import type { MaildropItem, MaildropSession, Session } from "../endpoints/endpoint.ts";
import type { Octets } from "../model/octets.ts";
import { keyOf } from "../reconciler/maildrop.ts";
import { inAccount } from "../store/account-tx.ts";
import { listLostOctets, type LostOctets, restoreOctets } from "../store/resync.ts";
import type { LaneContext } from "./lane-state.ts";
import type { MaildropContext } from "./maildrop-commit.ts";

type Owner = Pick<LaneContext, "db" | "log" | "accountId" | "fence">;

/** Keeps them where they are what was lost: another wording of the message is none of it. */
const restore = async (owner: Owner, lost: LostOctets, octets: Octets): Promise<void> => {
  const { messageId: message } = lost;
  if (octets.sha256.equals(lost.sha256)) {
    const { db, fence, accountId } = owner;
    if (await inAccount(db, fence, accountId, (account) => restoreOctets(account, lost, octets)))
      owner.log.warn({ message }, "lost octets read again");
  } else owner.log.error({ message }, "lost octets are not what the server shows");
};

/** Reads what is lost of the mailboxes that the lane knows; what the server does not give stays lost. */
export const rereadLost = async (context: LaneContext, session: Session, signal: AbortSignal): Promise<void> => {
  for await (const page of listLostOctets(context.db, context.accountId, context.endpointId))
    for (const [mailboxId, items] of Map.groupBy(page, (item) => item.mailboxId)) {
      const mailbox = context.mailboxes.get(mailboxId);
      if (mailbox?.selectable !== true || mailbox.cursor === null || mailbox.parkedUntil > Date.now()) continue;
      const byUid = new Map(items.map((item) => [item.uid, item]));
      const ranges = [...byUid.keys()].map((uid) => ({ from: uid, to: uid }));
      const request = { path: mailbox.path, uidValidity: mailbox.cursor.uidValidity, ranges };
      for await (const batch of session.fetch(request, signal))
        for (const { uid, octets } of batch.items) {
          const lost = byUid.get(uid);
          if (octets === null) continue;
          try {
            if (lost !== undefined) await restore(context, lost, octets);
          } finally {
            await octets.dispose();
          }
        }
    }
};

/** The same of a maildrop, of what it lists. */
export const rereadLostItems = async (
  context: MaildropContext,
  session: MaildropSession,
  listed: readonly MaildropItem[],
  signal: AbortSignal,
): Promise<void> => {
  const places = new Map(listed.map((item) => [keyOf(item), item]));
  for await (const page of listLostOctets(context.db, context.accountId, context.endpointId))
    for (const lost of page) {
      const item = places.get(keyOf(lost));
      if (item === undefined) continue;
      for await (const read of session.octets([item], { mayMark: true }, signal)) {
        if (read.error !== null) continue;
        try {
          await restore(context, lost, read.octets);
        } finally {
          await read.octets.dispose();
        }
      }
    }
};
