/** What had to be RETRed while IMAP was down, before and after (semantics K11). */
import type { ListedItem } from "../model/maildrop.ts";
import { settleRetrieved } from "../reconciler/retrieved.ts";
import type { Scope } from "../reconciler/state.ts";
import type { InputTx } from "../store/account-tx.ts";
import { applyDecision } from "../store/decisions.ts";
import { endGoneRetrievals, endRetrievals, hasRetrievals, loadRetrievals, noteRetrievals } from "../store/retrievals.ts";
import { defineInput, ingest } from "../store/inputs.ts";
import { step } from "../telemetry/failpoint.ts";
import type { MaildropContext } from "./maildrop-commit.ts";

const retrievalsBegun = defineInput(
  "outcome",
  "pop3.retrievals-begun",
  (account, { scope, items }: { readonly scope: Scope; readonly items: readonly ListedItem[] }) =>
    noteRetrievals(account, scope, items),
);

/** Makes it durable that items are about to be RETRed. */
export const journalRetrievals = async (context: MaildropContext, scope: Scope, items: readonly ListedItem[]): Promise<void> => {
  step("before retrieval journal");
  await ingest(context, retrievalsBegun, {
    scope,
    items: items.map(({ uidl, occurrence, size }) => ({ uidl, occurrence, size })),
  });
  step("after retrieval journal");
};

/**
 * Decides about what IMAP shows again. `allBound`: the last look at the maildrop left nothing open.
 * @returns whether entries are left.
 */
export const settleRetrievals = async (account: InputTx, allBound = false): Promise<boolean> => {
  if (!(await hasRetrievals(account))) return false;
  if (allBound) await endGoneRetrievals(account);
  const open = await loadRetrievals(account);
  const first = open[0]?.item;
  if (first === undefined) return hasRetrievals(account);
  const decision = settleRetrieved(
    open.map(({ item }) => item),
    account.input.at.getTime(),
  );
  // All are of the one IMAP endpoint that an account has.
  const scope = { endpointId: first.imapEndpointId, mailboxId: first.placement.mailboxId, epoch: 0 };
  await applyDecision(account, decision, { scope, contents: [], existing: new Set() });
  await endRetrievals(
    account,
    open.flatMap((entry, index) => {
      const outcome = decision.outcomes[index] ?? null;
      return outcome === null ? [] : [{ ...entry, outcome }];
    }),
  );
  return hasRetrievals(account);
};

/** What the looks at both views tell of what was RETRed. */
export const retrievalsLookedAt = defineInput(
  "tick",
  "pop3.retrievals-looked-at",
  (account, { allBound }: { readonly allBound: boolean }) => settleRetrievals(account, allBound),
);
