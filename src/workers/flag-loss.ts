/** Flags of an observation, as far as they are believed (B3, F9), with the hold on those that are not. */
import type { HoldDecision } from "../model/hold.ts";
import { type FlagFact, type FlagLoss, judgeFlagLoss, withoutClears } from "../reconciler/flag-loss.ts";
import type { PlacementView, Scope } from "../reconciler/state.ts";
import { type AccountTx, inAccount, type InputTx } from "../store/account-tx.ts";
import { closeHold, keepHold, loadHolds, type OpenHold } from "../store/holds.ts";
import type { FlagsFact } from "../model/observation.ts";
import { type LaneContext, type LaneFacts, type MailboxFacts, scopeOf } from "./lane-state.ts";

/** The reason of such a hold. */
const flagsHeld = "mass_flag_loss";

interface SeenFlags {
  readonly flags: readonly FlagsFact[];
  readonly bound: ReadonlyMap<number, PlacementView>;
  /** Every item of the mailbox is among them. */
  readonly whole: boolean;
  /** Mod-sequences ran backwards. */
  readonly regressed: boolean;
}

const openIn = async (account: AccountTx, mailbox: MailboxFacts): Promise<OpenHold | null> =>
  mailbox.flagsHeld === "no" ? null : ((await loadHolds(account, flagsHeld)).get(mailbox.mailboxId) ?? null);

/** Opens the hold, or brings it up to date; one that changes nothing writes nothing. */
const keepHeld = (
  account: InputTx,
  { endpointId, mailboxId, epoch }: Scope,
  open: OpenHold | null,
  { keywords, count }: { readonly keywords: readonly string[]; readonly count: number },
): Promise<void> => {
  const known = open?.history ?? null;
  const same = known?.keywords?.join(" ") === keywords.join(" ");
  const history = same ? known : { epoch, from: account.input.at.getTime(), cuts: [], keywords };
  return keepHold(account, endpointId, open, { reason: flagsHeld, rule: "B3", mailboxId, count, history });
};

/** What becomes of the hold. @returns whether something is held from now on. */
const settleHold = async (
  account: InputTx,
  scope: Scope,
  open: OpenHold | null,
  { loss, decided, whole }: { loss: FlagLoss; decided: HoldDecision | null; whole: boolean },
): Promise<boolean> => {
  const { keywords, count } = loss;
  if (open === null && count === 0) return false;
  if (open === null) await keepHeld(account, scope, null, { keywords, count });
  else if (whole && (decided !== null || count === 0)) {
    await closeHold(account, scope.endpointId, open, { reason: flagsHeld, rule: "B3", outcome: decided ?? "reappeared" });
    // Other flags may have gone meanwhile.
    return settleHold(account, scope, null, { loss, decided: null, whole });
  } else await keepHeld(account, scope, open, { keywords, count: whole ? count : Math.max(count, open.count) });
  return true;
};

/** What may be believed of an observation; opens, updates and closes the hold of the mailbox in the same transaction. */
export const believedFlags = async (
  account: InputTx,
  lane: LaneFacts,
  mailbox: MailboxFacts,
  { flags, bound, whole, regressed }: SeenFlags,
): Promise<{ readonly facts: readonly FlagFact[]; readonly held: MailboxFacts["flagsHeld"] }> => {
  if (regressed) return { facts: withoutClears(flags, bound), held: mailbox.flagsHeld };
  const open = await openIn(account, mailbox);
  // What was said is carried out on all of it at once.
  const decided = whole ? (open?.decided?.as ?? null) : null;
  const before = open === null ? null : { keywords: open.history?.keywords ?? [], decided };
  const loss = judgeFlagLoss({ facts: flags, bound, items: mailbox.bound, open: before });
  const held = await settleHold(account, scopeOf(lane, mailbox), open, { loss, decided, whole });
  return { facts: loss.facts, held: held ? "held" : "no" };
};

/** Mailboxes whose hold was decided have to be looked at, though nothing happened to them. */
export const noteDecidedFlags = async (context: LaneContext): Promise<void> => {
  const held = [...context.mailboxes.values()].filter((mailbox) => mailbox.flagsHeld === "held");
  if (held.length === 0) return;
  const holds = await inAccount(context.db, context.fence, context.accountId, (account) => loadHolds(account, flagsHeld));
  for (const mailbox of held) if (holds.get(mailbox.mailboxId)?.decided != null) mailbox.flagsHeld = "decided";
};
