/** Messages: the list with its filters, one message, and the story of one message. */
import { type Static, Type } from "typebox";
import { formatState } from "../model/change.ts";
import { type AccountId, type MailboxId, parseId } from "../model/ids.ts";
import { storedOctets } from "../store/blob-reads.ts";
import { readMessageChanges } from "../store/change-reads.ts";
import { holdsOfMessage } from "../store/hold-reads.ts";
import { findMailboxByRole, mailboxExists } from "../store/mailbox-reads.ts";
import type { ListPosition, MessageFilter } from "../store/list-query.ts";
import { listMessageRows } from "../store/message-list.ts";
import { readMessage, readMessages, type StoredContents, type StoredMessage } from "../store/message-reads.ts";
import { requireScope } from "./auth.ts";
import { State } from "./change-json.ts";
import { within } from "./deadline.ts";
import { AccountParams, loadAccount } from "./load-account.ts";
import { loadMessage, MessageParams, messageIdOf } from "./load-message.ts";
import { MessageSchema, MessageWithState, toMessageJson } from "./message-json.ts";
import { decodeCursor, pageLimit, pageQuery, toPage } from "./pagination.ts";
import { invalid, notFound } from "./problem.ts";
import { Nullable, Strict, Time, Words } from "./schemas.ts";
import { ofOwner } from "./tenant-scope.ts";
import { tellChange, tellHold, Told } from "./told.ts";
import type { AccountRow } from "../store/accounts.ts";
import type { ApiDeps, App } from "./types.ts";

const tags = ["mail"];

/** PostgreSQL text holds no NUL, so nothing stored could match. */
const text = (maxLength: number, description: string) =>
  Type.String({ minLength: 1, maxLength, pattern: "^[^\\u0000]*$", description });

const ListQuery = Strict({
  ...pageQuery,
  mailboxId: Type.Optional(
    Type.String({ description: "In this mailbox. Keywords, dates and order are then those of the message there." }),
  ),
  role: Type.Optional(
    Words(["inbox", "archive", "drafts", "sent", "junk", "trash"], { description: "In the mailbox with this role." }),
  ),
  keyword: Type.Optional(text(255, "Has this keyword, e.g. `$flagged`.")),
  notKeyword: Type.Optional(text(255, "Has not this keyword, e.g. `$seen` for unread mail.")),
  messageId: Type.Optional(text(998, "The Message-ID header, with its angle brackets.")),
  text: Type.Optional(
    text(1000, 'Words to be found, "a phrase", `or`, `-without`. Mail not parsed yet is found by its subject and addresses.'),
  ),
  since: Type.Optional({ ...Time, description: "Received at or after." }),
  before: Type.Optional({ ...Time, description: "Received before." }),
  include: Type.Optional(Words(["removed"], { description: "Removed mail that can still be brought back as well." })),
});

/** Microseconds since 1970 and the id of a row: see message-list.ts. */
const Cursor = Type.Tuple([
  Type.String({ pattern: "^(-\\d{1,17}|\\d{1,18})$" }),
  Type.String({ pattern: "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$" }),
]);

const readTime = (value: string | undefined, pointer: string): Date | null => {
  if (value === undefined) return null;
  const time = new Date(value);
  // A leap second is valid RFC 3339, and no Date.
  if (Number.isNaN(time.getTime())) throw invalid("query", pointer, "is not a time we know");
  return time;
};

/** The one mailbox that is asked for: null: any; "none": two different ones, or a role nobody has. */
const chooseMailbox = async (
  deps: Pick<ApiDeps, "db">,
  accountId: AccountId,
  query: Static<typeof ListQuery>,
): Promise<MailboxId | null | "none"> => {
  let mailboxId: MailboxId | null = null;
  if (query.mailboxId !== undefined) {
    mailboxId = parseId<MailboxId>("mbx", query.mailboxId);
    if (mailboxId === null) throw invalid("query", "/mailboxId", "is not the id of a mailbox");
    if (!(await mailboxExists(deps.db, accountId, mailboxId))) throw notFound("mailbox");
  }
  if (query.role === undefined) return mailboxId;
  const ofRole = await findMailboxByRole(deps.db, accountId, query.role);
  return ofRole === null || (mailboxId !== null && mailboxId !== ofRole) ? "none" : ofRole;
};

const readFilter = (query: Static<typeof ListQuery>, mailboxId: MailboxId | null): MessageFilter => ({
  mailboxId,
  keyword: query.keyword?.toLowerCase() ?? null,
  notKeyword: query.notKeyword?.toLowerCase() ?? null,
  messageId: query.messageId ?? null,
  text: query.text ?? null,
  since: readTime(query.since, "/since"),
  before: readTime(query.before, "/before"),
  removed: query.include === "removed",
});

const registerList = (app: App, deps: Pick<ApiDeps, "db">): void => {
  app.get(
    "/v1/accounts/:accountId/messages",
    {
      config: requireScope("mail:read"),
      schema: {
        tags,
        summary: "Messages, newest first",
        params: AccountParams,
        querystring: ListQuery,
        response: { 200: Type.Object({ items: Type.Array(MessageSchema), nextCursor: Nullable(Type.String()), state: State }) },
      },
    },
    async (request, reply) => {
      const { query } = request;
      const account = await loadAccount(deps, request);
      const state = formatState(account.stateEpoch, account.headSeq);
      const limit = pageLimit(query);
      const cursor = decodeCursor(query.cursor, Cursor);
      const after: ListPosition | null = cursor === null ? null : { at: BigInt(cursor[0]), id: cursor[1] };
      const mailboxId = await chooseMailbox(deps, account.id, query);
      const rows =
        mailboxId === "none"
          ? []
          : await listMessageRows(deps.db, account.id, readFilter(query, mailboxId), {
              after,
              limit: limit + 1,
              onlyNews: account.syncState === "live" || account.syncState === "held",
            });
      const page = toPage(rows, limit, { positionOf: (row) => [String(row.at), row.id], toItem: (row) => row.messageId });
      const messages = await readMessages(deps.db, account.id, page.items);
      void reply.header("etag", `"${state}"`);
      return { items: messages.map((message) => toMessageJson(message)), nextCursor: page.nextCursor, state };
    },
  );
};

/** How long reading one message waits for its parsing. */
const parseWaitMs = 2_000;

/** What parsing gives, had now; null when it takes too long. Not stored: that is the workers' business, and soon done. */
const parseNow = async (deps: ApiDeps, account: AccountRow, message: StoredMessage): Promise<StoredContents | null> => {
  if (message.sha256 === null) return null;
  try {
    const octets = await storedOctets(ofOwner(deps, account), account.id, { sha256: message.sha256, size: message.size });
    const parsed = await within(parseWaitMs, (signal) => deps.parser.parse(octets, signal));
    if (parsed.status === "failed")
      return { status: "failed", reason: parsed.reason, preview: "", hasAttachment: false, attachments: [] };
    const { preview, attachments } = parsed;
    return {
      status: "parsed",
      reason: null,
      preview,
      hasAttachment: attachments.some((attachment) => !attachment.inline),
      attachments,
    };
  } catch (err) {
    // The headers are worth showing without it; the answer says "pending".
    deps.log.debug({ account: account.id, message: message.id, err }, "message not parsed in time");
    return null;
  }
};

const registerOne = (app: App, deps: ApiDeps): void => {
  app.get(
    "/v1/accounts/:accountId/messages/:messageId",
    {
      config: requireScope("mail:read"),
      schema: { tags, summary: "One message", params: MessageParams, response: { 200: MessageWithState } },
    },
    async (request, reply) => {
      const { account, message } = await loadMessage(deps, request);
      const state = formatState(account.stateEpoch, account.headSeq);
      const contents = message.contents ?? (await parseNow(deps, account, message));
      void reply.header("etag", `"${state}"`);
      return { ...toMessageJson(message, contents), state };
    },
  );
};

const StoryCursor = Type.Tuple([Type.Integer({ minimum: 0 })]);

const registerExplain = (app: App, deps: Pick<ApiDeps, "db">): void => {
  app.get(
    "/v1/accounts/:accountId/messages/:messageId/explain",
    {
      config: requireScope("mail:read"),
      schema: {
        tags,
        summary:
          "Every change of the message, oldest first: what, when, by whom, on what evidence, and how to get another outcome",
        params: MessageParams,
        querystring: Strict(pageQuery),
        response: { 200: Told },
      },
    },
    async (request, reply) => {
      const account = await loadAccount(deps, request);
      const id = messageIdOf(request);
      const limit = pageLimit(request.query);
      const after = BigInt(decodeCursor(request.query.cursor, StoryCursor)?.[0] ?? 0);
      const changes = await readMessageChanges(deps.db, account.id, id, { after, limit: limit + 1 });
      // The story of a purged message can be told when the message itself is gone.
      if (changes.length === 0 && (await readMessage(deps.db, account.id, id)) === null) throw notFound("message");
      const state = formatState(account.stateEpoch, account.headSeq);
      void reply.header("etag", `"${state}"`);
      const holds = (await holdsOfMessage(deps.db, account.id, id)).map(tellHold);
      return { ...toPage(changes, limit, { positionOf: (change) => [Number(change.seq)], toItem: tellChange }), holds, state };
    },
  );
};

export const registerMessages = (app: App, deps: ApiDeps): void => {
  registerList(app, deps);
  registerOne(app, deps);
  registerExplain(app, deps);
};
