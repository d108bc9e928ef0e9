/**
 * A change as programs outside see it: the one spelling that the change list, the event stream and webhooks share. Ids
 * leave the daemon in their outside form, also those inside of `before`, `after` and `evidence`.
 */
import { type Change, formatState } from "./change.ts";
import { formatId, type IdPrefix } from "./ids.ts";

export interface ChangeJson {
  readonly seq: number;
  readonly state: string;
  readonly at: string;
  readonly kind: string;
  readonly accountId: string;
  readonly messageId: string | null;
  readonly mailboxId: string | null;
  /** Which occurrence of the message, where it has several. */
  readonly placementId: string | null;
  readonly before: Record<string, unknown> | null;
  readonly after: Record<string, unknown> | null;
  readonly cause: { readonly source: string; readonly endpointId: string | null; readonly deviceId: string | null };
  readonly reason: string;
  readonly rule: string | null;
  readonly confidence: number | null;
  readonly evidence: unknown[];
  /** Of this entry and all before it (store/change-chain.ts): 64 hex digits. */
  readonly hash: string;
}

/** Names under which ids stand inside of JSON values; a plural holds several, as a list or as the keys of an object. */
const prefixes = new Map<string, IdPrefix>(
  (
    [
      ["accountId", "acc"],
      ["endpointId", "end"],
      ["mailboxId", "mbx"],
      ["parentId", "mbx"],
      ["messageId", "msg"],
      ["placementId", "plc"],
      ["threadId", "thr"],
      ["holdId", "hld"],
    ] as const
  ).flatMap(([name, prefix]) => [
    [name, prefix],
    [`${name}s`, prefix],
  ]),
);

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Anything that is not one of our ids stays as it is: a `messageId` may well be the header's. */
const outside = (prefix: IdPrefix, text: string): string => (uuid.test(text) ? formatId(prefix, text) : text);

const shown = (value: unknown, prefix: IdPrefix | undefined): unknown => {
  if (typeof value === "string") return prefix === undefined ? value : outside(prefix, value);
  if (Array.isArray(value)) return value.map((item) => shown(item, prefix));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      prefix === undefined ? name : outside(prefix, name),
      shown(inner, prefixes.get(name)),
    ]),
  );
};

const idOrNull = (prefix: IdPrefix, id: string | null): string | null => (id === null ? null : formatId(prefix, id));

/**
 * All but the hash, which covers it. An entry once given out must be spelled like that for ever: what is added to the form
 * must be absent from entries that were made before.
 */
export const toChangeFacts = (change: Omit<Change, "hash">): Omit<ChangeJson, "hash"> => ({
  seq: Number(change.seq),
  state: formatState(change.stateEpoch, change.seq),
  at: change.at.toISOString(),
  kind: change.kind,
  accountId: formatId("acc", change.accountId),
  messageId: idOrNull("msg", change.messageId),
  mailboxId: idOrNull("mbx", change.mailboxId),
  placementId: idOrNull("plc", change.placementId),
  before: shown(change.before, undefined) as ChangeJson["before"],
  after: shown(change.after, undefined) as ChangeJson["after"],
  cause: { source: change.source, endpointId: idOrNull("end", change.endpointId), deviceId: change.deviceId },
  reason: change.reason,
  rule: change.rule,
  confidence: change.confidence,
  evidence: shown(change.evidence, undefined) as unknown[],
});

export const toChangeJson = (change: Change): ChangeJson => ({ ...toChangeFacts(change), hash: change.hash });
