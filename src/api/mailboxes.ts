/** The mailboxes of an account. */
import { type Static, Type } from "typebox";
import { formatState } from "../model/change.ts";
import { formatId, type MailboxId, parseId } from "../model/ids.ts";
import { readMailboxChanges } from "../store/change-reads.ts";
import { holdsOfMailbox } from "../store/hold-reads.ts";
import { type ListedMailbox, listMailboxes, mailboxExists } from "../store/mailbox-reads.ts";
import { requireScope } from "./auth.ts";
import { State } from "./change-json.ts";
import { AccountParams, loadAccount } from "./load-account.ts";
import { decodeCursor, pageLimit, pageQuery, toPage } from "./pagination.ts";
import { notFound } from "./problem.ts";
import { Nullable, Strict, Words } from "./schemas.ts";
import { tellChange, tellHold, Told } from "./told.ts";
import type { ApiDeps, App } from "./types.ts";

export const Mailbox = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    path: Type.String({ description: 'Names from the root down, joined with "/". For people; programs use `id`.' }),
    parentId: Nullable(Type.String()),
    role: Nullable(Words(["inbox", "archive", "drafts", "sent", "junk", "trash"])),
    totalMessages: Type.Integer(),
    unreadMessages: Type.Integer(),
    sync: Words(["synced", "pending", "held", "masked", "canonical_only"]),
  },
  { title: "Mailbox" },
);

export const MailboxParams = Type.Object({ accountId: Type.String(), mailboxId: Type.String() });

/** Of a request for one mailbox. @throws ProblemError `not_found` for what no mailbox can be called. */
export const mailboxIdOf = (request: { readonly params: Static<typeof MailboxParams> }): MailboxId => {
  const id = parseId<MailboxId>("mbx", request.params.mailboxId);
  if (id === null) throw notFound("mailbox");
  return id;
};

export const toMailboxJson = (mailbox: ListedMailbox): Static<typeof Mailbox> => ({
  ...mailbox,
  id: formatId("mbx", mailbox.id),
  parentId: mailbox.parentId === null ? null : formatId("mbx", mailbox.parentId),
});

const StoryCursor = Type.Tuple([Type.Integer({ minimum: 0 })]);

const registerExplain = (app: App, deps: Pick<ApiDeps, "db">): void => {
  app.get(
    "/v1/accounts/:accountId/mailboxes/:mailboxId/explain",
    {
      config: requireScope("mail:read"),
      schema: {
        tags: ["mail"],
        summary:
          "Every change of the mailbox itself, oldest first: what, when, by whom, on what evidence, and how to get another outcome",
        params: MailboxParams,
        querystring: Strict(pageQuery),
        response: { 200: Told },
      },
    },
    async (request, reply) => {
      const account = await loadAccount(deps, request);
      const id = mailboxIdOf(request);
      const limit = pageLimit(request.query);
      const after = BigInt(decodeCursor(request.query.cursor, StoryCursor)?.[0] ?? 0);
      if (!(await mailboxExists(deps.db, account.id, id))) throw notFound("mailbox");
      const changes = await readMailboxChanges(deps.db, account.id, id, { after, limit: limit + 1 });
      const state = formatState(account.stateEpoch, account.headSeq);
      void reply.header("etag", `"${state}"`);
      const holds = (await holdsOfMailbox(deps.db, account.id, id)).map(tellHold);
      return { ...toPage(changes, limit, { positionOf: (change) => [Number(change.seq)], toItem: tellChange }), holds, state };
    },
  );
};

export const registerMailboxes = (app: App, deps: Pick<ApiDeps, "db">): void => {
  app.get(
    "/v1/accounts/:accountId/mailboxes",
    {
      config: requireScope("mail:read"),
      schema: {
        tags: ["mail"],
        summary: "All mailboxes of the account with their counters",
        params: AccountParams,
        response: { 200: Type.Object({ items: Type.Array(Mailbox), state: State }) },
      },
    },
    async (request, reply) => {
      // The state is read first: what the answer shows beyond it comes again as a change.
      const account = await loadAccount(deps, request);
      const state = formatState(account.stateEpoch, account.headSeq);
      const mailboxes = await listMailboxes(deps.db, account.id);
      void reply.header("etag", `"${state}"`);
      return {
        items: mailboxes.map(toMailboxJson),
        state,
      };
    },
  );
  registerExplain(app, deps);
};
