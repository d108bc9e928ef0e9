/** What an account can be told to do: look now, read all anew, stop, go on. PostgreSQL is told first, then the workers are rung. */
import type { Because } from "../model/account.ts";
import { requestSync, setPaused, type AccountRef } from "../store/account-writes.ts";
import { type AccountRow, listEndpoints } from "../store/accounts.ts";
import type { Tx } from "../store/database.ts";
import { requestResync } from "../store/resync.ts";
import { Account, showAccount } from "./account-schemas.ts";
import { callerOf, requireScope } from "./auth.ts";
import { ring } from "./bell.ts";
import { answerOnce } from "./idempotency.ts";
import { AccountParams, loadAccount } from "./load-account.ts";
import { notFound, ProblemError } from "./problem.ts";
import type { ApiDeps, App } from "./types.ts";

interface Action {
  readonly name: string;
  readonly summary: string;
  readonly because: Because;
  /** Answers the account as it is afterwards; null when it is gone. */
  readonly run: (tx: Tx, ref: AccountRef, account: AccountRow) => Promise<AccountRow | null>;
}

const refuseWhilePaused = ({ paused }: AccountRow): void => {
  if (paused) throw new ProblemError("conflict", "The account is paused. Resume it first.");
};

const actions: readonly Action[] = [
  {
    name: "sync",
    summary: "Look for news now, and send what is owed; what a server refused for other reasons than room keeps its waits",
    because: "api",
    run: async (tx, ref, account) => {
      refuseWhilePaused(account);
      await requestSync(tx, ref.accountId);
      return account;
    },
  },
  {
    name: "resync",
    summary:
      "Read everything anew: what is learned of the servers, their mailboxes, all ids and flags, and bodies that are missing here",
    because: "api",
    run: async (tx, ref, account) => {
      refuseWhilePaused(account);
      await requestResync(tx, ref.accountId);
      return account;
    },
  },
  { name: "pause", summary: "Stop all work on the account", because: "changed", run: (tx, ref) => setPaused(tx, ref, true) },
  { name: "resume", summary: "Go on with a paused account", because: "changed", run: (tx, ref) => setPaused(tx, ref, false) },
];

const registerAction = (app: App, deps: ApiDeps, action: Action): void => {
  app.post(
    `/v1/accounts/:accountId/${action.name}`,
    {
      config: requireScope("accounts"),
      schema: { tags: ["accounts"], summary: action.summary, params: AccountParams, response: { 202: Account } },
    },
    async (request, reply) => {
      const account = await loadAccount(deps, request);
      const ref = { tenantId: account.tenantId, accountId: account.id, deviceId: callerOf(request).deviceId };
      const endpoints = await listEndpoints(deps.db, [account.id]);
      const body = await answerOnce(deps, { request, reply }, async (tx) => {
        const after = await action.run(tx, ref, account);
        if (after === null) throw notFound("account");
        return { status: 202, body: showAccount(after, endpoints) };
      });
      ring(deps, account, action.because);
      return body;
    },
  );
};

export const registerAccountActions = (app: App, deps: ApiDeps): void => {
  for (const action of actions) registerAction(app, deps, action);
};
