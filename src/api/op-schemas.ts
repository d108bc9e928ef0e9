/** Operations on mail as requests spell them. */
import { type Static, Type } from "typebox";
import { type MailboxId, type MessageId, parseId } from "../model/ids.ts";
import type { MailOp, PatchOp } from "../model/intent.ts";
import { type Fault, invalid } from "./problem.ts";
import { Nullable, Strict } from "./schemas.ts";

/** More than anybody says at once: each is a word of its own in commands to servers and in every answer about the message. */
const mostNamed = 100;

const Patch = (description: string) =>
  Type.Record(Type.String(), Nullable(Type.Boolean()), { description, maxProperties: mostNamed });

const patchFields = {
  keywords: Type.Optional(
    Patch(
      "JSON merge patch: `true` sets a keyword, `null` or `false` takes it away, what is not named stays. JMAP spelling, e.g. `$seen`.",
    ),
  ),
  mailboxIds: Type.Optional(
    Patch(
      "JSON merge patch: `true` puts the message into a mailbox, `null` or `false` takes it out. One of each is a move, which keeps the placement.",
    ),
  ),
};

export const MessagePatch = Strict(patchFields, { title: "MessagePatch" });

export const RestoreTarget = Type.Optional(Type.String({ description: "Where to; without it where the message came from." }));

const PatchEntry = Strict({ op: Type.Literal("patch"), messageId: Type.String(), ...patchFields }, { title: "PatchOp" });
const DeleteEntry = Strict({ op: Type.Literal("delete"), messageId: Type.String() }, { title: "DeleteOp" });
const PurgeEntry = Strict({ op: Type.Literal("purge"), messageId: Type.String() }, { title: "PurgeOp" });
const RestoreEntry = Strict(
  { op: Type.Literal("restore"), messageId: Type.String(), mailboxId: RestoreTarget },
  { title: "RestoreOp" },
);

type Entry = Static<typeof PatchEntry> | Static<typeof DeleteEntry> | Static<typeof PurgeEntry> | Static<typeof RestoreEntry>;

/** One operation of a batch. */
export const BatchEntry = Type.Unsafe<Entry>({
  type: "object",
  discriminator: { propertyName: "op" },
  required: ["op"],
  oneOf: [PatchEntry, DeleteEntry, PurgeEntry, RestoreEntry],
});

/** RFC 8621 §4.1.1; a backslash in front is let through, so that system flags are refused by their reason. */
const isKeyword = (text: string): boolean => /^\\?[\x21\x23\x24\x26\x27\x2b-\x5b\x5e-\x7a\x7c-\x7e]{1,255}$/.test(text);

/** In lower case. @throws ProblemError for a name that no keyword can have. */
export const readKeyword = (keyword: string, pointer: string, place: Fault["in"] = "body"): string => {
  if (!isKeyword(keyword)) throw invalid(place, `${pointer}/${keyword.slice(0, 100)}`, "is not a keyword");
  return keyword.toLowerCase();
};

/** @throws ProblemError for what is no id. */
export const readMessageId = (text: string, pointer: string, place: Fault["in"] = "body"): MessageId => {
  const id = parseId<MessageId>("msg", text);
  if (id === null) throw invalid(place, pointer, "is not the id of a message");
  return id;
};

/** @throws ProblemError for what is no id. */
const readMailboxId = (text: string, pointer: string, place: Fault["in"] = "body"): MailboxId => {
  const id = parseId<MailboxId>("mbx", text);
  if (id === null) throw invalid(place, pointer, "is not the id of a mailbox");
  return id;
};

/** null: none is given. @throws ProblemError for what is no id. */
export const readTarget = (text: string | undefined, place: Fault["in"], at = ""): MailboxId | null =>
  text === undefined ? null : readMailboxId(text, `${at}/mailboxId`, place);

/** `at`: where in the body it stands. @throws ProblemError for names that are none. */
export const readPatch = (messageId: MessageId, patch: Static<typeof MessagePatch>, at = ""): PatchOp => {
  const { keywords = {}, mailboxIds = {} } = patch;
  return {
    op: "patch",
    messageId,
    keywords: Object.fromEntries(
      Object.entries(keywords).map(([keyword, value]) => [readKeyword(keyword, `${at}/keywords`), value === true]),
    ),
    mailboxIds: Object.fromEntries(
      Object.entries(mailboxIds).map(([id, value]): [MailboxId, boolean] => [
        readMailboxId(id, `${at}/mailboxIds/${id.slice(0, 100)}`),
        value === true,
      ]),
    ),
  };
};

export const readEntry = (entry: Entry, index: number): MailOp => {
  const at = `/ops/${index}`;
  const messageId = readMessageId(entry.messageId, `${at}/messageId`);
  switch (entry.op) {
    case "patch":
      return readPatch(messageId, entry, at);
    case "restore":
      return { op: "restore", messageId, mailboxId: readTarget(entry.mailboxId, "body", at) };
    default:
      return { op: entry.op, messageId };
  }
};
