/** Runs plans to their quiet end (semantics 8.3), and asks fast-check for plans. */
import fc from "fast-check";
import { uuidv7 } from "uuidv7";
import { afterAll, beforeAll, vi } from "vitest";
import type { Fence } from "../../src/model/account.ts";
import type { AccountId } from "../../src/model/ids.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { queryOnce } from "../support/database-server.ts";
import { freshDatabase, type FreshDatabase } from "../support/postgres.ts";
import { fenceOf, quietLog } from "../support/shard-owner.ts";
import { Broken, Oracle } from "./oracle.ts";
import type { LogEntry } from "./state.ts";
import { type Plan, World } from "./world.ts";

/** Waits of a daemon nobody disturbs, in ms: gates of a minute, backoff, holds of six hours, the daily audit. */
const quietWaits = [
  ...[1, 65, 65, 65, 65].map((seconds) => seconds * 1000),
  ...[17, 17, 17, 17].map((minutes) => minutes * 60_000),
  ...[7, 7, 7, 25, 25].map((hours) => hours * 3_600_000),
];
/** Cycles that must change nothing once it is quiet (PB4). */
const quietCycles = 3;

export interface Run {
  readonly world: World;
  readonly oracle: Oracle;
}

let fresh: FreshDatabase | undefined;
let db: Database;
let fence: Fence;

/**
 * Sixteen partitions of each table serve many accounts; here one account follows the other. Nine tenths of what PostgreSQL had to do in
 * a run went into plans over those that have nothing, made for each statement anew.
 */
const mergePartitions = async (url: string): Promise<void> => {
  await queryOnce(
    url,
    `do $$ declare part regclass; parent regclass;
    begin
      execute format('alter database %I set plan_cache_mode = force_generic_plan', current_database());
      for part in select inhrelid from pg_inherits join pg_class on pg_class.oid = inhrelid where relkind = 'r' loop
        execute format('drop table %s', part);
      end loop;
      for parent in select partrelid from pg_partitioned_table loop
        execute format('create table %I partition of %s for values with (modulus 1, remainder 0)', parent || '_all', parent);
      end loop;
    end $$`,
  );
};

/** To be called once in a file: a database for its runs, and a clock that stands. */
export const useSimulation = (): void => {
  beforeAll(async () => {
    fresh = await freshDatabase();
    await mergePartitions(fresh.url);
    db = openDatabase({ url: fresh.url, log: quietLog });
    fence = await fenceOf(db, uuidv7() as AccountId, 86_400);
    vi.useFakeTimers({ toFake: ["Date"] });
  });
  afterAll(async () => {
    vi.useRealTimers();
    await db.close();
    await fresh?.drop();
  });
};

const isAtRest = ({ oracle }: Run): string | null => {
  try {
    oracle.atRest();
    return oracle.held.owed === 0 && oracle.held.holds === 0 && !oracle.held.placements.some(({ absent }) => absent)
      ? null
      : oracle.broken("I16", "something is owed, held or missed").message;
  } catch (error) {
    if (error instanceof Broken) return error.message;
    throw error;
  }
};

const isNews = ({ kind }: LogEntry): boolean => kind !== "account.state";

/** Nobody acts and nothing fails: the daemon comes to rest, and stays there. @throws Broken */
const settle = async (run: Run): Promise<void> => {
  const { world, oracle } = run;
  world.calm();
  let why: string | null = "not looked at";
  let quiet = 0;
  for (const wait of quietWaits) {
    const before = { head: oracle.log.length, passes: world.passes };
    // Who holds what cannot end by itself waits for somebody.
    if (wait >= 7 * 3_600_000 && oracle.held.holds > 0) await world.decideHolds();
    await world.tick(wait);
    if (world.passes === before.passes) continue;
    why = isAtRest(run);
    quiet = why === null && !oracle.log.slice(before.head).some(isNews) ? quiet + 1 : 0;
    if (quiet === 2) break;
  }
  if (why !== null) throw new Broken(`it does not come to rest (I16): ${why}`);
  const head = oracle.log.length;
  const written = world.server.occurrences.length;
  for (let cycle = 0; cycle < quietCycles; cycle += 1) await world.tick(65_000);
  const noise = oracle.log.slice(head).filter(isNews);
  if (noise.length > 0 || world.server.occurrences.length !== written)
    throw new Broken(`PB4: ${JSON.stringify(noise)}\n${world.trace.join("\n")}\n${oracle.story()}`);
};

/** @throws Broken where a promise of semantics 1.8 or 8.3 does not hold. */
export const simulate = async (plan: Plan): Promise<Run> => {
  const random = vi.spyOn(Math, "random").mockReturnValue(0.5);
  const world = new World(db, fence, plan);
  const run = { world, oracle: new Oracle(world) };
  try {
    await world.open();
    await world.play();
    await settle(run);
    return run;
  } finally {
    await world.close();
    random.mockRestore();
  }
};

const numberOf = (name: string): number | undefined => {
  const value = process.env[name];
  return value === undefined || value === "" ? undefined : Number(value);
};

/** All schedules of a run of the suite; each property takes its share. */
const allSchedules = numberOf("SIM_SCHEDULES") ?? 2000;

/** The suite says the same each time; what is new is looked for by `npm run simulate`, which takes a seed of its own each time. */
export const suiteSeed = 20_261_127;

/** Holds a property against plans. `share`: of all schedules of this run. SIM_SEED (and SIM_PATH) repeat what a failure printed. */
export const forAll = async <T>(share: number, plans: fc.Arbitrary<T>, holds: (plan: T) => Promise<unknown>): Promise<void> => {
  const seed = numberOf("SIM_SEED") ?? suiteSeed;
  const path = process.env["SIM_PATH"];
  await fc.assert(
    fc.asyncProperty(plans, async (plan) => {
      await holds(plan);
    }),
    {
      numRuns: Math.max(1, Math.round(share * allSchedules)),
      seed,
      ...(path !== undefined && path !== "" && { path }),
      endOnFailure: process.env["SIM_SHRINK"] === "no",
    },
  );
};
