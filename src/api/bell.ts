/** Tells the workers that an account has news. PostgreSQL has it already, so a bell that fails costs time only. */
import type { Because } from "../model/account.ts";
import type { AccountRow } from "../store/accounts.ts";
import type { ApiDeps } from "./types.ts";

/** Never waits and never fails. */
export const ring = (
  deps: Pick<ApiDeps, "bell" | "shardOf" | "log">,
  account: Pick<AccountRow, "id" | "virtualShard">,
  because: Because,
): void => {
  deps.bell
    .ring(deps.shardOf(account.virtualShard), { accountId: account.id, because })
    .catch((err: unknown) => deps.log.warn({ account: account.id, because, err }, "bell did not ring"));
};
