/**
 * SAMEBOX_SECRET_KEY is changed online: what is sealed names its key, and data keys and the secrets of webhooks are sealed anew,
 * in short transactions beside the work. When none is left under another key, that key may be taken out of the settings.
 */
import type { TenantId, WebhookId } from "../model/ids.ts";
import type { Logger } from "../telemetry/log.ts";
import { secretsUnderOtherKeys } from "../telemetry/metrics.ts";
import type { Database, Queryable } from "./database.ts";
import { firstId, openEach, type Resealed, type ResealStep, type Sealer } from "./sealing.ts";
import { secretContext } from "./webhooks.ts";

type Rotating = Pick<Sealer, "todaysKey" | "foreignKeys" | "rewrapDataKeys" | "sealText" | "openText">;

/** Data keys and webhooks whose secrets are under another key than today's, be it a known one or not. */
export const countUnderOtherKeys = async (db: Queryable, { todaysKey }: Pick<Sealer, "todaysKey">): Promise<number> => {
  const { rows } = await db.query<{ n: bigint }>({
    name: "secrets_foreign",
    text: `select (select count(*) from data_keys where kek_id <> $1)
                + (select count(*) from webhooks where split_part(secret, '.', 2) <> $1
                     or (old_secret_until > now() and split_part(old_secret, '.', 2) <> $1)) as n`,
    values: [todaysKey],
  });
  return Number(rows[0]?.n ?? 0);
};

/**
 * Says so where something is sealed under a key that was taken out of the settings too early: the accounts and webhooks it is of
 * can do nothing, and the key is still to be had, perhaps not for long.
 */
export const tellOfUnknownKeys = async (
  db: Queryable,
  { todaysKey, foreignKeys }: Pick<Sealer, "todaysKey" | "foreignKeys">,
  log: Logger,
): Promise<void> => {
  const { rows } = await db.query<{ dataKeys: bigint; webhooks: bigint }>({
    name: "secrets_unknown",
    text: `select (select count(*) from data_keys where kek_id <> all($1)) as "dataKeys",
                  (select count(*) from webhooks where split_part(secret, '.', 2) <> all($1)) as webhooks`,
    values: [[todaysKey, ...foreignKeys]],
  });
  const { dataKeys, webhooks } = rows[0] ?? { dataKeys: 0n, webhooks: 0n };
  if (dataKeys > 0n || webhooks > 0n)
    log.error(
      { dataKeys: Number(dataKeys), webhooks: Number(webhooks) },
      "sealed under a SAMEBOX_SECRET_KEY that is not known: put that key into SAMEBOX_OTHER_SECRET_KEYS again, or set the passwords anew",
    );
};

interface SecretsRow {
  readonly id: WebhookId;
  readonly tenant_id: TenantId;
  readonly secret: string;
  readonly old_secret: string | null;
}

const resealWebhooks =
  (sealer: Rotating): ResealStep<WebhookId> =>
  async (tx, after) => {
    const { rows } = await tx.query<SecretsRow>({
      name: "webhooks_to_reseal",
      text: `select id, tenant_id, secret, case when old_secret_until > now() then old_secret end as old_secret from webhooks
             where (split_part(secret, '.', 2) = any($1) or split_part(old_secret, '.', 2) <> $3) and id > $2
             order by id limit 500 for update skip locked`,
      values: [sealer.foreignKeys, after ?? firstId, sealer.todaysKey],
    });
    const { opened, refused } = openEach(rows, ({ id, tenant_id: tenantId, secret, old_secret: old }) => {
      const reseal = (sealed: string): string => {
        const context = secretContext(tenantId, id);
        return sealer.sealText(context, sealer.openText(context, sealed));
      };
      return { id, secret: reseal(secret), old: old === null ? null : reseal(old) };
    });
    await tx.query({
      name: "webhooks_resealed",
      text: `update webhooks w set secret = n.secret, old_secret = n.old_secret,
               old_secret_until = case when n.old_secret is not null then w.old_secret_until end
             from unnest($1::uuid[], $2::text[], $3::text[]) as n(id, secret, old_secret) where w.id = n.id`,
      values: [opened.map(({ id }) => id), opened.map(({ secret }) => secret), opened.map(({ old }) => old)],
    });
    return { done: opened.length, refused, last: rows.at(-1)?.id ?? null };
  };

/** Step by step through all, each in a transaction of its own; at least one step. */
const goThrough = async <At>(
  db: Database,
  step: ResealStep<At>,
  until: number,
): Promise<{ readonly done: number; readonly refused: readonly string[] }> => {
  let done = 0;
  const refused: string[] = [];
  let after: At | null = null;
  do {
    const from: At | null = after;
    const batch: Resealed<At> = await db.transaction((tx) => step(tx, from));
    done += batch.done;
    refused.push(...batch.refused);
    after = batch.last;
  } while (after !== null && Date.now() < until);
  return { done, refused };
};

const mostNamed = 10;

/** Goes on for about `budgetMs`; called again and again, it ends with all of them. Two daemons share the work. */
export const rotateSecrets = async (
  db: Database,
  sealer: Rotating,
  { log, budgetMs = 5_000 }: { readonly log: Logger; readonly budgetMs?: number },
): Promise<void> => {
  const until = Date.now() + budgetMs;
  if (sealer.foreignKeys.length > 0) {
    const keys = await goThrough(db, sealer.rewrapDataKeys, until);
    const webhooks = await goThrough(db, resealWebhooks(sealer), until);
    const done = keys.done + webhooks.done;
    const refused = { dataKeys: keys.refused.slice(0, mostNamed), webhooks: webhooks.refused.slice(0, mostNamed) };
    if (done > 0) log.info({ done }, "secrets sealed under today's key");
    if (keys.refused.length + webhooks.refused.length > 0)
      log.warn(refused, "secrets that cannot be opened were left as they are");
  }
  secretsUnderOtherKeys.set(await countUnderOtherKeys(db, sealer));
};
