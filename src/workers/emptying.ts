/** What is in a mailbox that shall go is moved first (semantics D8). */
import type { EndpointId, MailboxId } from "../model/ids.ts";
import { noteChange, writePlacement } from "../reconciler/intent-slice.ts";
import { emptyDraft, type PlacementView } from "../reconciler/state.ts";
import type { InputTx } from "../store/account-tx.ts";
import { planIntentCommands } from "../store/commands.ts";
import { takeLeft } from "../store/intents.ts";
import { applyDecision } from "../store/decisions.ts";
import { livePlacements } from "../store/slices.ts";

export interface Emptying {
  readonly from: MailboxId;
  readonly to: MailboxId;
  /** Whose operation wants it. */
  readonly opId: string;
  readonly deviceId: string;
  /** Absent: the mailbox shall go (D8). */
  readonly why?: { readonly reason: string; readonly rule: string };
}

const moveSome = async (
  account: InputTx,
  placements: readonly PlacementView[],
  { from, to, deviceId, why = { reason: "mailbox_removed", rule: "D8" } }: Emptying,
): Promise<void> => {
  const draft = emptyDraft();
  for (const placement of placements) {
    const { keywords } = placement;
    const { reason } = why;
    const before = { mailboxId: from, keywords };
    const after = { mailboxId: to, keywords };
    const moved = { ...placement, mailboxId: to };
    const change = noteChange(draft, { deviceId }, moved, { kind: "message.moved", before, after, ...why });
    writePlacement(draft, moved, { reason, change });
  }
  await applyDecision(account, draft, { scope: null, contents: [], existing: new Set() });
};

/** Mail that no server has any more moves, and stays kept. `endpointId`: what has to follow; null: nothing. */
export const moveAll = async (account: InputTx, endpointId: EndpointId | null, emptying: Emptying): Promise<void> => {
  for await (const placements of livePlacements(account, endpointId, emptying.from)) {
    await moveSome(account, placements, emptying);
    const ids = placements.map(({ id }) => id);
    if (endpointId !== null) await planIntentCommands(account, endpointId, ids, { opId: emptying.opId });
  }
};

/** What moves by copying left in it goes first: its mail is elsewhere (ID-5a2). @returns whether there is something. */
export const removeLeft = async (
  account: InputTx,
  endpointId: EndpointId,
  { from, opId }: Pick<Emptying, "from" | "opId">,
): Promise<boolean> => {
  const left = await takeLeft(account, "mailbox_id", [from]);
  await planIntentCommands(account, endpointId, left, { opId, named: true });
  return left.length > 0;
};
