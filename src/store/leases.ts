/**
 * Who works on which shard (reliability 2.3): one heartbeat row per daemon, one ownership row per shard whose epoch
 * rises with each new owner. Time is the database's. A canonical write holds its shard's row for share, so that a
 * takeover waits for it and a writer of an older epoch is refused.
 */
import { createHash } from "node:crypto";
import type { Fence } from "../model/account.ts";
import type { ProcessId } from "../model/ids.ts";
import { fencingRejections } from "../telemetry/metrics.ts";
import type { Database, Tx } from "./database.ts";

/** Accounts are spread over this many virtual shards for ever; leases group them. */
export const virtualShards = 1024;

/** The virtual shard of an account: the first 4 octets of SHA-256 of its id. */
export const virtualShardOf = (accountId: string): number =>
  createHash("sha256").update(accountId).digest().readUInt32BE(0) % virtualShards;

/** The write was refused: another daemon owns the shard now. */
export class FencedError extends Error {
  override readonly name = "FencedError";
}

/**
 * Reads or makes the installation's row and its shards. `shards` is only taken at the first start.
 * @returns the number of shards this installation works with.
 */
export const ensureInstallation = async (db: Database, shards: number): Promise<number> =>
  db.transaction(async (tx) => {
    await tx.query({
      text: `insert into installation (id, virtual_shards, shards) values (1, $1, $2) on conflict (id) do nothing`,
      values: [virtualShards, shards],
    });
    const { rows } = await tx.query<{ shards: number }>({ text: `select shards from installation where id = 1` });
    const count = rows[0]?.shards ?? shards;
    await tx.query({
      text: `insert into shards (id) select generate_series(0, $1 - 1) on conflict (id) do nothing`,
      values: [count],
    });
    return count;
  });

/** Announces this daemon. `alone`: nobody else can be alive (embedded database), so leases left by a crash are void at once. */
export const enrol = async (
  db: Database,
  request: { id: ProcessId; host: string; ttlSeconds: number; alone: boolean },
): Promise<void> =>
  db.transaction(async (tx) => {
    if (request.alone) {
      await tx.query({ text: `update shards set owner = null where owner is not null` });
      await tx.query({ text: `delete from processes` });
    }
    await tx.query({ text: `delete from processes where expires_at < now() - interval '1 hour'` });
    await tx.query({
      // Whoever slept past its lease finds its own row again, run out.
      text: `insert into processes (id, host, expires_at) values ($1, $2, now() + make_interval(secs => $3))
             on conflict (id) do update set expires_at = excluded.expires_at`,
      values: [request.id, request.host, request.ttlSeconds],
    });
  });

/** Renews the heartbeat; false when the row is gone or had run out: every lease is lost then. */
export const heartbeat = async (db: Database, id: ProcessId, ttlSeconds: number): Promise<boolean> => {
  const { rowCount } = await db.query({
    name: "process_heartbeat",
    text: `update processes set expires_at = now() + make_interval(secs => $2) where id = $1 and expires_at > now()`,
    values: [id, ttlSeconds],
  });
  return rowCount === 1;
};

/**
 * Takes free shards up to this daemon's fair share (all shards divided by live daemons, rounded up), and gives back
 * what is above it. Answers the fences now held.
 */
export const balanceLeases = async (db: Database, id: ProcessId): Promise<Fence[]> =>
  db.transaction(async (tx) => {
    const { rows } = await tx.query<{ share: number }>({
      text: `select ceil((select count(*) from shards)::numeric / greatest(1, (select count(*) from processes where expires_at > now())))::int as share`,
    });
    const share = rows[0]?.share ?? 0;
    await tx.query({
      text: `update shards set owner = null where id in (select id from shards where owner = $1 order by id offset $2)`,
      values: [id, share],
    });
    await tx.query({
      text: `update shards set owner = $1, epoch = epoch + 1 where id in (
               select s.id from shards s
               where (s.owner is null or not exists (select from processes p where p.id = s.owner and p.expires_at > now()))
               order by random() limit greatest(0, $2 - (select count(*) from shards where owner = $1))
               for update skip locked)`,
      values: [id, share],
    });
    const held = await tx.query<{ id: number; epoch: bigint }>({
      text: `select id, epoch from shards where owner = $1`,
      values: [id],
    });
    return held.rows.map((row) => ({ shard: row.id, owner: id, epoch: row.epoch }));
  });

/** Gives everything back, so that another daemon can go on at once. */
export const resign = async (db: Database, id: ProcessId): Promise<void> =>
  db.transaction(async (tx) => {
    await tx.query({ text: `update shards set owner = null where owner = $1`, values: [id] });
    await tx.query({ text: `delete from processes where id = $1`, values: [id] });
  });

/** Holds the shard's row until the transaction ends. @throws FencedError when the fence is not the newest. */
export const checkFence = async (tx: Tx, fence: Fence): Promise<void> => {
  const { rowCount } = await tx.query({
    name: "fence_check",
    text: `select 1 from shards where id = $1 and owner = $2 and epoch = $3 for share`,
    values: [fence.shard, fence.owner, fence.epoch],
  });
  if (rowCount === 1) return;
  fencingRejections.inc();
  throw new FencedError(`Shard ${fence.shard} has a newer owner.`);
};
