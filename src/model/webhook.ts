/** Webhooks: the same changes as the feed's, pushed to an address of the tenant's. */
import type { AccountId, TenantId, WebhookId } from "./ids.ts";

/** Why nothing is sent: its owner asked for that, the receiver answered 410, or nothing was taken for days. */
export type DisabledBecause = "asked" | "gone" | "failing";

/** What became of one attempt. `cut`: the log does not go back to where the webhook stands. */
export type DeliveryResult = "2xx" | "3xx" | "4xx" | "5xx" | "gone" | "timeout" | "unreachable" | "blocked" | "cut";

export interface Webhook {
  readonly id: WebhookId;
  readonly tenantId: TenantId;
  readonly url: string;
  /** null: all accounts of the tenant, also those to come. */
  readonly accountIds: readonly AccountId[] | null;
  /** Kinds of changes, e.g. `message.created`; null: all. */
  readonly kinds: readonly string[] | null;
  readonly oldSecretUntil: Date | null;
  readonly disabledBecause: DisabledBecause | null;
  /** Failures in a row, over all accounts. */
  readonly failures: number;
  readonly failingSince: Date | null;
  /** The breaker is open until then. */
  readonly openUntil: Date | null;
  readonly lastSuccessAt: Date | null;
  readonly createdAt: Date;
}

export interface Delivery {
  readonly id: string;
  /** null, as `seq`: a test event. */
  readonly accountId: AccountId | null;
  readonly seq: bigint | null;
  readonly kind: string;
  /** 1 for the first. */
  readonly attempt: number;
  readonly at: Date;
  readonly result: DeliveryResult;
  /** The HTTP status; null: there was no answer. */
  readonly status: number | null;
  readonly durationMs: number;
}
