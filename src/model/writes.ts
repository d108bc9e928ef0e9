/** What the API asks of whoever decides intents. */
import type { AccountId, TenantId } from "./ids.ts";
import type { ImportOp, IntentResult, MailIntent } from "./intent.ts";
import type { Octets } from "./octets.ts";

export interface WriteRequest {
  readonly tenantId: TenantId;
  readonly accountId: AccountId;
  readonly deviceId: string;
  /** The last change the caller had seen; null: it did not say, so that its intents come after all there is (1.4). */
  readonly base: bigint | null;
  /** In this order; what is rejected stops nothing (Q2). */
  readonly intents: readonly MailIntent[];
}

export interface Written {
  /** One for each intent, in their order. */
  readonly results: readonly IntentResult[];
  /** The account's state afterwards. */
  readonly state: { readonly epoch: number; readonly seq: bigint };
}

export interface ImportRequest extends Omit<WriteRequest, "base" | "intents"> {
  readonly opId: string;
  readonly op: ImportOp;
  readonly octets: Octets;
}

/** Where intents are decided. `Tx`: the transaction that the caller commits, and its answer with it. */
export interface Writes<Tx> {
  /** null: the tenant has no such account. */
  write(tx: Tx, request: WriteRequest): Promise<Written | null>;
  /** Takes mail in as it arrives; whoever asked disposes of it. null: it is larger than mail may be. */
  collect(source: AsyncIterable<Buffer>): Promise<Octets | null>;
  /** null: the tenant has no such account. */
  importMail(tx: Tx, request: ImportRequest): Promise<Written | null>;
}
