/**
 * Mail that a POP3 device may take is copied before it does (V21): what is new to the account and lies in INBOX, once. The copy is
 * a placement of its own, made when it is seen; what becomes of the one in INBOX is decided as if there were none.
 */
import type { Policy } from "../model/account.ts";
import type { MessageId, PlacementId } from "../model/ids.ts";
import { keywordsOfFlags, type Role } from "../model/mail.ts";
import { expectsDrains, type Pop3Devices } from "../model/pop3-devices.ts";
import type { Draft, PlacementView } from "./state.ts";

export const preserved = { reason: "preserved_ahead", rule: "V21" } as const;

export interface PreserveInput {
  readonly policy: Policy;
  readonly pop3Devices: Pop3Devices;
  /** Of the mailbox where mail is seen. */
  readonly role: Role | null;
  /** `backfilled`: it had lain there before anybody looked. */
  readonly reason: "backfilled" | "delivered";
}

/** Is mail copied that comes in this way? */
export const preservesAhead = ({ policy, pop3Devices, role, reason }: PreserveInput): boolean =>
  policy.preserveAhead && expectsDrains(pop3Devices) && role === "inbox" && reason === "delivered";

interface Arrived {
  readonly id: PlacementId;
  readonly messageId: MessageId;
}

/** Owes a copy of what came; none of a draft, nor of a message with another place, where no device takes it. */
export const preserve = (
  draft: Draft,
  { id, messageId }: Arrived,
  {
    flags,
    alike,
  }: { readonly flags: readonly string[]; readonly alike: readonly { readonly placements: readonly PlacementView[] }[] },
): void => {
  if (keywordsOfFlags(flags).includes("$draft")) return;
  const isElsewhere = alike.some(({ placements }) =>
    placements.some((one) => one.messageId === messageId && one.id !== id && one.lifecycle === "live"),
  );
  if (isElsewhere) return;
  draft.commands.push({ placementId: id, verb: "append", args: {}, reason: preserved.reason });
};
