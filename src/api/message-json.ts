/** A message as api.md spells it. */
import { type Static, Type } from "typebox";
import { formatId } from "../model/ids.ts";
import type { Address } from "../model/mail.ts";
import type { StoredBinding, StoredContents, StoredMessage, StoredPlacement } from "../store/message-reads.ts";
import { Nullable, Time, Words } from "./schemas.ts";

const AddressSchema = Type.Object({ name: Nullable(Type.String()), email: Type.String() }, { title: "Address" });

const Keywords = Type.Record(Type.String(), Type.Boolean());

const Binding = Type.Object({
  endpointId: Type.String(),
  protocol: Words(["imap", "pop3"]),
  uid: Type.Optional(Type.Integer()),
  uidValidity: Type.Optional(Nullable(Type.Integer())),
  uidl: Type.Optional(Type.String()),
});

const Placement = Type.Object(
  {
    id: Type.String(),
    mailboxId: Type.String(),
    keywords: Keywords,
    state: Words(["live", "kept", "removed"]),
    sync: Words(["synced", "pending", "held", "masked", "canonical_only"]),
    reason: Type.String(),
    recoverableUntil: Nullable(Time),
    bindings: Type.Array(Binding),
  },
  { title: "Placement" },
);

const Attachment = Type.Object(
  {
    partId: Type.String(),
    filename: Nullable(Type.String()),
    contentType: Type.String(),
    size: Type.Integer(),
    contentId: Nullable(Type.String()),
    inline: Type.Boolean(),
  },
  { title: "Attachment" },
);

const messageFields = {
  id: Type.String(),
  blobId: Nullable(Type.String({ description: "`sha256-<hex>`; null while the octets are not stored." })),
  threadId: Type.String(),
  size: Type.Integer(),
  receivedAt: Time,
  sentAt: Nullable(Time),
  messageId: Nullable(Type.String()),
  subject: Nullable(Type.String()),
  from: Type.Array(AddressSchema),
  to: Type.Array(AddressSchema),
  cc: Type.Array(AddressSchema),
  bcc: Type.Array(AddressSchema),
  preview: Type.String(),
  hasAttachment: Type.Boolean(),
  attachments: Type.Array(Attachment),
  parseStatus: Words(["parsed", "failed", "pending"]),
  parseError: Nullable(Type.String()),
  mailboxIds: Type.Record(Type.String(), Type.Boolean()),
  keywords: Keywords,
  placements: Type.Array(Placement),
};

export const MessageSchema = Type.Object(messageFields, { title: "Message" });

/** One message, with the state it was read at. */
export const MessageWithState = Type.Object({ ...messageFields, state: Type.String() }, { title: "MessageWithState" });

const asSet = (words: Iterable<string>): Record<string, boolean> => Object.fromEntries([...words].map((word) => [word, true]));

/**
 * Keywords of a message: any placement has it; `$seen` only if all have it (api.md). Removed placements have no say
 * unless there is nothing else.
 */
const keywordsOf = (placements: readonly StoredPlacement[]): Set<string> => {
  const live = placements.filter((placement) => placement.state !== "removed");
  const asked = live.length > 0 ? live : placements;
  const keywords = new Set(asked.flatMap((placement) => placement.keywords));
  if (!asked.every((placement) => placement.keywords.includes("$seen"))) keywords.delete("$seen");
  return keywords;
};

const toBinding = (binding: StoredBinding): Static<typeof Binding> => {
  const { protocol } = binding;
  const endpointId = formatId("end", binding.endpointId);
  return protocol === "pop3"
    ? { endpointId, protocol, uidl: binding.uidl }
    : { endpointId, protocol, uid: binding.uid, uidValidity: binding.uidValidity };
};

const toPlacement = (placement: StoredPlacement): Static<typeof Placement> => ({
  id: formatId("plc", placement.id),
  mailboxId: formatId("mbx", placement.mailboxId),
  keywords: asSet(placement.keywords),
  state: placement.state,
  sync: placement.sync,
  reason: placement.reason,
  recoverableUntil: placement.recoverableUntil?.toISOString() ?? null,
  bindings: placement.bindings.map(toBinding),
});

const toAddresses = (addresses: readonly Address[]): Static<typeof AddressSchema>[] =>
  addresses.map(({ name, email }) => ({ name, email }));

/** `contents`: what parsing gave, where that is newer than the message. */
export const toMessageJson = (
  message: StoredMessage,
  contents: StoredContents | null = message.contents,
): Static<typeof MessageSchema> => ({
  id: formatId("msg", message.id),
  blobId: message.sha256 === null ? null : `sha256-${message.sha256.toString("hex")}`,
  threadId: formatId("thr", message.threadId),
  size: message.size,
  receivedAt: message.receivedAt.toISOString(),
  sentAt: message.sentAt?.toISOString() ?? null,
  messageId: message.messageId,
  subject: message.subject,
  from: toAddresses(message.from),
  to: toAddresses(message.to),
  cc: toAddresses(message.cc),
  bcc: toAddresses(message.bcc),
  preview: contents?.preview ?? "",
  hasAttachment: contents?.hasAttachment ?? false,
  attachments: [...(contents?.attachments ?? [])],
  parseStatus: contents?.status ?? "pending",
  parseError: contents?.reason ?? null,
  mailboxIds: asSet(
    message.placements.filter(({ state }) => state !== "removed").map(({ mailboxId }) => formatId("mbx", mailboxId)),
  ),
  keywords: asSet(keywordsOf(message.placements)),
  placements: message.placements.map(toPlacement),
});
