/** What a change of policy does to mail that is gone upstream already. */
import type { Policy } from "./account.ts";
import type { AccountId, MailboxId, MessageId, PlacementId, TenantId } from "./ids.ts";

/** `restored`: kept, and put back on the server as well. */
export type PolicyStanding = "kept" | "removed" | "restored";

/** A placement that would stand elsewhere. */
export interface PolicyEffect {
  readonly placementId: PlacementId;
  readonly messageId: MessageId;
  readonly mailboxId: MailboxId;
  readonly now: PolicyStanding;
  readonly wouldBe: PolicyStanding;
  /** The class it would have, e.g. `pop3_drain`; the rule and confidence of that. */
  readonly reason: string;
  readonly rule: string;
  readonly confidence: number | null;
  /** Days in which it could be brought back; null unless removed. */
  readonly recoverableDays: number | null;
}

interface PolicyRequest {
  readonly tenantId: TenantId;
  readonly accountId: AccountId;
}

export interface SimulateRequest extends PolicyRequest {
  readonly policy: Policy;
  /** Effects behind this placement; null: from the first. */
  readonly after: PlacementId | null;
  readonly limit: number;
}

export interface SimulatedPolicy {
  /** All that would stand elsewhere. */
  readonly total: number;
  /** By placement id, at most as many as were asked for. */
  readonly effects: readonly PolicyEffect[];
  /** Where what is restored is put back; null: a mailbox would be made for it. */
  readonly restoreTo: MailboxId | null;
  readonly state: { readonly epoch: number; readonly seq: bigint };
}

/** Where policies are applied to what was decided before. `Tx`: the transaction that the caller commits. */
export interface Policies<Tx> {
  /** Changes nothing and locks nothing; `tx` must be a new one. null: the tenant has no such account. */
  simulate(tx: Tx, request: SimulateRequest): Promise<SimulatedPolicy | null>;
  /** By the policy that the account has in this transaction. @returns how much stands elsewhere now. */
  apply(tx: Tx, request: PolicyRequest & { readonly deviceId: string }): Promise<number>;
}
