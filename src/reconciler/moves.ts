/** What becomes of a planned move or removal: drawn from the state when it is looked at, confirmed by where the item is (C2, C7). */
import {
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

const isMarked = (flags: readonly string[]): boolean => flags.some((flag) => flag.toLowerCase() === "\\deleted");

/** `clear`: it was moved with the mark of a device that wanted it gone from where it was. */
export type MoveStep = AppendStep | { readonly kind: "clear"; readonly uid: number };

/** I2: what is not stored is not moved out of where it is. */
export const reviewMove = (command: CommandView, { durable }: { readonly durable: boolean }): MoveStep => {
  const { placement, status, reason } = command;
  if (placement === null) return end("superseded", "gone");
  const { lifecycle, kept, absent, mailboxId, binding } = placement;
  if (lifecycle !== "live" || kept || binding === null) return end("superseded", "gone");
  if (!binding.active) return absent || binding.closedReason === "epoch" ? wait(lookAgainMs, unbound) : end("superseded", "gone");
  if (binding.mailboxId === mailboxId) {
    if (status === "planned") return end("superseded", "already_so");
    return isMarked(binding.shadowFlags) ? { kind: "clear", uid: binding.uid } : end("confirmed", reason);
  }
  if (isSpent(command)) return end("failed", "no_effect");
  if (status === "planned" && !durable) return wait(lookAgainMs, "not_durable");
  return status === "planned" ? { kind: "send" } : { kind: "look" };
};

export type ExpungeStep = Ending | Waiting | { readonly kind: "send"; readonly uid: number };

/** I2: nothing is destroyed upstream that is to be had again here and is not stored. */
export const reviewExpunge = (
  command: CommandView,
  { durable, room }: { readonly durable: boolean; readonly room: boolean },
): ExpungeStep => {
  const { placement, status, reason } = command;
  if (placement === null) return end("superseded", "gone");
  const { lifecycle, binding } = placement;
  if (lifecycle === "live") return end("superseded", "overtaken");
  if (binding?.active !== true) return status === "planned" ? end("superseded", "already_so") : end("confirmed", reason);
  if (lifecycle === "removed" && !durable) return wait(lookAgainMs, "not_durable");
  if (isSpent(command)) return end("failed", "no_effect");
  return room ? { kind: "send", uid: binding.uid } : wait(lookAgainMs, "outbound_breaker");
};

/** Most of our own removals in one mailbox within ten minutes that nobody named one by one (B5). */
export const mostExpunged = (items: number): number => Math.max(50, Math.floor(items * 0.05));
