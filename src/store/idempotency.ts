/**
 * Requests that are carried out once however often they are sent. The key's row is written in the transaction of the
 * effect, so that a crash leaves either both or neither; while it runs, an advisory lock says so.
 */
import type { TenantId } from "../model/ids.ts";
import type { Database, Transactor, Tx } from "./database.ts";
import { underOneKey } from "./sealing.ts";

export interface OnceRequest {
  readonly tenantId: TenantId;
  readonly key: string;
  /** Keyed digests of all that makes the request what it is: the first is stored, any is recognised. */
  readonly fingerprints: readonly [Buffer, ...Buffer[]];
}

export interface StoredAnswer {
  readonly status: number;
  readonly body: unknown;
}

export type Once<Answer> =
  | { readonly outcome: "done"; readonly answer: Answer }
  | { readonly outcome: "replayed"; readonly stored: StoredAnswer }
  | { readonly outcome: "running" }
  | { readonly outcome: "reused" }
  /** It ran under a SAMEBOX_SECRET_KEY that is not known any more: neither the request nor the answer can be recognised. */
  | { readonly outcome: "lost" };

/** Runs `work` unless it ran before; what it throws leaves no trace. `stored` is what a replay will answer. */
export const once = <Answer>(
  db: Transactor,
  request: OnceRequest,
  work: (tx: Tx) => Promise<{ answer: Answer; stored: StoredAnswer }>,
): Promise<Once<Answer>> =>
  db.transaction(async (tx): Promise<Once<Answer>> => {
    const lock = await tx.query<{ mine: boolean }>({
      name: "idempotency_lock",
      text: `select pg_try_advisory_xact_lock(hashtextextended('samebox idempotency ' || $1 || ' ' || $2, 0)) as mine`,
      values: [request.tenantId, request.key],
    });
    if (lock.rows[0]?.mine !== true) return { outcome: "running" };
    const { rows } = await tx.query<{ fingerprint: Buffer; status: number; body: unknown }>({
      name: "idempotency_find",
      text: `select fingerprint, status, body from idempotency_keys where tenant_id = $1 and key = $2`,
      values: [request.tenantId, request.key],
    });
    const known = rows[0];
    if (known !== undefined) {
      const alike = request.fingerprints.find((one) => underOneKey(one, known.fingerprint));
      if (alike === undefined) return { outcome: "lost" };
      if (!alike.equals(known.fingerprint)) return { outcome: "reused" };
      return { outcome: "replayed", stored: { status: known.status, body: known.body } };
    }
    const { answer, stored } = await work(tx);
    await tx.query({
      name: "idempotency_store",
      text: `insert into idempotency_keys (tenant_id, key, fingerprint, status, body, completed_at) values ($1, $2, $3, $4, $5, now())`,
      values: [request.tenantId, request.key, request.fingerprints[0], stored.status, JSON.stringify(stored.body)],
    });
    return { outcome: "done", answer };
  });

/** Forgets what is older than 24 hours; at most 10,000 rows a call. */
export const forgetOldAnswers = async (db: Database): Promise<void> => {
  await db.query({
    name: "idempotency_forget",
    text: `delete from idempotency_keys where (tenant_id, key) in (
             select tenant_id, key from idempotency_keys where created_at < now() - interval '24 hours' order by created_at limit 10000)`,
  });
};
