/**
 * `npm run replay -- <account>`: decides again about everything that the account was told, from the first input to the last, in an
 * empty database of its own on the same server, and compares what comes out with what is stored. It may run beside the daemon. The
 * role in DATABASE_URL needs the right to make databases. `account` is an id or an address. Ends with 0 when both are the same.
 */
import { readConfig } from "../src/config.ts";
import { openDatabase } from "../src/store/database.ts";
import { type Difference, openScratch, replayAccount, ReplayError } from "../src/store/replay.ts";
import { createLogger } from "../src/telemetry/log.ts";
import { deciders } from "../src/workers/deciders.ts";
import { databaseUrlOf, findAccount, Usage } from "./account-of.ts";

const shownRows = 5;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const sayRows = (what: string, rows: readonly string[]): void => {
  for (const row of rows.slice(0, shownRows)) say(`    ${what}: ${row}`);
  if (rows.length > shownRows) say(`    ${what}: and ${rows.length - shownRows} more`);
};

const sayDifference = ({ table, stored, replayed }: Difference): void => {
  say(`  ${table}: ${stored.length} rows are stored otherwise than replayed`);
  sayRows("stored", stored);
  sayRows("replayed", replayed);
};

const main = async (): Promise<void> => {
  const [name] = process.argv.slice(2);
  if (name === undefined) throw new Usage("Usage: npm run replay -- <account>");
  const log = createLogger({ level: "fatal" });
  const db = openDatabase({ url: await databaseUrlOf(readConfig()), max: 2, log });
  log.debug({ deciders: deciders.length }, "loaded");
  try {
    const { id } = await findAccount(db, name);
    await using scratch = await openScratch(db, log);
    const { inputs, differences } = await replayAccount(db, scratch, id);
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
