/**
 * `npm run replay -- <account>`: decides again about everything that the account was told, from the first input to the last, in an
 * empty database of its own on the same server, and compares what comes out with what is stored. It may run beside the daemon. The
 * role in DATABASE_URL needs the right to make databases. `account` is an id or an address. Ends with 0 when both are the same, with 1 when they are not.
 */
import { readConfig } from "../src/config.ts";
import { openDatabase } from "../src/store/database.ts";
import type { Difference, Unlike } from "../src/store/likeness.ts";
import { replayAccount, ReplayError } from "../src/store/replay.ts";
import { openScratch } from "../src/store/scratch.ts";
import { createLogger } from "../src/telemetry/log.ts";
import { deciders } from "../src/workers/deciders.ts";
import { databaseUrlOf, findAccount, Usage } from "./account-of.ts";

const shownRows = 5;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const sayRows = (what: string, { count, first }: Unlike): void => {
  for (const row of first.slice(0, shownRows)) say(`    ${what}: ${row}`);
  if (count > shownRows) say(`    ${what}: and ${count - shownRows} more`);
};

const sayDifference = ({ table, stored, replayed }: Difference): void => {
  say(`  ${table}: ${stored.count} rows are stored otherwise than replayed`);
  sayRows("stored", stored);
  sayRows("replayed", replayed);
};

/** Rejects at the first signal, so that what was made is taken away; the second one ends the process. */
const interruption = (): Promise<never> =>
  new Promise((_, reject) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const)
      process.once(signal, () => reject(new Usage("Interrupted before it was compared.")));
  });

const main = async (): Promise<void> => {
  const [name] = process.argv.slice(2);
  if (name === undefined) throw new Usage("Usage: npm run replay -- <account>");
  const log = createLogger({ level: "fatal" });
  const db = openDatabase({ url: await databaseUrlOf(readConfig()), max: 2, log, deadlines: false });
  log.debug({ deciders: deciders.length }, "loaded");
  try {
    const { id } = await findAccount(db, name);
    await using scratch = await openScratch(db, log);
    const { inputs, differences } = await Promise.race([replayAccount(db, scratch, id), interruption()]);
    say(`${inputs} inputs replayed: ${differences.length === 0 ? "the account is what they make of it" : "not the same"}`);
    for (const difference of differences) sayDifference(difference);
    if (differences.length > 0) process.exitCode = 1;
  } finally {
    await db.close();
  }
};

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof Usage || error instanceof ReplayError ? 2 : 1;
}
