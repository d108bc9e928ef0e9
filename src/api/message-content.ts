/** What is in a message: its raw octets, its readable bodies, its parts. */
import { create as contentDisposition } from "content-disposition";
import type { FastifyReply } from "fastify";
import { Type } from "typebox";
import { formatState } from "../model/change.ts";
import { formatId } from "../model/ids.ts";
import type { AccountRow } from "../store/accounts.ts";
import { type BlobRef, readOctets, storedOctets } from "../store/blob-reads.ts";
import type { StoredMessage } from "../store/message-reads.ts";
import { requireScope } from "./auth.ts";
import { State } from "./change-json.ts";
import { within } from "./deadline.ts";
import { loadMessage, MessageParams } from "./load-message.ts";
import { sendOctets } from "./octet-answer.ts";
import { notFound, ProblemError } from "./problem.ts";
import { Nullable } from "./schemas.ts";
import { ofOwner } from "./tenant-scope.ts";
import type { ApiDeps, App } from "./types.ts";

const tags = ["mail"];
/** How long an answer waits for a parser thread and its work. */
const parseWaitMs = 30_000;

const octets = (type: string, description: string) => ({
  200: { description, content: { [type]: { schema: Type.String() } } },
  206: { description: "The range asked for.", content: { [type]: { schema: Type.String() } } },
  304: { description: "The caller has it already." },
});

/** @throws ProblemError `body_not_available` while the octets have not been had. */
const blobOf = (message: StoredMessage): BlobRef => {
  if (message.sha256 === null)
    throw new ProblemError("body_not_available", "The server has listed this message but has not given it yet. Try again later.");
  return { sha256: message.sha256, size: message.size };
};

/** A file name from a mail: no path, no control characters, nothing that turns its letters around. */
const safeName = (name: string): string =>
  name
    .toWellFormed()
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}/\\]/gu, "_")
    .slice(0, 255);

/** What came in a mail is for saving: no browser shows it, guesses its type or runs it. */
const asDownload = (reply: FastifyReply, contentType: string, filename: string): void => {
  void reply.headers({
    "content-type": contentType,
    "content-disposition": contentDisposition(safeName(filename)),
    "content-security-policy": "sandbox; default-src 'none'",
    "x-content-type-options": "nosniff",
  });
};

/** @throws ProblemError `unavailable` when no thread had time; whatever else `work` throws. */
const parse = async <T>(deps: ApiDeps, work: (signal: AbortSignal) => Promise<T>): Promise<T> => {
  try {
    return await within(parseWaitMs, work);
  } catch (cause) {
    if (!(cause instanceof Error && cause.name === "TimeoutError") && !deps.draining()) throw cause;
    throw new ProblemError("unavailable", "The message could not be parsed in time. Try again soon.", {
      cause,
      headers: { "retry-after": "5" },
    });
  }
};

const notParsable = (reason: string): ProblemError =>
  new ProblemError("message_not_parsable", `The message could not be taken apart (${reason}). Its raw octets can be read.`);

const registerRaw = (app: App, deps: ApiDeps): void => {
  app.get(
    "/v1/accounts/:accountId/messages/:messageId/raw",
    {
      config: requireScope("mail:read"),
      schema: {
        tags,
        summary: "The message byte for byte as first read; range requests",
        params: MessageParams,
        response: octets("message/rfc822", "All octets; the ETag is their SHA-256."),
      },
    },
    async (request, reply) => {
      const { account, message } = await loadMessage(deps, request);
      const blob = blobOf(message);
      asDownload(reply, "message/rfc822", `${formatId("msg", message.id)}.eml`);
      return sendOctets(request, reply, {
        size: blob.size,
        tag: blob.sha256.toString("hex"),
        read: (from, to) => readOctets(ofOwner(deps, account), account.id, blob, { from, to }),
      });
    },
  );
};

const Body = Type.Object(
  {
    text: Nullable(Type.String({ description: "Plain text; null when the message has none." })),
    html: Nullable(
      Type.String({
        description: "Sanitised; its `cid:` addresses name content ids of the attachments. Null when the message has none.",
      }),
    ),
    truncated: Type.Boolean({ description: "A body was longer than what is given." }),
    state: State,
  },
  { title: "MessageBody" },
);

const registerBody = (app: App, deps: ApiDeps): void => {
  app.get(
    "/v1/accounts/:accountId/messages/:messageId/body",
    {
      config: requireScope("mail:read"),
      schema: { tags, summary: "Text and HTML, decoded; the HTML is sanitised", params: MessageParams, response: { 200: Body } },
    },
    async (request, reply) => {
      const { account, message } = await loadMessage(deps, request);
      const stored = await storedOctets(ofOwner(deps, account), account.id, blobOf(message));
      const body = await parse(deps, (signal) => deps.parser.body(stored, signal));
      if (body.status === "failed") throw notParsable(body.reason);
      const state = formatState(account.stateEpoch, account.headSeq);
      void reply.header("etag", `"${state}"`);
      return { text: body.text, html: body.html, truncated: body.truncated, state };
    },
  );
};

const PartParams = Type.Object({
  ...MessageParams.properties,
  partId: Type.String({ description: "As in the message's `attachments`." }),
});

/** @throws ProblemError `not_found`, `message_not_parsable`, `unavailable`. */
const loadPart = async (deps: ApiDeps, account: AccountRow, blob: BlobRef, partId: string) => {
  const stored = await storedOctets(ofOwner(deps, account), account.id, blob);
  const part = await parse(deps, (signal) => deps.parser.part(stored, partId, signal));
  if (part === null) throw notFound("part");
  if (part.status === "failed") throw notParsable(part.reason);
  return part;
};

/** Octets `from` to `to` out of a stream that can only be read from its beginning. */
async function* slice(chunks: AsyncIterable<Buffer>, from: number, to: number): AsyncGenerator<Buffer> {
  let at = 0;
  for await (const chunk of chunks) {
    const wanted = chunk.subarray(Math.max(0, from - at), Math.max(0, to + 1 - at));
    if (wanted.length > 0) yield wanted;
    at += chunk.length;
    if (at > to) return;
  }
}

const registerAttachment = (app: App, deps: ApiDeps): void => {
  app.get(
    "/v1/accounts/:accountId/messages/:messageId/attachments/:partId",
    {
      config: requireScope("mail:read"),
      schema: {
        tags,
        summary: "One decoded part, as a download",
        params: PartParams,
        response: octets("application/octet-stream", "The decoded octets, with the type and the name that the mail gives them."),
      },
    },
    async (request, reply) => {
      const { account, message } = await loadMessage(deps, request);
      const blob = blobOf(message);
      const { partId } = request.params;
      const part = await loadPart(deps, account, blob, partId);
      const isType = /^[\w!#$&^.+-]{1,127}\/[\w!#$&^.+-]{1,127}$/.test(part.contentType);
      asDownload(reply, isType ? part.contentType : "application/octet-stream", part.filename ?? `part-${partId}`);
      return sendOctets(request, reply, {
        size: part.size,
        tag: `${blob.sha256.toString("hex")}-${partId}`,
        read: (from, to) => slice(part.chunks(), from, to),
      });
    },
  );
};

export const registerMessageContent = (app: App, deps: ApiDeps): void => {
  registerRaw(app, deps);
  registerBody(app, deps);
  registerAttachment(app, deps);
};
