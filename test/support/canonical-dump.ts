/** What an account holds, without the ids and times that differ from run to run: equal dumps mean equal mailboxes. */
import pg from "pg";

const withClient = async <T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> => {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
};

export interface CanonicalDump {
  /** One line per placement: mailbox, octets, keywords, lifecycle, UID of its active binding. */
  readonly placements: readonly string[];
  /** One line per change without its number. */
  readonly changes: readonly string[];
  /** One line per mailbox with its cursor. */
  readonly mailboxes: readonly string[];
  /** Octets stored, hashed again by PostgreSQL: what is here is whole. */
  readonly blobs: readonly string[];
}

/** As the tables name what the API calls `acc_…`. */
const keyOf = (accountId: string | null): string | null => accountId?.replace(/^acc_/, "") ?? null;

/** Of one account, or of all. @throws Error when a change log has a gap. */
export const dumpCanonical = (url: string, accountId: string | null = null): Promise<CanonicalDump> =>
  withClient(url, async (client) => {
    const lines = async (text: string): Promise<string[]> => {
      const { rows } = await client.query<{ line: string }>(text, [keyOf(accountId)]);
      return rows.map((row) => row.line).sort();
    };
    const { rows } = await client.query<{ broken: string }>(
      `select count(*) as broken from (select account_id, seq, lag(seq, 1, 0::bigint) over (partition by account_id order by seq) as before from changes) c where seq <> before + 1`,
    );
    if (rows[0]?.broken !== "0") throw new Error("the change log has a gap");
    return {
      placements: await lines(
        `select concat_ws(' ', x.name, encode(m.sha256, 'hex'), array_to_string(p.keywords, ','), p.lifecycle, p.kept, p.absent_since is not null, b.uid, array_to_string(b.shadow_flags, ',')) as line
         from placements p join messages m on m.account_id = p.account_id and m.id = p.message_id
         join mailboxes x on x.account_id = p.account_id and x.id = p.mailbox_id
         left join bindings b on b.account_id = p.account_id and b.placement_id = p.id and b.active
         where $1::uuid is null or p.account_id = $1`,
      ),
      changes: await lines(
        `select concat_ws(' ', c.kind, x.name, encode(m.sha256, 'hex'), c.reason, c.rule, c.before->>'keywords', c.after->>'keywords') as line
         from changes c left join messages m on m.account_id = c.account_id and m.id = c.message_id
         left join mailboxes x on x.account_id = c.account_id and x.id = c.mailbox_id
         where c.kind <> 'account.state' and ($1::uuid is null or c.account_id = $1)`,
      ),
      mailboxes: await lines(
        `select concat_ws(' ', m.name, m.role, m.lifecycle, u.path, u.epoch, u.uid_next, u.highest_modseq, u.backfill_low) as line
         from mailboxes m left join upstream_mailboxes u on u.account_id = m.account_id and u.mailbox_id = m.id
         where $1::uuid is null or m.account_id = $1`,
      ),
      blobs: await lines(
        `select concat_ws(' ', encode(sha256, 'hex'), encode(sha256(string_agg(data, ''::bytea order by part)), 'hex')) as line
         from blobs b where ($1::uuid is null or b.account_id = $1) and exists (select from messages m where m.account_id = b.account_id and m.sha256 = b.sha256) group by account_id, sha256`,
      ),
    };
  });

/** Where a watch for writes began. */
export interface WriteMark {
  readonly xid: bigint;
  readonly rows: bigint;
  /** Whose rows are watched, as the API names it; null: everybody's. */
  readonly accountId: string | null;
}

const mailTables = [
  "accounts",
  "mailboxes",
  "upstream_mailboxes",
  "blobs",
  "messages",
  "placements",
  "bindings",
  "changes",
  "holds",
  "commands",
  "retrievals",
  "inputs",
];

const countRows = async (client: pg.Client, since: bigint | null, accountId: string | null): Promise<bigint> => {
  // Told by the rows themselves: PostgreSQL's statistics come up to a minute late.
  const written = since === null ? "true" : `xmin::text::bigint >= ${since}`;
  const owner = (table: string): string => (table === "accounts" ? "id" : "account_id");
  const counts = mailTables.map(
    (table) => `(select count(*) from ${table} where ${written} and ($1::uuid is null or ${owner(table)} = $1))`,
  );
  const { rows } = await client.query<{ n: string }>(`select ${counts.join(" + ")} as n`, [keyOf(accountId)]);
  return BigInt(rows[0]?.n ?? "0");
};

export const markWrites = (url: string, accountId: string | null = null): Promise<WriteMark> =>
  withClient(url, async (client) => {
    const { rows } = await client.query<{ xid: string }>("select pg_snapshot_xmax(pg_current_snapshot()) as xid");
    return { xid: BigInt(rows[0]?.xid ?? "0"), rows: await countRows(client, null, accountId), accountId };
  });

/** Rows of mail inserted or changed since the mark; deleted ones count when their number is not made up for. */
export const rowsWrittenSince = (url: string, mark: WriteMark): Promise<bigint> =>
  withClient(url, async (client) => {
    const less = mark.rows - (await countRows(client, null, mark.accountId));
    return (await countRows(client, mark.xid, mark.accountId)) + (less > 0n ? less : 0n);
  });

/** A copy of a database that nobody is connected to. */
export const copyDatabase = async (url: string, name: string): Promise<{ url: string; drop(): Promise<void> }> => {
  const source = new URL(url);
  const admin = new URL(url);
  admin.pathname = "/postgres";
  await withClient(admin.href, (client) => client.query(`create database ${name} template ${source.pathname.slice(1)}`));
  const copy = new URL(url);
  copy.pathname = `/${name}`;
  return {
    url: copy.href,
    drop: () => withClient(admin.href, async (client) => void (await client.query(`drop database ${name} with (force)`))),
  };
};
