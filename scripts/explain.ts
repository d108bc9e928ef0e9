/**
 * `npm run explain -- <account> [mailbox]`: what the server shows, what Samebox holds, what both last agreed on, and what the next pass
 * would do about it. Nothing is done: the database is opened for reading, and looking at a mailbox leaves no trace. `account` is an id
 * or an address. Takes the daemon's settings from the environment.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { readConfig } from "../src/config.ts";
import { driversFor } from "../src/endpoints/registry.ts";
import { openSpoolFolder } from "../src/endpoints/spool-folder.ts";
import { formatId } from "../src/model/ids.ts";
import type { Leg } from "../src/reconciler/legs.ts";
import type { AccountState, EndpointState } from "../src/store/account-state.ts";
import { listOpenCommands } from "../src/store/commands.ts";
import { type Database, openDatabase } from "../src/store/database.ts";
import { listOpenHolds } from "../src/store/hold-reads.ts";
import { createSealer } from "../src/store/sealing.ts";
import { createLogger } from "../src/telemetry/log.ts";
import { explainEndpoint } from "../src/workers/legs.ts";
import { databaseUrlOf, findAccount, Usage } from "./account-of.ts";

const shownItems = 50;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const words = (list: readonly string[] | null, none: string): string =>
  list === null ? none : list.length === 0 ? "[]" : `[${list.join(" ")}]`;

const sayLeg = ({ uid, placementId, observed, canonical, shadow, plan }: Leg): void =>
  say(
    `    UID ${uid}${placementId === null ? "" : ` ${formatId("plc", placementId)}`}: server ${words(observed, "not shown")}, ` +
      `here ${words(canonical, "not here")}, agreed ${words(shadow, "nothing")} -> ${plan.join(", ")}`,
  );

const sayOwed = async (db: Database, account: AccountState, endpoint: EndpointState): Promise<void> => {
  for (const { verb, reason, status, attempts, outcome, dueAt, placement } of await listOpenCommands(db, account.id, endpoint.id))
    say(
      `  owed: ${verb}${placement === null ? "" : ` of ${formatId("plc", placement.id)}`} because ${reason}, ${status} after ${attempts} tries` +
        `${outcome === null ? "" : ` (${outcome})`}${dueAt === null ? "" : `, next ${dueAt.toISOString()}`}`,
    );
};

const sayAccount = async (db: Database, account: AccountState): Promise<void> => {
  say(`${formatId("acc", account.id)}: ${account.paused ? "paused" : account.syncState}`);
  for (const { id, reason, count, since, decision } of await listOpenHolds(db, account.id, { after: null, limit: 100 }))
    say(
      `  held: ${formatId("hld", id)} ${reason}, ${count} items since ${since.toISOString()}${decision === null ? "" : `, ${decision}`}`,
    );
};

const readOnly = (url: string): string => {
  const reading = new URL(url);
  reading.searchParams.set("options", "-c default_transaction_read_only=on");
  return reading.href;
};

const main = async (): Promise<void> => {
  const [name, path = null] = process.argv.slice(2);
  if (name === undefined) throw new Usage("Usage: npm run explain -- <account> [mailbox]");
  const config = readConfig();
  const log = createLogger({ level: "fatal" });
  const secret = config.secretKey ?? Buffer.from(await readFile(join(config.dataDir, "secret-key"), "utf8"), "base64");
  const db = openDatabase({ url: readOnly(await databaseUrlOf(config)), max: 2, log });
  const spool = await openSpoolFolder(join(config.dataDir, "spool"));
  const { allowPrivateHosts, allowCleartext, maxMessageBytes } = config;
  const drivers = driversFor({ allowPrivateHosts, allowCleartext, maxMessageBytes, spoolDir: spool.dir });
  const sealer = createSealer(secret, config.otherSecretKeys);
  const unseal = (owner: AccountState, { id, sealedCredentials }: EndpointState) =>
    sealer.openCredentials(db, { tenantId: owner.tenantId, accountId: owner.id, endpointId: id }, sealedCredentials);
  try {
    const account = await findAccount(db, name);
    await sayAccount(db, account);
    let isFound = path === null;
    for (const endpoint of account.endpoints) {
      const { protocol, host, port } = endpoint.settings;
      say(`${protocol} ${host}:${port}`);
      if (protocol === "pop3") {
        say("  has no keywords and no mailboxes: nothing to compare; see the account's status");
        continue;
      }
      const services = { db, drivers, log, unseal };
      for await (const { path: at, trouble, legs } of explainEndpoint(
        services,
        { account, endpoint },
        path,
        new AbortController().signal,
      )) {
        isFound = true;
        say(`  ${at}: ${trouble ?? `${legs.equal} equal, ${legs.unequal.length} not`}`);
        for (const leg of legs.unequal.slice(0, shownItems)) sayLeg(leg);
        if (legs.unequal.length > shownItems) say(`    and ${legs.unequal.length - shownItems} more`);
      }
      await sayOwed(db, account, endpoint);
    }
    if (!isFound) throw new Usage(`The account has no mailbox "${path}" on its server.`);
  } finally {
    await spool.remove();
    await db.close();
  }
};

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof Usage ? 2 : 1;
}
