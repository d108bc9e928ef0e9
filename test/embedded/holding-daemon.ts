/** Stands for a daemon: serves the data directory named by its argument, says where, and waits to be killed. */
import { startEmbeddedPostgres } from "../../src/embedded/postgres.ts";
import { createLogger } from "../../src/telemetry/log.ts";

const { url } = await startEmbeddedPostgres({ dataDir: process.argv[2] ?? "", log: createLogger({ level: "silent" }) });
process.stdout.write(`${url}\n`);
