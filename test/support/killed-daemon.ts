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

/** One that looks often, so that a test need not wait; `roles` as the setting has them. */
export const startHasty = (
  url: string,
  options: { readonly failpoint?: number; readonly roles?: string } = {},
): Promise<Daemon> => {
  const failpoint = options.failpoint === undefined ? {} : { SAMEBOX_FAILPOINT: String(options.failpoint) };
  const env = { DATABASE_URL: url, SAMEBOX_LEASE_SECONDS: "2", SAMEBOX_POLL_SECONDS: "1", ...failpoint };
  if (options.roles !== undefined) Object.assign(env, { SAMEBOX_ROLES: options.roles });
  return startDaemon({ dying: options.failpoint !== undefined, env });
};

const noneOwed = async (url: string, accountId: string): Promise<boolean> =>
  (await commandsOf(url, accountId)).every(({ status }) => status === "confirmed");

/**
 * Lets a daemon work for a paused account until it gets to a step, counted from its start, and pauses the account again, as if the
 * lease had run out meanwhile. `isThrough`: nothing is left to be done; what was owed is, unless told otherwise.
 * @returns the step's name; null: everything was written before.
 */
export const killAt = async (
  url: string,
  accountId: string,
  step: number,
  isThrough: () => Promise<boolean> = () => noneOwed(url, accountId),
): Promise<string | null> => {
  await setPaused(url, accountId, false);
  const victim = await startHasty(url, { failpoint: step });
  let dead = false;
  void victim.exited.then(() => (dead = true));
  const through = eventually("the daemon is dead, or through", async () => dead || (await isThrough()), {
    timeoutMs: 120_000,
    everyMs: 200,
  });
  try {
    await Promise.race([victim.exited, through]);
  } finally {
    await victim.stop();
  }
  await setPaused(url, accountId, true);
  await asDatabase(url, "update processes set expires_at = now()");
  const told = victim.lines.map(({ text }) => /^failpoint.* step \d+, (.*)$/.exec(String(text))?.[1]);
  return told.find((name) => name !== undefined) ?? null;
};

/**
 * Kills a daemon at step `first` of its work for the first of some paused accounts, one step later for the next, and so on until one
 * gets through; all are paused then.
 * @returns the names of the steps, in order; there have to be more accounts than steps.
 */
export const killAtEachStep = async (work: {
  readonly url: string;
  readonly accounts: readonly string[];
  readonly first?: number;
  /** Brings about what the work is, just before it begins. */
  readonly prepare?: (accountId: string, at: number) => Promise<unknown>;
  readonly isThrough?: (accountId: string, at: number) => Promise<boolean>;
}): Promise<readonly string[]> => {
  const { url, accounts, first = 1, prepare, isThrough } = work;
  const names: string[] = [];
  for (const [at, accountId] of accounts.entries()) {
    await prepare?.(accountId, at);
    const name = await killAt(url, accountId, first + at, isThrough && (() => isThrough(accountId, at)));
    if (name === null) return names;
    names.push(name);
  }
  throw new Error(`more steps than accounts: ${names.join()}`);
};
