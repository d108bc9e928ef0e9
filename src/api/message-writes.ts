/** Writes to messages: one, several at once, and back again. */
import { Type } from "typebox";
import { type AccountId, formatId, type MessageId } from "../model/ids.ts";
import { inverseOfMailbox, type MailboxOp } from "../model/mailbox-intent.ts";
import { readChange } from "../store/change-reads.ts";
import { loadStandIns } from "../store/stand-ins.ts";
import { callerOf, requireScope } from "./auth.ts";
import { State } from "./change-json.ts";
import { answerMessageWrite, answerWrite, WriteResult, WriteStatus } from "./intents.ts";
import { AccountParams, loadAccount } from "./load-account.ts";
import { MessageParams, messageIdOf } from "./load-message.ts";
import { answerMailboxWrite } from "./mailbox-writes.ts";
import { Mailbox } from "./mailboxes.ts";
import { BatchEntry, MessagePatch, readEntry, readTarget, readPatch, RestoreTarget } from "./op-schemas.ts";
import { notFound, ProblemError } from "./problem.ts";
import { Nullable, Strict } from "./schemas.ts";
import type { ApiDeps, App } from "./types.ts";

const tags = ["mail"];
const config = requireScope("mail:write");
const response = { 200: WriteResult };
const path = "/v1/accounts/:accountId/messages/:messageId";

const registerPatch = (app: App, deps: ApiDeps): void => {
  app.patch(
    path,
    {
      config,
      schema: {
        tags,
        summary: "Change the keywords and mailboxes of a message",
        description:
          "`If-Match` names the state that the caller saw last, however old: what others did since is merged, and what has to give way is told. Without it the patch comes after all there is.",
        params: MessageParams,
        body: MessagePatch,
        response,
      },
    },
    async (request, reply) => {
      const account = await loadAccount(deps, request);
      const op = readPatch(messageIdOf(request), request.body);
      return answerMessageWrite(deps, { request, reply, account }, op);
    },
  );
};

const registerDelete = (app: App, deps: ApiDeps): void => {
  app.delete(
    path,
    {
      config,
      schema: {
        tags,
        summary: "Move a message to Trash, or destroy it",
        description:
          "With `purge=true` it is destroyed with its octets, here and upstream; that needs `If-Match` with a state since which nothing became of the message.",
        params: MessageParams,
        querystring: Strict({ purge: Type.Optional(Type.Boolean({ default: false })) }),
        response,
      },
    },
    async (request, reply) => {
      const account = await loadAccount(deps, request);
      const op = request.query.purge === true ? "purge" : "delete";
      return answerMessageWrite(deps, { request, reply, account }, { op, messageId: messageIdOf(request) });
    },
  );
};

const registerRestore = (app: App, deps: ApiDeps): void => {
  app.post(
    `${path}/restore`,
    {
      config,
      schema: {
        tags,
        summary: "Bring a removed or trashed message back",
        params: MessageParams,
        body: Nullable(Strict({ mailboxId: RestoreTarget }, { title: "RestoreInput" })),
        response,
      },
    },
    async (request, reply) => {
      const account = await loadAccount(deps, request);
      const mailboxId = readTarget(request.body?.mailboxId, "body");
      const op = { op: "restore", messageId: messageIdOf(request), mailboxId } as const;
      return answerMessageWrite(deps, { request, reply, account }, op);
    },
  );
};

const BatchAnswer = Type.Object(
  {
    results: Type.Array(
      Type.Object({
        status: WriteStatus,
        reason: Type.String(),
        messageId: Type.String(),
        warnings: Type.Optional(Type.Array(Type.String())),
      }),
    ),
    state: State,
  },
  { title: "BatchResult" },
);

const registerBatch = (app: App, deps: ApiDeps): void => {
  app.post(
    "/v1/accounts/:accountId/batch",
    {
      config,
      schema: {
        tags,
        summary: "Several operations, in order, each with its own result",
        description:
          "All are durable, or none is; what is rejected stops nothing. A malformed operation (an id that cannot be one) refuses the whole batch, 400. `If-Match` is the base of each. More than 50 messages thrown away need it, and are rejected where something became of them since.",
        params: AccountParams,
        body: Strict({ ops: Type.Array(BatchEntry, { minItems: 1, maxItems: 500 }) }, { title: "BatchInput" }),
        response: { 200: BatchAnswer },
      },
    },
    async (request, reply) => {
      const account = await loadAccount(deps, request);
      const ops = request.body.ops.map(readEntry);
      return answerWrite(deps, { request, reply, account }, { ops, batch: true }, async (_, { results }, state) => ({
        results: results.map(({ status, reason, messageId, warnings }) => ({
          status,
          reason,
          messageId: formatId("msg", messageId as MessageId),
          ...(warnings.length > 0 && { warnings: [...warnings] }),
        })),
        state,
      }));
    },
  );
};

const UndoResult = Type.Object(
  {
    ...WriteResult.properties,
    mailbox: Type.Optional(Nullable(Mailbox)),
  },
  { title: "UndoResult" },
);

/** What it lay in may have been removed, too, and been made again since. @throws ProblemError `conflict`: it was not. */
const inPlace = async (deps: ApiDeps, accountId: AccountId, op: MailboxOp): Promise<MailboxOp> => {
  if (op.op === "mailbox.remove" || op.parentId == null) return op;
  const parentId = (await loadStandIns(deps.db, accountId, [op.parentId])).get(op.parentId);
  if (parentId === undefined)
    throw new ProblemError("conflict", "The mailbox that it lay in is gone, too. Undo the removal of that one first, then this.");
  return { ...op, parentId };
};

const registerUndo = (app: App, deps: ApiDeps): void => {
  app.post(
    "/v1/accounts/:accountId/changes/:seq/undo",
    {
      config,
      schema: {
        tags,
        summary: "The inverse of one change, as an ordinary write",
        description:
          "Of a `conflict.resolved` it gives the loser what it wanted; of a `message.kept` it removes what was kept. A mailbox that was removed comes back empty, under a new id; the undo of what became of its messages then brings them back into it, and without it into INBOX (`mailbox_gone`). 409 `conflict` where the mailbox that it lay in is gone: that one comes first.",
        params: Type.Object({ accountId: Type.String(), seq: Type.String() }),
        response: { 200: UndoResult },
      },
    },
    async (request, reply) => {
      const account = await loadAccount(deps, request);
      const { seq } = request.params;
      const change = /^[1-9]\d{0,14}$/.test(seq) ? await readChange(deps.db, account.id, Number(seq)) : null;
      if (change === null) throw notFound("change");
      const op = change.messageId === null ? inverseOfMailbox(change) : null;
      if (op !== null) {
        const exchange = { request, reply, account };
        const { mailboxId: _, ...written } = await answerMailboxWrite(deps, exchange, await inPlace(deps, account.id, op), {
          status: 200,
          base: null,
        });
        const readable = callerOf(request).scopes.has("mail:read");
        return { ...written, mailbox: readable ? written.mailbox : null, message: null };
      }
      if (change.messageId === null) throw new ProblemError("conflict", "There is no way back from this change.");
      return answerMessageWrite(deps, { request, reply, account }, { op: "undo", messageId: change.messageId, seq: Number(seq) });
    },
  );
};

export const registerMessageWrites = (app: App, deps: ApiDeps): void => {
  registerPatch(app, deps);
  registerDelete(app, deps);
  registerRestore(app, deps);
  registerBatch(app, deps);
  registerUndo(app, deps);
};
