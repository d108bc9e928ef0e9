/**
 * SAMEBOX_SECRET_KEY is changed online: what is sealed names its key, and data keys and the secrets of webhooks are sealed anew,
 * in short transactions beside the work. When none is left under another key, that key may be taken out of the settings.
 */
import type { TenantId, WebhookId } from "../model/ids.ts";
import type { Logger } from "../telemetry/log.ts";
import { secretsUnderOtherKeys } from "../telemetry/metrics.ts";
import type { Database, Queryable, Tx } from "./database.ts";
import type { Sealer } from "./sealing.ts";
import { secretContext } from "./webhooks.ts";

type Rotating = Pick<Sealer, "foreignKeys" | "rewrapDataKeys" | "sealText" | "openText">;

/** Data keys and webhooks whose secrets are under another of the known keys than today's. */
export const countUnderOtherKeys = async (db: Queryable, { foreignKeys }: Pick<Sealer, "foreignKeys">): Promise<number> => {
  if (foreignKeys.length === 0) return 0;
  const { rows } = await db.query<{ n: bigint }>({
    name: "secrets_foreign",
    text: `select (select count(*) from data_keys where kek_id = any($1))
                + (select count(*) from webhooks where split_part(secret, '.', 2) = any($1) or split_part(old_secret, '.', 2) = any($1)) as n`,
    values: [foreignKeys],
  });
  return Number(rows[0]?.n ?? 0);
};

interface SecretsRow {
  readonly id: WebhookId;
  readonly tenant_id: TenantId;
  readonly secret: string;
  readonly old_secret: string | null;
}

const resealWebhooks = async (tx: Tx, sealer: Rotating): Promise<number> => {
  const { rows } = await tx.query<SecretsRow>({
    name: "webhooks_to_reseal",
    text: `select id, tenant_id, secret, old_secret from webhooks
           where split_part(secret, '.', 2) = any($1) or split_part(old_secret, '.', 2) = any($1) limit 500 for update skip locked`,
    values: [sealer.foreignKeys],
  });
  const reseal = ({ id, tenant_id: tenantId }: SecretsRow, sealed: string | null): string | null => {
    const context = secretContext(tenantId, id);
    return sealed === null ? null : sealer.sealText(context, sealer.openText(context, sealed));
  };
  await tx.query({
    name: "webhooks_resealed",
    text: `update webhooks w set secret = n.secret, old_secret = n.old_secret
           from unnest($1::uuid[], $2::text[], $3::text[]) as n(id, secret, old_secret) where w.id = n.id`,
    values: [
      rows.map(({ id }) => id),
      rows.map((row) => reseal(row, row.secret)),
      rows.map((row) => reseal(row, row.old_secret)),
    ],
  });
  return rows.length;
};

/** Goes on for about `budgetMs`; called again and again, it ends with all of them. Two daemons share the work. */
export const rotateSecrets = async (
  db: Database,
  sealer: Rotating,
  { log, budgetMs = 5_000 }: { readonly log: Logger; readonly budgetMs?: number },
): Promise<void> => {
  if (sealer.foreignKeys.length === 0) return;
  const until = Date.now() + budgetMs;
  let done = 0;
  const step = (tx: Tx): Promise<number> =>
    sealer.rewrapDataKeys(tx).then(async (keys) => keys + (await resealWebhooks(tx, sealer)));
  for (let last = -1; last !== 0 && Date.now() < until;) {
    last = await db.transaction(step);
    done += last;
  }
  const left = await countUnderOtherKeys(db, sealer);
  secretsUnderOtherKeys.set(left);
  if (done > 0) log.info({ done, left }, "secrets sealed under today's key");
};
