/** The mailboxes of an account. */
import { Type } from "typebox";
import { formatState } from "../model/change.ts";
import { formatId } from "../model/ids.ts";
import { listMailboxes } from "../store/mailbox-reads.ts";
import { requireScope } from "./auth.ts";
import { State } from "./change-json.ts";
import { AccountParams, loadAccount } from "./load-account.ts";
import { Nullable, Words } from "./schemas.ts";
import type { ApiDeps, App } from "./types.ts";

const Mailbox = Type.Object(
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
        items: mailboxes.map((mailbox) => ({
          ...mailbox,
          id: formatId("mbx", mailbox.id),
          parentId: mailbox.parentId === null ? null : formatId("mbx", mailbox.parentId),
        })),
        state,
      };
    },
  );
};
