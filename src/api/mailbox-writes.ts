/** Making, changing and removing mailboxes: durable in the canonical store before they are answered; upstream follows. */
import { randomUUID } from "node:crypto";
import { type Static, Type } from "typebox";
import { formatState } from "../model/change.ts";
import { type MailboxId, parseId } from "../model/ids.ts";
import type { MailboxOp, MailboxRejection, MailboxResult } from "../model/mailbox-intent.ts";
import { listMailboxes } from "../store/mailbox-reads.ts";
import { callerOf, requireScope } from "./auth.ts";
import { ring } from "./bell.ts";
import { State } from "./change-json.ts";
import { answerOnce, readKey } from "./idempotency.ts";
import { type Exchange, readBase, WriteStatus } from "./intents.ts";
import { AccountParams, loadAccount } from "./load-account.ts";
import { Mailbox, mailboxIdOf, MailboxParams, toMailboxJson } from "./mailboxes.ts";
import { invalid, notFound, ProblemError } from "./problem.ts";
import { Nullable, Strict, Words } from "./schemas.ts";
import type { ApiDeps, App } from "./types.ts";

const tags = ["mail"];

/** RFC 9051 §5.1: no name has controls; nor can half a surrogate pair be written down. */
const noCharacters = /[\p{Cc}\p{Cs}\u2028\u2029]/u;

const Name = Type.String({
  minLength: 1,
  maxLength: 255,
  description: "Any characters but controls, and but the one that separates levels on the account's IMAP server.",
});
const Parent = Nullable(Type.String({ description: "The mailbox it lies in." }));
const Role = Nullable(
  Words(["archive", "drafts", "sent", "junk", "trash"], {
    description:
      "What it is for. Another mailbox that was for this is for nothing then; what the server says of it counts no more.",
  }),
);

const NewMailbox = Strict({ name: Name, parentId: Type.Optional(Parent), role: Type.Optional(Role) }, { title: "MailboxInput" });
const MailboxPatch = Strict(
  { name: Type.Optional(Name), parentId: Type.Optional(Parent), role: Type.Optional(Role) },
  { title: "MailboxPatch" },
);

const Outcome = {
  status: WriteStatus,
  reason: Type.String({ description: "Stable, for programs." }),
  state: State,
};
const MailboxWriteResult = Type.Object({ ...Mailbox.properties, ...Outcome }, { title: "MailboxWriteResult" });
const MailboxRemoval = Type.Object(Outcome, { title: "MailboxRemoval" });

/** @throws ProblemError `invalid_request`. */
const readName = (name: string): string => {
  if (noCharacters.test(name)) throw invalid("body", "/name", "holds a character that no name may have");
  if (name.trim() !== name) throw invalid("body", "/name", "begins or ends with white space");
  // RFC 5198: one spelling of what looks the same.
  return name.normalize("NFC");
};

const readParent = (parentId: string | null): MailboxId | null => {
  if (parentId === null) return null;
  const id = parseId<MailboxId>("mbx", parentId);
  if (id === null) throw invalid("body", "/parentId", "is not the id of a mailbox");
  return id;
};

const readPatch = ({ name, parentId, role }: Static<typeof MailboxPatch>) => ({
  ...(name !== undefined && { name: readName(name) }),
  ...(parentId !== undefined && { parentId: readParent(parentId) }),
  ...(role !== undefined && { role }),
});

const problems: Record<MailboxRejection, () => ProblemError> = {
  not_found: () => notFound("mailbox"),
  parent_not_found: () => invalid("body", "/parentId", "is not a mailbox of this account"),
  target_not_found: () => invalid("query", "/moveMessagesTo", "is not another mailbox of this account"),
  inbox_fixed: () => new ProblemError("inbox_fixed", "INBOX has its name, its place and its role for good."),
  mailbox_exists: () => new ProblemError("mailbox_exists", "There is a mailbox of this name in the same place."),
  mailbox_cycle: () => new ProblemError("mailbox_cycle", "A mailbox cannot lie in itself, or in one that lies in it."),
  mailbox_has_children: () => new ProblemError("mailbox_has_children", "Other mailboxes lie in it. Move or remove them first."),
  mailbox_not_empty: () =>
    new ProblemError("mailbox_not_empty", "The mailbox still holds messages. Say where they shall go: ?moveMessagesTo=."),
  name_has_delimiter: () =>
    invalid("body", "/name", "has the character in it that separates levels on the account's IMAP server"),
  state_mismatch: () =>
    new ProblemError("state_mismatch", "The mailbox, or what is in it, has changed since the state of If-Match. Read it again."),
  op_id_reused: () =>
    new ProblemError("idempotency_key_reused", "This Idempotency-Key was used for another request. Use a new one."),
};

interface Answered extends MailboxResult {
  readonly state: string;
  readonly mailbox: Static<typeof Mailbox> | null;
}

/** One operation, with the mailbox as it is then. @throws ProblemError for whatever is rejected. */
export const answerMailboxWrite = async (
  deps: ApiDeps,
  exchange: Exchange,
  op: MailboxOp,
  { status, base = readBase(exchange.request, exchange.account) }: { readonly status: number; readonly base?: bigint | null },
): Promise<Answered> => {
  const { request, reply, account } = exchange;
  const { tenantId, deviceId } = callerOf(request);
  const opId = readKey(request) ?? randomUUID();
  const body = await answerOnce<Answered>(deps, { request, reply }, async (tx) => {
    const written = await deps.mailboxWrites.write(tx, { tenantId, accountId: account.id, deviceId, base, opId, op });
    if (written === null) throw notFound("account");
    const { result } = written;
    const found = (await listMailboxes(tx, account.id)).find(({ id }) => id === result.mailboxId);
    const state = formatState(written.state.epoch, written.state.seq);
    return { status, body: { ...result, state, mailbox: found === undefined ? null : toMailboxJson(found) } };
  });
  if (body.status === "rejected") throw problems[body.reason as MailboxRejection]();
  ring(deps, account, "api");
  void reply.header("etag", `"${body.state}"`);
  return body;
};

const withMailbox = ({ status, reason, state, mailbox }: Answered): Static<typeof MailboxWriteResult> => {
  if (mailbox === null) throw notFound("mailbox");
  return { ...mailbox, status, reason, state };
};

const registerCreate = (app: App, deps: ApiDeps): void => {
  app.post(
    "/v1/accounts/:accountId/mailboxes",
    {
      config: requireScope("mail:write"),
      schema: {
        tags,
        summary: "Make a mailbox",
        description: "It is there at once; `sync` tells whether the IMAP server has it, too.",
        params: AccountParams,
        body: NewMailbox,
        response: { 201: MailboxWriteResult },
      },
    },
    async (request, reply) => {
      const account = await loadAccount(deps, request);
      const { name, ...patch } = request.body;
      const op = { op: "mailbox.create", ...readPatch(patch), name: readName(name) } as const;
      return withMailbox(await answerMailboxWrite(deps, { request, reply, account }, op, { status: 201 }));
    },
  );
};

const registerUpdate = (app: App, deps: ApiDeps): void => {
  app.patch(
    "/v1/accounts/:accountId/mailboxes/:mailboxId",
    {
      config: requireScope("mail:write"),
      schema: {
        tags,
        summary: "Rename a mailbox, put it elsewhere, or give it a role",
        description: "It keeps its id, as do the messages and mailboxes in it. What is not given stays.",
        params: MailboxParams,
        body: MailboxPatch,
        response: { 200: MailboxWriteResult },
      },
    },
    async (request, reply) => {
      const account = await loadAccount(deps, request);
      const op = { op: "mailbox.update", mailboxId: mailboxIdOf(request), ...readPatch(request.body) } as const;
      return withMailbox(await answerMailboxWrite(deps, { request, reply, account }, op, { status: 200 }));
    },
  );
};

const RemovalQuery = Strict({
  moveMessagesTo: Type.Optional(Type.String({ description: "Where its messages go; without it, it must have none." })),
});

const readTarget = (text: string | undefined): MailboxId | null => {
  if (text === undefined) return null;
  const id = parseId<MailboxId>("mbx", text);
  if (id === null) throw invalid("query", "/moveMessagesTo", "is not the id of a mailbox");
  return id;
};

const registerRemove = (app: App, deps: ApiDeps): void => {
  app.delete(
    "/v1/accounts/:accountId/mailboxes/:mailboxId",
    {
      config: requireScope("mail:write"),
      schema: {
        tags,
        summary: "Remove a mailbox",
        description:
          "`pending`: its messages are moved, and it goes when the IMAP server is seen to have it empty. What somebody puts into it before goes where the rest went; without `moveMessagesTo` the mailbox stays then, and `write.failed` says so.",
        params: MailboxParams,
        querystring: RemovalQuery,
        response: { 200: MailboxRemoval },
      },
    },
    async (request, reply) => {
      const account = await loadAccount(deps, request);
      const moveMessagesTo = readTarget(request.query.moveMessagesTo);
      const op = { op: "mailbox.remove", mailboxId: mailboxIdOf(request), moveMessagesTo } as const;
      const { status, reason, state } = await answerMailboxWrite(deps, { request, reply, account }, op, { status: 200 });
      return { status, reason, state };
    },
  );
};

export const registerMailboxWrites = (app: App, deps: ApiDeps): void => {
  registerCreate(app, deps);
  registerUpdate(app, deps);
  registerRemove(app, deps);
};
