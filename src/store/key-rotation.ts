/**
 * SAMEBOX_SECRET_KEY is changed online: what is sealed names its key, and only the data keys are wrapped anew, in short
 * transactions beside the work. When none is left under another key, that key may be taken out of the settings.
 */
import type { Logger } from "../telemetry/log.ts";
import { foreignDataKeys } from "../telemetry/metrics.ts";
import type { Database } from "./database.ts";
import type { Sealer } from "./sealing.ts";

/** Goes on for about `budgetMs`; called again and again, it ends with all of them. Two daemons share the work. */
export const rotateDataKeys = async (
  db: Database,
  sealer: Pick<Sealer, "rewrapDataKeys" | "countForeignDataKeys">,
  { log, budgetMs = 5_000 }: { readonly log: Logger; readonly budgetMs?: number },
): Promise<void> => {
  const until = Date.now() + budgetMs;
  let rewrapped = 0;
  for (let step = -1; step !== 0 && Date.now() < until; rewrapped += step)
    step = await db.transaction((tx) => sealer.rewrapDataKeys(tx));
  const left = await sealer.countForeignDataKeys(db);
  foreignDataKeys.set(left);
  if (rewrapped > 0) log.info({ rewrapped, left }, "data keys wrapped under today's key");
};
