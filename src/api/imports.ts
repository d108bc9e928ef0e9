/** Mail that is brought: `message/rfc822` into a mailbox. */
import { randomUUID } from "node:crypto";
import { type Static, Type } from "typebox";
import { formatState } from "../model/change.ts";
import { formatId } from "../model/ids.ts";
import type { ImportOp } from "../model/intent.ts";
import type { Octets } from "../model/octets.ts";
import { callerOf, requireScope } from "./auth.ts";
import { ring } from "./bell.ts";
import { answerOnce, readKey } from "./idempotency.ts";
import { showWrite, throwRejection, WriteResult } from "./intents.ts";
import { AccountParams, loadAccount } from "./load-account.ts";
import { readKeyword, readMessageId, readTarget } from "./op-schemas.ts";
import { invalid, notFound, ProblemError } from "./problem.ts";
import { Strict, Time } from "./schemas.ts";
import type { ApiDeps, App } from "./types.ts";

const mediaType = "message/rfc822";

const ImportQuery = Strict({
  mailboxId: Type.Optional(Type.String({ description: "Where to; without it where the replaced one is, else INBOX." })),
  replaces: Type.Optional(
    Type.String({
      description:
        "A draft of which this is the next version: it is removed with the same word. Where another device replaced it first both versions stay (warning draft_fork).",
    }),
  ),
  keywords: Type.Optional(
    Type.Array(Type.String({ maxLength: 10_000 }), { description: "Joined with commas, or given several times.", maxItems: 100 }),
  ),
  receivedAt: Type.Optional({ ...Time, description: "When it was received; now without it." }),
});

const readOp = (query: Static<typeof ImportQuery>): ImportOp => {
  const words = (query.keywords ?? []).flatMap((list) => list.split(",")).filter((word) => word !== "");
  const receivedAt = query.receivedAt === undefined ? Date.now() : Date.parse(query.receivedAt);
  if (Number.isNaN(receivedAt)) throw invalid("query", "/receivedAt", "is not a time we know");
  return {
    replaces: query.replaces === undefined ? null : readMessageId(query.replaces, "/replaces", "query"),
    mailboxId: readTarget(query.mailboxId, "query"),
    keywords: [...new Set(words.map((word) => readKeyword(word, "/keywords", "query")))],
    receivedAt,
  };
};

/** In a scope of its own: its body is mail, not JSON, and goes to disk where it is large. */
export const registerImport = (root: App, deps: ApiDeps): void => {
  void root.register((app: App, _options, done) => {
    app.removeAllContentTypeParsers();
    app.addContentTypeParser(mediaType, async (_request: unknown, payload: AsyncIterable<Buffer>) => {
      const octets = await deps.writes.collect(payload);
      if (octets === null) throw new ProblemError("payload_too_large", "The message is larger than this installation takes.");
      return octets;
    });
    app.addHook("onResponse", async ({ body }) => (body as Octets | null | undefined)?.dispose());
    app.post(
      "/v1/accounts/:accountId/messages",
      {
        config: requireScope("mail:write"),
        schema: {
          tags: ["mail"],
          summary: "Import a message",
          description:
            "It is placed upstream where there is IMAP. Octets that the account has already make no second message: the one that has them gets a place in the mailbox, unless it has one.",
          params: AccountParams,
          querystring: ImportQuery,
          body: { content: { [mediaType]: { schema: { description: "The octets of a message (RFC 5322), as they are." } } } },
          response: { 200: WriteResult, 201: WriteResult },
        },
      },
      async (request, reply) => {
        const account = await loadAccount(deps, request);
        const op = readOp(request.query);
        const octets = request.body as Octets | undefined;
        if (octets === undefined || octets.size === 0) throw invalid("body", "", "The body must be a message.");
        const { tenantId, deviceId } = callerOf(request);
        const opId = readKey(request) ?? randomUUID();
        const body = await answerOnce(deps, { request, reply, content: octets.sha256 }, async (tx) => {
          const written = await deps.writes.importMail(tx, { tenantId, accountId: account.id, deviceId, opId, op, octets });
          const [result] = written?.results ?? [];
          if (written === null || result === undefined) throw notFound("account");
          const state = formatState(written.state.epoch, written.state.seq);
          // Whoever sends a message knows what is in it.
          const shown = await showWrite(tx, { accountId: account.id, readable: true }, result, state);
          return { status: result.reason === "imported" ? 201 : 200, body: shown };
        });
        throwRejection(body);
        deps.onUnparsed(account);
        ring(deps, account, "write");
        void reply.header("etag", `"${body.state}"`);
        if (body.message !== null)
          void reply.header("location", `/v1/accounts/${formatId("acc", account.id)}/messages/${body.message.id}`);
        return body;
      },
    );
    done();
  });
};
