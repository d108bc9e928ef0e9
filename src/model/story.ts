/**
 * The log in plain words: one sentence for each change, and what its reader can do where another outcome is wanted. Whoever adds a
 * reason adds its sentence here; a test holds the two together.
 */
import type { DecidedChange } from "./change.ts";
import { type HoldDecision, holdChoices } from "./hold.ts";
import { inverseOfMailbox } from "./mailbox-intent.ts";

interface Telling {
  readonly text: string;
  /** What to do to get the other outcome; null: nothing is to be done, or nothing can be. */
  readonly otherwise?: string;
}

const undo = "To take it back, POST …/changes/{seq}/undo.";
const restore = "To have it back in its place, POST …/restore before `recoverableUntil`.";
const drainPolicy = "To have such mail treated otherwise, set the policy `onPop3Drain`; ask …/policy/simulate first.";
const expungePolicy = "To keep what is deleted upstream, set the policy `onUserExpunge` to `keep`; ask …/policy/simulate first.";
const putBack =
  "Over IMAP the mail server has it again when it is moved: to another mailbox (PATCH …/messages/{messageId} with `mailboxIds`), and back.";
const holdChoice = "Decide it: POST …/holds/{holdId}/approve or …/reject.";
const writeAgain = "It is not tried again by itself: repeat the operation when the server allows it.";
const nameAgain = "To have it tried again, PATCH …/mailboxes/{mailboxId} with its name, or give it another one.";

/** By reason; where it means something else in one kind of change, `kind reason`, and of a mailbox `mailbox reason`. */
const tellings: Readonly<Record<string, Telling>> = {
  backfilled: { text: "It was there when its mailbox was first read." },
  delivered: { text: "It came in." },
  copied: { text: "A copy of mail that was here already appeared on the server.", otherwise: undo },
  headers_came: { text: "The server lists it and its octets are not stored, as it is too large or not given; its headers came." },
  octets_came: { text: "Its octets came; until then it was known to be listed only." },
  upstream_flags: { text: "A device changed its keywords on the mail server.", otherwise: undo },
  upstream_move: { text: "Another client moved it on the mail server.", otherwise: undo },
  upstream_copy_delete: {
    text: "Another client moved it on the mail server: it copied it, and marked the first as deleted.",
    otherwise: undo,
  },
  upstream_reappeared: { text: "It is shown on the server again." },
  upstream_created: { text: "The mailbox appeared on the mail server." },
  upstream_renamed: { text: "Another client renamed the mailbox." },
  upstream_deleted: { text: "The mailbox is gone from the mail server: two complete lists, a minute apart, lacked it." },
  api_created: { text: "An app made the mailbox." },
  api_renamed: { text: "An app changed the mailbox's name, place or role." },
  same_to_server: {
    text: "The mail server has one mailbox for names that differ in case only: it is the one that was there.",
    otherwise: "For a mailbox of its own give it another name: POST …/mailboxes.",
  },
  api_removed: { text: "An app removed the mailbox; nothing lay in it any more." },
  mailbox_removed: { text: "An app removed its mailbox, and had its mail moved.", otherwise: undo },
  target_mailbox_deleted: { text: "The mailbox it was to be moved to is gone; it stays where it was.", otherwise: undo },
  role_taken: { text: "An app gave the mailbox's role to another one." },
  name_taken: {
    text: "Two mailboxes were to have one name; the one that the server has under it keeps it, and the other is numbered.",
    otherwise: "Give it another name: PATCH …/mailboxes/{mailboxId}.",
  },
  concurrent_rename: {
    text: "Two devices renamed or moved mailboxes without knowing of each other; one had to give way.",
    otherwise: "Rename it again: a name given now comes after both.",
  },
  name_has_delimiter: {
    text: "The name has the character in it that separates levels on the mail server; here it stands.",
    otherwise: "Give it another name: PATCH …/mailboxes/{mailboxId}.",
  },
  no_parent: { text: "The mailbox it lies in is not on the mail server; here it stands.", otherwise: nameAgain },
  mailbox_not_empty: {
    text: "The mailbox was to be removed, but there is mail in it by now that nobody said a place for, or mail comes into it all the time; it stays.",
    otherwise: "Remove it again, with ?moveMessagesTo=, when nothing puts mail into it any more.",
  },
  mailbox_has_children: {
    text: "The mailbox was to be removed, but other mailboxes lie in it by now; it stays.",
    otherwise: "Move or remove those first.",
  },
  default_mailbox: { text: "Every account has this mailbox." },
  trash_needed: { text: "Something was thrown away, and there was no Trash." },
  shown_by_both: { text: "POP3 and IMAP show the same mail; it is one message with the older id." },
  weak_seen: {
    text: "The server marked it as read because a POP3 device retrieved it. Nobody opened it, so that it stays unread.",
    otherwise: "If somebody did read it, set `$seen`; to believe the server always, set the policy `pop3Seen` to `accept`.",
  },
  self_inflicted_seen: { text: "Samebox had to retrieve it over POP3, which marked it as read; that was taken back." },
  revert_refused: { text: "The server refused to mark it as unread again, so that it is read here, too." },
  pop3_seen_reverted: { text: "It was set back to unread on the server: a POP3 device had only retrieved it." },
  label_removed: {
    text: "A device took this label from it on the mail server; it has others still.",
    otherwise: restore,
  },
  user_expunge: { text: "A device deleted it on the mail server.", otherwise: `${restore} ${expungePolicy}` },
  retention: { text: "The server removed it from Trash or Junk for its age.", otherwise: restore },
  mailbox_deleted: { text: "Its mailbox was deleted on the mail server.", otherwise: restore },
  unknown: {
    text: "It is gone from the mail server, and nothing tells why: a POP3 device, webmail or a rule may have taken it.",
    otherwise: `${restore} If a POP3 device reads this account, set the policy \`pop3Devices\` to \`declared\`.`,
  },
  pop3_drain: {
    text: "A POP3 device took it from the server. That is no wish to delete it.",
    otherwise: drainPolicy,
  },
  pop3_drain_via_trash: { text: "A POP3 device took it; this server moves such mail to Trash.", otherwise: drainPolicy },
  restored_after_drain: { text: "It was put back on the server, into a mailbox that POP3 does not show." },
  preserved_ahead: {
    text: "It is a copy on the server, made before a POP3 device could take the mail from INBOX.",
    otherwise: "To have no such copies made, set the policy `preserveAhead` to `false`.",
  },
  self: { text: "Samebox removed it from the server, as the policy `serverCopy` asks; it stays here." },
  lost_before_durable: { text: "It was gone before its octets could be read: nothing of it but its listing was ever here." },
  came_and_went_unseen: {
    text: "Mail came and went between two looks, so that nobody here has seen it.",
    otherwise: "Let POP3 devices leave mail on the server for some days, or look more often (SAMEBOX_POLL_SECONDS).",
  },
  changes_missed: { text: "The server had not told of changes; they were found by comparing the whole mailbox." },
  mass_vanish: {
    text: "Much of the mailbox is gone at once, which is not believed without a second thought.",
    otherwise: holdChoice,
  },
  mass_drain: { text: "Much of the maildrop is gone at once.", otherwise: holdChoice },
  mass_flag_loss: { text: "Many messages lost the same keyword at once.", otherwise: holdChoice },
  inconsistent_views: { text: "IMAP no longer shows it and POP3 still does.", otherwise: holdChoice },
  epoch: { text: "The mailbox was numbered anew, and too little of it is known again.", otherwise: holdChoice },
  octets_damaged: { text: "Stored octets are not what they were; they are fetched again." },
  mass_vanish_released: {
    text: "It stayed away while much was gone; it is kept here.",
    otherwise: "To be rid of it, DELETE it.",
  },
  mass_vanish_rejected: { text: "Somebody said that it is to stay here although the server lost it." },
  epoch_rejected: { text: "Somebody said that what the renumbered mailbox lacks is to stay here." },
  content_mismatch: {
    text: "The server shows other mail under numbers that it had given before; what is known is found again by its content, and nothing of the one is put on the other.",
  },
  uidvalidity_changed: { text: "The server numbered the mailbox anew; every message kept its id." },
  ids_replaced: { text: "The server gave new unique-ids to its mail; every message kept its id." },
  api_keywords: { text: "An app changed its keywords.", otherwise: undo },
  api_move: { text: "An app moved it.", otherwise: undo },
  api_copy: { text: "An app copied it.", otherwise: undo },
  api_import: { text: "An app imported it.", otherwise: undo },
  api_replace: { text: "An app replaced it by its next version.", otherwise: restore },
  api_replacement: { text: "An app brought it as the next version of a draft." },
  draft_fork: {
    text: "It was written as the next version of a draft while somebody else replaced or removed the one before: both stay.",
    otherwise: "DELETE the version that is not wanted.",
  },
  api_trash: { text: "An app moved it to Trash.", otherwise: "POST …/restore brings it back." },
  api_remove: { text: "An app took it out of this mailbox; it is in another one.", otherwise: restore },
  api_restore: { text: "An app brought it back.", otherwise: undo },
  api_undo: { text: "An app took an earlier change back.", otherwise: undo },
  api_purge: { text: "An app destroyed it. Its octets are gone." },
  flags_lost: { text: "The mail server did not show keywords that stand here and that nobody took away there; now it does." },
  exclusive_keywords: { text: "The mail server had it as junk and as no junk at once, so that it is neither." },
  source_gone: { text: "An app had moved it, and it was gone from the server before that was done; it is put there again." },
  api_write: { text: "What an app had changed is now so on the mail server, too." },
  concurrent_keywords: {
    text: "Two devices changed the same keyword without knowing of each other; the safer value stands.",
    otherwise: "Set the keyword again: a change made now comes after both.",
  },
  grow_only: { text: "This keyword says that something was sent; it is never taken away." },
  concurrent_location: {
    text: "Two devices put it in different places without knowing of each other; one had to give way.",
    otherwise: "Move it again: a move made now comes after both.",
  },
  "write.failed epoch": {
    text: "The mail server numbered the mailbox anew, again and again, before this could be done; here it stands.",
    otherwise: writeAgain,
  },
  mailbox_refused: {
    text: "The mailbox it is to be in is not on the mail server, or takes no mail there; here it stands, and it goes there as soon as it can.",
    otherwise: "Give that mailbox another name (PATCH …/mailboxes/{mailboxId}), or move it to another one.",
  },
  no_mailbox: { text: "The mail server had no such mailbox, again and again; here it stands.", otherwise: writeAgain },
  try_later: { text: "The mail server put it off, again and again; here it stands.", otherwise: writeAgain },
  unsupported_flag: {
    text: "The mail server keeps no such keyword in this mailbox; here it stands.",
    otherwise: "It is written there as soon as the mailbox is seen to keep it.",
  },
  "mailbox no_permission": { text: "The mail server does not allow this; here it stands.", otherwise: nameAgain },
  "mailbox unsupported": {
    text: "The mail server cannot have a mailbox of this name in this place; here it stands.",
    otherwise: nameAgain,
  },
  "mailbox no_effect": { text: "The mail server did not do it, however often it was asked.", otherwise: nameAgain },
  "mailbox no_answer": { text: "The mail server did not answer, again and again.", otherwise: nameAgain },
  "mailbox try_later": { text: "The mail server put it off, again and again; here it stands.", otherwise: nameAgain },
  no_permission: { text: "The mail server does not allow this change; here it stands.", otherwise: writeAgain },
  unsupported: { text: "The mail server cannot keep this; here it stands." },
  over_quota: {
    text: "The account on the mail server is full; here it stands, and there it is tried again every hour.",
    otherwise: "Make room on the mail server, and have it tried at once: POST …/sync.",
  },
  pending_expunge: {
    text: "The mail server cannot remove one message alone: what was left behind there is marked as deleted, and not shown here.",
    otherwise: "Have a mail program remove what is marked as deleted.",
  },
  no_effect: { text: "The mail server said yes, again and again, and did nothing.", otherwise: writeAgain },
  no_answer: { text: "The mail server did not answer, again and again.", otherwise: writeAgain },
  not_replaced: {
    text: "The mail server did not take the version that replaces it, so the earlier one stays there.",
    otherwise: writeAgain,
  },
  octets_missing: { text: "It could not be put back: its octets are not here." },
  not_found: { text: "The server took it and does not show it; it is not sent again, so that there are no two of it." },
};

const byKind: Readonly<Record<string, string>> = {
  "message.created": "It is here.",
  "message.keywords": "Its keywords changed.",
  "message.moved": "It was moved.",
  "message.kept": "It is gone upstream and stays here.",
  "message.removed": "It was removed, and can be brought back.",
  "message.restored": "It is back.",
  "message.purged": "It was destroyed.",
  "write.applied": "The mail server has it so, too.",
  "write.failed": "The mail server does not have it so.",
  "hold.closed": "What was held is decided.",
};

const namesOf = (value: unknown): string => (Array.isArray(value) ? value.map(String).toSorted().join(", ") : "");

/** Which keywords came and went, also with a move. */
const keywordsTold = ({ before, after }: DecidedChange): string => {
  const [was, is] = [before?.["keywords"], after?.["keywords"]].map((list) => (Array.isArray(list) ? list.map(String) : null));
  if (was == null || is == null) return "";
  const added = namesOf(is.filter((one) => !was.includes(one)));
  const removed = namesOf(was.filter((one) => !is.includes(one)));
  const parts = [...(added === "" ? [] : [`set: ${added}`]), ...(removed === "" ? [] : [`taken away: ${removed}`])];
  return parts.length === 0 ? "" : ` (${parts.join("; ")})`;
};

const standsFor: Readonly<Partial<Record<DecidedChange["kind"], string>>> = {
  "message.kept": " It is kept here.",
  "message.removed": " It is removed here, too, and can be brought back for a while.",
  "message.restored": " It is back.",
};

type Values = Readonly<Record<string, unknown>>;

const isObject = (one: unknown): one is Values => typeof one === "object" && one !== null && !Array.isArray(one);

const toText = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

const placeOf = (mailboxId: unknown): string => (mailboxId === null ? "its removal" : `its place in ${toText(mailboxId)}`);

/** What each value of a loser is in words; what is not named here says nothing to a reader. */
const words: Readonly<Record<string, (value: unknown) => string>> = {
  mailboxId: placeOf,
  name: (name) => `the name "${toText(name)}"`,
  parentId: (parentId) => (parentId === null ? "its place at the top" : placeOf(parentId)),
  role: (role) => (role === null ? "no role" : `the role ${toText(role)}`),
};

/** Who said it; `source` is a kind of source, or `device` and its name. */
const speakerOf = ({ endpointId, deviceId, source }: Values): string => {
  if (typeof endpointId === "string") return `by ${endpointId}`;
  if (typeof deviceId === "string") return `by device ${deviceId}`;
  if (typeof source !== "string") return "";
  return source === "api" ? "by an app" : source === "imap" ? "by the mail server" : `by ${source}`;
};

const wishOf = (loser: unknown, keyword: unknown): string => {
  if (typeof keyword === "string") return `${keyword} ${loser === "set" ? "set" : "taken away"}`;
  if (!isObject(loser)) return toText(loser);
  return Object.entries(words)
    .flatMap(([name, inWords]) => (name in loser ? [inWords(loser[name])] : []))
    .join(", ");
};

const loserIn = (evidence: readonly unknown[]): string => {
  const told = evidence.filter(isObject).find((one) => "loser" in one);
  if (told === undefined) return "";
  const { loser, keyword } = told;
  const speaker = speakerOf(isObject(loser) && "source" in loser ? loser : told);
  return ` What gave way: ${wishOf(loser, keyword)}${speaker === "" ? "" : `, ${speaker}`}.`;
};

const certainty = ({ confidence }: DecidedChange): string => {
  if (confidence === null || confidence >= 0.97) return "";
  return confidence >= 0.85 ? " This is fairly sure." : " This is a guess from what was seen.";
};

export const hasTelling = (reason: string): boolean => reason in tellings;

/** Of a mailbox: its way back, where there is one. INBOX is there always. */
const mailboxUndo = (change: DecidedChange): string | null =>
  change.messageId !== null || change.after?.["role"] === "inbox" || inverseOfMailbox(change) === null
    ? null
    : change.kind === "mailbox.removed"
      ? "To have it again, empty and with a new id, POST …/changes/{seq}/undo; then the same for each message that was in it."
      : undo;

const otherwiseOf = (change: DecidedChange, told: string | null): string | null => {
  if (change.kind !== "message.kept" || change.reason === "self") return told ?? mailboxUndo(change);
  // It is here: there is nothing to restore.
  const rest = told?.replace(restore, "").trim() ?? "";
  return rest === "" ? putBack : `${rest} ${putBack}`;
};

/** What happened, and what to do for another outcome (null: nothing is to be done). Ids are told as they stand in the change. */
export const storyOf = (change: DecidedChange): { readonly text: string; readonly otherwise: string | null } => {
  const { kind, reason, evidence, messageId } = change;
  const ofMailbox = messageId === null ? tellings[`mailbox ${reason}`] : undefined;
  const told = ofMailbox ?? tellings[`${kind} ${reason}`] ?? tellings[reason];
  const by = evidence.some((one) => isObject(one) && "policyChanged" in one) ? " Another policy was set since." : "";
  const text = `${told?.text ?? byKind[kind] ?? "Something changed."}${keywordsTold(change)}${certainty(change)}${reason.startsWith("api_") ? "" : (standsFor[kind] ?? "")}${by}${loserIn(evidence)}`;
  return { text, otherwise: otherwiseOf(change, told?.otherwise ?? null) };
};

/** What is held back where a message or a mailbox is, and how to decide it. `id`: as the API has it. */
export const storyOfHold = (hold: {
  readonly id: string;
  readonly reason: string;
  readonly decision: HoldDecision | null;
}): { readonly text: string; readonly otherwise: string | null } => {
  const { id, reason, decision } = hold;
  const why = tellings[reason]?.text ?? "Something is not believed without a second thought.";
  if (decision !== null)
    return { text: `${why} It was ${decision}, which is carried out at the next look at the server.`, otherwise: null };
  const choice = holdChoices[reason] ?? null;
  return {
    text: `${why} It is held: what it is about stays as it is here until that is decided, and nothing of the mailbox is written upstream.`,
    otherwise:
      choice === null ? null : `POST …/holds/${id}/approve: ${choice.approve} POST …/holds/${id}/reject: ${choice.reject}`,
  };
};
