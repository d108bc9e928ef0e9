/**
 * Identifiers. Inside the daemon an id is a lower-case UUID (version 7, so that rows of one batch lie together
 * in an index); outside it is a prefix and the 32 hex digits, e.g. `msg_0192f3a1…`. Branded, so that a mailbox is
 * never passed where a message is meant.
 */
declare const brand: unique symbol;
type Id<Kind extends string> = string & { readonly [brand]: Kind };

export type TenantId = Id<"tenant">;
export type AccountId = Id<"account">;
export type EndpointId = Id<"endpoint">;
export type MailboxId = Id<"mailbox">;
export type MessageId = Id<"message">;
export type PlacementId = Id<"placement">;
export type KeyId = Id<"key">;
export type WebhookId = Id<"webhook">;
export type ProcessId = Id<"process">;

export type IdPrefix = "ten" | "acc" | "end" | "mbx" | "msg" | "plc" | "key" | "thr" | "hld" | "whk" | "dlv" | "aud";

/** `("msg", uuid)` → `msg_<32 hex digits>`. */
export const formatId = (prefix: IdPrefix, uuid: string): string => `${prefix}_${uuid.replaceAll("-", "")}`;

/** The UUID behind an outside id, or null when `text` is not an id of that prefix. */
export const parseId = <T extends string>(prefix: IdPrefix, text: string): T | null => {
  const hex = text.startsWith(`${prefix}_`) ? text.slice(prefix.length + 1) : "";
  if (!/^[0-9a-f]{32}$/.test(hex)) return null;
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}` as T;
};
