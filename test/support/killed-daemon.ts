/** A daemon that is killed at a step of its work for one account. */
import pg from "pg";
import { type Daemon, startDaemon } from "./daemon.ts";
import { eventually } from "./eventually.ts";
import { commandsOf } from "./owed-writes.ts";

const asDatabase = async (url: string, text: string, values: readonly unknown[] = []): Promise<void> => {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(text, [...values]);
  } finally {
    await client.end();
  }
};

/** Without a daemon, so that none begins before the one that is to be killed. */
export const setPaused = (url: string, accountId: string, paused: boolean): Promise<void> =>
  asDatabase(url, "update accounts set paused = $2 where id = $1", [accountId.replace(/^acc_/, ""), paused]);

/** One that looks often, so that a test need not wait. */
export const startHasty = (url: string, options: { readonly failpoint?: number } = {}): Promise<Daemon> => {
  const failpoint = options.failpoint === undefined ? {} : { SAMEBOX_FAILPOINT: String(options.failpoint) };
  const env = { DATABASE_URL: url, SAMEBOX_LEASE_SECONDS: "2", SAMEBOX_POLL_SECONDS: "1", ...failpoint };
  return startDaemon({ dying: options.failpoint !== undefined, env });
};

/**
 * Lets a daemon work for a paused account until it gets to a step, counted from its start, and pauses the account again, as if the
 * lease had run out meanwhile.
 * @returns the step's name; null: everything was written before.
 */
export const killAt = async (url: string, accountId: string, step: number): Promise<string | null> => {
  await setPaused(url, accountId, false);
  const victim = await startHasty(url, { failpoint: step });
  const isThrough = async () => (await commandsOf(url, accountId)).every(({ status }) => status === "confirmed");
  let dead = false;
  void victim.exited.then(() => (dead = true));
  await eventually("the daemon is dead, or through", async () => dead || (await isThrough()), {
    timeoutMs: 60_000,
    everyMs: 100,
  });
  await victim.stop();
  await setPaused(url, accountId, true);
  await asDatabase(url, "update processes set expires_at = now()");
  const told = victim.lines.map(({ text }) => /^failpoint.* step \d+, (.*)$/.exec(String(text))?.[1]);
  return told.find((name) => name !== undefined) ?? null;
};
