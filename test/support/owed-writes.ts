/** What the daemon owes a mail server, seen and made in its tables. */
import pg from "pg";

export interface SeenCommand {
  readonly verb: string;
  readonly reason: string;
  readonly status: string;
  readonly outcome: string | null;
  readonly attempts: number;
}

const withClient = async <T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> => {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
};

/** Of an account, in the order they were planned. @throws Error when one that ended tells of octets, where a purge would not find it. */
export const commandsOf = (url: string, accountId: string): Promise<readonly SeenCommand[]> =>
  withClient(url, async (client) => {
    const { rows } = await client.query<SeenCommand>(
      `select verb, reason, status, outcome, attempts from commands where account_id = $1 order by planned_at, id`,
      [accountId.replace(/^acc_/, "")],
    );
    const hashed = await client.query(`select from commands where ended_at is not null and fence ? 'sha256'`);
    if (hashed.rowCount !== 0) throw new Error("a command that came to its end keeps the hash of octets");
    return rows;
  });

/** As if the reading of these UIDs of INBOX had been a retrieval: unread for the owner, read on the server, to be reverted. */
export const oweUnread = (url: string, accountId: string, uids: readonly number[]): Promise<void> =>
  withClient(url, async (client) => {
    await client.query(
      `with weak as (
         update placements p set keywords = array_remove(keywords, '$seen') from bindings b
         where p.account_id = $1 and b.account_id = p.account_id and b.placement_id = p.id and b.active and b.uid = any($2::bigint[])
         returning p.id, b.endpoint_id, p.tenant_id)
       insert into commands (account_id, id, tenant_id, endpoint_id, placement_id, verb, args, reason, status)
       select $1, gen_random_uuid(), tenant_id, endpoint_id, id, 'store', '{"remove": ["$seen"]}', 'pop3_seen_reverted', 'planned' from weak`,
      [accountId.replace(/^acc_/, ""), uids],
    );
  });

/** As if the time had passed that its commands wait. */
export const makeDue = (url: string, accountId: string): Promise<void> =>
  withClient(url, async (client) => {
    await client.query(`update commands set due_at = null where account_id = $1 and ended_at is null`, [
      accountId.replace(/^acc_/, ""),
    ]);
  });

/** Flags of every item that is bound, as they were seen last. */
export const shadowsOf = (url: string, accountId: string): Promise<readonly string[]> =>
  withClient(url, async (client) => {
    const { rows } = await client.query<{ flags: string[] }>(
      `select shadow_flags as flags from bindings where account_id = $1 and active`,
      [accountId.replace(/^acc_/, "")],
    );
    return rows.flatMap(({ flags }) => flags);
  });
