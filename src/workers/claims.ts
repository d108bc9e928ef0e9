/**
 * Items that we put into a mailbox ourselves, known again when they are seen (ID-1, ID-2): by the octets that were sent, or by
 * their normal form where the server changed what it took. Seeing them is the only thing that confirms them.
 */
import { fingerprint } from "../mime/fingerprint.ts";
import type { CommandReason } from "../model/command.ts";
import type { MessageId } from "../model/ids.ts";
import type { FetchedItem } from "../model/observation.ts";
import type { Claim } from "../reconciler/claims.ts";
import { preserved } from "../reconciler/preserve-ahead.ts";
import type { Decision, Scope } from "../reconciler/state.ts";
import type { AccountTx, InputTx } from "../store/account-tx.ts";
import { loadOpenPlacings, moveCommands, type OpenPlacing } from "../store/commands.ts";
import { commandsEnded } from "../telemetry/metrics.ts";
import type { LaneContext } from "./lane-state.ts";

export type ShownItem = Pick<FetchedItem, "uid" | "octets">;

const fromOf = ({ fence }: OpenPlacing, scope: Scope): number | null =>
  fence.epoch === scope.epoch ? (fence.uidNext ?? 1) : null;

const sentWith = ({ verb, fence, placement }: OpenPlacing): readonly string[] =>
  verb === "move" ? (placement.binding?.shadowFlags ?? []) : (fence.said?.flags ?? []);

/** What was moved and destroyed here meanwhile is known by what it was. */
const hashOf = ({ content, fence }: OpenPlacing): string[] => {
  const sha256 = content?.sha256.toString("hex") ?? fence.sha256;
  return sha256 === undefined ? [] : [sha256];
};

/** Hex hashes of normal forms, by those of octets. */
export type NormalForms = ReadonlyMap<string, string>;

/**
 * Normal forms of items that may be what one of the commands put there, by their octets. Read before it is decided: whoever decides
 * again about the items may not have their octets any more.
 */
export const readForms = async (
  { db, accountId }: Pick<LaneContext, "db" | "accountId">,
  scope: Scope,
  items: readonly ShownItem[],
): Promise<NormalForms> => {
  const forms = new Map<string, string>();
  const open = items.length === 0 ? [] : await loadOpenPlacings(db, accountId, scope);
  if (open.length === 0) return forms;
  const sent = new Set(open.flatMap(hashOf));
  const from = Math.min(...open.map((placing) => fromOf(placing, scope) ?? 1));
  for (const { uid, octets } of items) {
    const sha256 = octets?.sha256.toString("hex");
    if (octets === null || sha256 === undefined || uid < from || sent.has(sha256)) continue;
    forms.set(sha256, (await fingerprint(octets.parts())).hFull.toString("hex"));
  }
  return forms;
};

const meanings: ReadonlyMap<CommandReason, Claim["is"]> = new Map([
  ["restored_after_drain", "back"],
  [preserved.reason, "copy"],
]);

/** What a batch of items may confirm; nearly always nothing is open. */
export const loadClaims = async (account: AccountTx, scope: Scope, forms: NormalForms): Promise<readonly Claim[]> => {
  const open = await loadOpenPlacings(account.tx, account.accountId, scope);
  return open.map((placing) => {
    const { commandId, verb, reason, opId, placement, fence } = placing;
    const alike = [...forms].flatMap(([sha256, hFull]) => (hFull === fence.hFull ? [sha256] : []));
    const hashes = new Set([...hashOf(placing), ...alike]);
    const is = meanings.get(reason) ?? "placed";
    return { commandId, verb, opId, is, placement, hashes, sent: sentWith(placing), from: fromOf(placing, scope) };
  });
};

/** Which items may be the mail that a command of ours put there (ID-2): these have to be read, for headers do not tell. */
export const loadClaimed = async (account: AccountTx, scope: Scope): Promise<(uid: number, messageId: MessageId) => boolean> => {
  const open = await loadOpenPlacings(account.tx, account.accountId, scope);
  return (uid, messageId) =>
    open.some((placing) => placing.placement.messageId === messageId && uid >= (fromOf(placing, scope) ?? Infinity));
};

/** Did the decision find it? A copy is a placement of its own. */
const isShown = ({ is, placement }: Claim, { bindings, newPlacements }: Decision): boolean =>
  is === "copy"
    ? newPlacements.some(({ messageId, reason }) => messageId === placement.messageId && reason === preserved.reason)
    : bindings.some(({ placementId }) => placementId === placement.id);

/** Ends what was put back or copied and was seen; the log has told of it with the placement. The rest is confirmed when it is looked at. */
export const confirmClaims = async (account: InputTx, claims: readonly Claim[], decision: Decision): Promise<void> => {
  const confirmed = claims.filter((claim) => claim.is !== "placed" && isShown(claim, decision));
  const moves = confirmed.map(({ commandId, opId, is }) => ({
    id: commandId,
    opId,
    changes: [],
    status: "confirmed" as const,
    outcome: is === "copy" ? preserved.reason : "restored_after_drain",
    dueAt: null,
  }));
  await moveCommands(account, moves);
  commandsEnded.inc({ verb: "append", status: "confirmed" }, confirmed.length);
};
