import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { inject } from "vitest";
import { type DatabaseServer, type DeskAnswer, queryOnce, withDatabase } from "./database-server.ts";
import { eventually } from "./eventually.ts";

/** A database of one test file, on the server of the run. */
export interface FreshDatabase extends AsyncDisposable {
  readonly url: string;
  /** Removes it. @throws Error when a connection to it is still open: somebody forgot to close a pool. */
  drop(): Promise<void>;
}

const askDesk = async (): Promise<DatabaseServer> => {
  const answer = JSON.parse(await text(connect(inject("databaseDesk")))) as DeskAnswer;
  if ("error" in answer) throw new Error(answer.error);
  return answer;
};

let server: Promise<DatabaseServer> | undefined;

interface Connection {
  readonly application_name: string;
  readonly query: string;
}

const connectionsTo = (adminUrl: string, database: string): Promise<Connection[]> =>
  queryOnce(
    adminUrl,
    "select application_name, query from pg_stat_activity where datname = $1 and backend_type = 'client backend'",
    [database],
  );

/** Makes a migrated database, or an empty one. The first call of a run waits for the server (3 s), later ones take 50 ms. */
export const freshDatabase = async (options: { readonly empty?: boolean } = {}): Promise<FreshDatabase> => {
  const { adminUrl, prefix, template } = await (server ??= askDesk());
  const name = `${prefix}_${randomBytes(4).toString("hex")}`;
  await queryOnce(adminUrl, `create database ${name} template ${options.empty === true ? "template0" : template}`);
  let dropped = false;
  const drop = async (): Promise<void> => {
    if (dropped) return;
    dropped = true;
    let open: Connection[] = [];
    // A connection closed just now is gone only when its backend has noticed.
    const left = async (): Promise<boolean> => (open = await connectionsTo(adminUrl, name)).length === 0;
    const quiet = await eventually("nobody is connected", left, { timeoutMs: 2000 }).catch(() => false);
    await queryOnce(adminUrl, `drop database ${name} with (force)`);
    if (!quiet)
      throw new Error(`connections left open: ${open.map((one) => `${one.application_name}: ${one.query}`).join("; ")}`);
  };
  return { url: withDatabase(adminUrl, name), drop, [Symbol.asyncDispose]: drop };
};
