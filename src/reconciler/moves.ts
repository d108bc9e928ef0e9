/** What becomes of a planned move or removal: drawn from the state when it is looked at, confirmed by where the item is (C2, C7). */
import type { CommandVerb } from "../model/command.ts";
import type { MailboxId } from "../model/ids.ts";
import {
  goesAside,
  type AppendStep,
  type CommandView,
  end,
  type Ending,
  isSpent,
  lookAgainMs,
  unbound,
  wait,
  type Waiting,
} from "./commands.ts";
import { isUnplaced } from "./plan.ts";
import type { PlacementView } from "./state.ts";

/** Outcome of what came where it was to go with the mark of a device, and cannot be rid of that yet. */
export const marked = "marked";

const isMarked = (flags: readonly string[]): boolean => flags.some((flag) => flag.toLowerCase() === "\\deleted");

/** `clear`: it was moved with the mark of a device that wanted it gone from where it was. */
export type MoveStep = AppendStep | { readonly kind: "clear"; readonly uid: number };

export interface MoveFacts {
  readonly durable: boolean;
  /** Where it was sent to last; null: it was not. */
  readonly sentTo: MailboxId | null;
}

/** I2: what is not stored is not moved out of where it is. */
export const reviewMove = (command: CommandView, { durable, sentTo }: MoveFacts): MoveStep => {
  const { placement, status, reason } = command;
  if (placement === null) return end("superseded", "gone");
  const { lifecycle, kept, absent, mailboxId, binding } = placement;
  if (kept || binding === null) return end("superseded", "gone");
  // Nobody wants it any more, but it may lie where it went: what is shown there is to be removed as this, and not to come anew.
  if (lifecycle !== "live") {
    const arrived = binding.active && binding.mailboxId === mailboxId;
    return status === "planned" || arrived ? end("superseded", "gone") : { kind: "look" };
  }
  if (!binding.active) return absent || binding.closedReason === "epoch" ? wait(lookAgainMs, unbound) : end("superseded", "gone");
  if (binding.mailboxId === mailboxId) {
    if (status === "planned") return end("superseded", "already_so");
    return isMarked(binding.shadowFlags) ? { kind: "clear", uid: binding.uid } : end("confirmed", reason);
  }
  // It came to where it was sent, and is wanted elsewhere by now: it goes on from there.
  if (status !== "planned" && binding.mailboxId === sentTo) return { ...wait(0, "more"), progress: true };
  if (isSpent(command)) return end("failed", "no_effect");
  if (status === "planned" && !durable) return wait(lookAgainMs, "not_durable");
  return status === "planned" ? { kind: "send" } : { kind: "look" };
};

/** Of what takes the place of something: `done` also where nobody wants it there any more. */
export type Succession = "done" | "coming" | "failed";

/** `adding`: it is still to be put there. What is missing and not decided is waited for. */
export const successionOf = (placement: PlacementView, adding: boolean): Succession => {
  const { lifecycle, kept, binding } = placement;
  if (lifecycle !== "live" || kept || binding?.active === true) return "done";
  return adding || !isUnplaced(placement) ? "coming" : "failed";
};

export type ExpungeStep = Ending | Waiting | { readonly kind: "send"; readonly uid: number };

export interface ExpungeFacts {
  readonly durable: boolean;
  readonly room: boolean;
  readonly succession: Succession;
  /** The mailbox's numbers last, so that its reading tells in the end what is not there. */
  readonly lasting: boolean;
}

/** I2, C5: nothing is destroyed upstream that is to be had again here and is not stored, nor what is replaced by what is not there. */
export const reviewExpunge = (command: CommandView, { durable, room, succession, lasting }: ExpungeFacts): ExpungeStep => {
  const { placement, status, reason } = command;
  if (placement === null) return end("superseded", "gone");
  const { lifecycle, binding } = placement;
  if (lifecycle === "live") return end("superseded", "overtaken");
  // Its item has another number now, and is found by it (ID-8), or is known not to be there when the mailbox is read.
  if (binding?.active === false && binding.closedReason === "epoch" && (lasting || !isSpent(command)))
    return { ...wait(lookAgainMs, unbound), ...(!lasting && { tried: true as const }) };
  if (binding?.active !== true) return status === "planned" ? end("superseded", "already_so") : end("confirmed", reason);
  if (succession === "failed") return end("failed", "not_replaced");
  if (succession === "coming") return wait(lookAgainMs, "not_replaced");
  if (lifecycle === "removed" && !durable) return wait(lookAgainMs, "not_durable");
  if (isSpent(command)) return end("failed", "no_effect");
  return room ? { kind: "send", uid: binding.uid } : wait(lookAgainMs, "outbound_breaker");
};

/**
 * Nobody wants it any more, and nothing of it can be on its way, so that its end need not wait until it could be tried again. A
 * store adds nothing that would have to be looked for.
 */
export const isMoot = ({
  verb,
  reason,
  status,
  placement,
}: Pick<CommandView, "reason" | "status" | "placement"> & { readonly verb: CommandVerb }): boolean => {
  if (status !== "planned" && verb !== "store") return false;
  if (placement === null) return true;
  const { lifecycle, kept } = placement;
  if (verb === "expunge") return lifecycle === "live";
  return lifecycle !== "live" || (kept && !goesAside(reason));
};

/** Most of our own removals in one mailbox within ten minutes that nobody named one by one (B5). */
export const mostExpunged = (items: number): number => Math.max(50, Math.floor(items * 0.05));
