/** What scripts about one account have in common: which one is meant, and where its database is. */
import type { readConfig } from "../src/config.ts";
import { embeddedUrl } from "../src/embedded/join.ts";
import { type AccountId, formatId, parseId } from "../src/model/ids.ts";
import { type AccountState, readAccountState } from "../src/store/account-state.ts";
import type { Database } from "../src/store/database.ts";

/** The message is for whoever typed the command. */
export class Usage extends Error {}

/** By its id or its address. @throws Usage */
export const findAccount = async (db: Database, name: string): Promise<AccountState> => {
  const id = parseId<AccountId>("acc", name);
  const { rows } = await db.query<{ id: AccountId }>({
    text: `select id from accounts where deleted_at is null and ${id === null ? "lower(email) = lower($1)" : "id = $1::uuid"}`,
    values: [id ?? name],
  });
  if (rows.length > 1)
    throw new Usage(`Several accounts have the address ${name}: ${rows.map((row) => formatId("acc", row.id)).join(", ")}`);
  const account = rows[0] === undefined ? null : await readAccountState(db, rows[0].id);
  if (account === null) throw new Usage(`There is no account ${name}. Give its id (acc_…) or its address.`);
  return account;
};

/** @throws Usage */
export const databaseUrlOf = async ({ databaseUrl, dataDir }: ReturnType<typeof readConfig>): Promise<string> => {
  const url = databaseUrl ?? (await embeddedUrl(dataDir));
  if (url === null) throw new Usage("There is no database: start the daemon first, or set DATABASE_URL.");
  return url;
};
