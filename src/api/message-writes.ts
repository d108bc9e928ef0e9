/** Writes to one message. */
import { type Static, Type } from "typebox";
import { requireScope } from "./auth.ts";
import { answerMessageWrite, WriteResult } from "./intents.ts";
import { loadAccount } from "./load-account.ts";
import { MessageParams, messageIdOf } from "./load-message.ts";
import { invalid } from "./problem.ts";
import { Nullable, Strict } from "./schemas.ts";
import type { ApiDeps, App } from "./types.ts";

export const KeywordPatch = Type.Record(Type.String(), Nullable(Type.Boolean()), {
  description:
    "JSON merge patch: `true` sets a keyword, `null` or `false` takes it away, what is not named stays. JMAP spelling, e.g. `$seen`.",
});

const MessagePatch = Strict({ keywords: Type.Optional(KeywordPatch) });

/** RFC 8621 §4.1.1; a backslash in front is let through, so that system flags are refused by their reason. */
const isKeyword = (text: string): boolean => /^\\?[\x21\x23\x24\x26\x27\x2b-\x5b\x5e-\x7a\x7c-\x7e]{1,255}$/.test(text);

/** In lower case. @throws ProblemError for a name that no keyword can have. */
export const readKeywords = (given: Static<typeof KeywordPatch>, pointer: string): Record<string, boolean> =>
  Object.fromEntries(
    Object.entries(given).map(([keyword, value]) => {
      if (!isKeyword(keyword)) throw invalid("body", `${pointer}/${keyword.slice(0, 100)}`, "is not a keyword");
      return [keyword.toLowerCase(), value === true];
    }),
  );

const registerPatch = (app: App, deps: ApiDeps): void => {
  app.patch(
    "/v1/accounts/:accountId/messages/:messageId",
    {
      config: requireScope("mail:write"),
      schema: {
        tags: ["mail"],
        summary: "Change the keywords of a message",
        params: MessageParams,
        body: MessagePatch,
        response: { 200: WriteResult },
      },
    },
    async (request, reply) => {
      const account = await loadAccount(deps, request);
      const messageId = messageIdOf(request);
      const keywords = readKeywords(request.body.keywords ?? {}, "/keywords");
      return answerMessageWrite(deps, { request, reply, account }, { op: "patch", messageId, keywords });
    },
  );
};

export const registerMessageWrites = (app: App, deps: ApiDeps): void => {
  registerPatch(app, deps);
};
