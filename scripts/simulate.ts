/**
 * Plays seeded schedules against the daemon's passes (test/simulation), in slices of which several run at a time, and says how far it
 * is: `npm run simulate -- --schedules=2000 --workers=4 --seed=1`. What a failure prints,
 * `SIM_SEED=… SIM_PATH=… npm run simulate -- -t "name of the property"` plays again. Further arguments go to the test runner.
 */
import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { availableParallelism } from "node:os";

/** Of this size a slice takes some minutes: long enough to be worth a database of its own, short enough to tell something. */
const largestSlice = 1000;

/** What plays the same each time, or another server: the suite has it. */
const fixed = ["differential", "classes", "found"].map((name) => `--exclude=**/${name}*`);

const words = process.argv.slice(2);

/** Takes `--name=value` or `--name value` out of what was given. */
const option = (name: string, otherwise: number): number => {
  const at = words.findIndex((word) => word === `--${name}` || word.startsWith(`--${name}=`));
  if (at < 0) return otherwise;
  const given = words.splice(at, words[at]?.includes("=") === true ? 1 : 2).join("=");
  return Number(given.slice(name.length + 3));
};

const schedules = option("schedules", 2000);
const workers = option("workers", 2 * availableParallelism());
const firstSeed = option("seed", randomInt(2 ** 30));

const play = (seed: string, count: number, out: "inherit" | "pipe"): Promise<{ code: number; said: string }> =>
  new Promise((resolve) => {
    const env = { ...process.env, SIM_SEED: seed, SIM_SCHEDULES: String(count) };
    const args = ["run", "test/simulation", ...fixed, "--maxWorkers=1", ...words];
    const runner = spawn("vitest", args, { stdio: ["ignore", out, out], env });
    let said = "";
    for (const stream of [runner.stdout, runner.stderr]) stream?.on("data", (data: Buffer) => (said += data.toString()));
    runner.on("exit", (code) => resolve({ code: code ?? 1, said }));
  });

const say = (line: string): boolean => process.stdout.write(`${line}\n`);

const playAll = async (): Promise<number> => {
  const size = Math.min(largestSlice, Math.ceil(schedules / workers));
  const began = performance.now();
  let [next, done, broken] = [0, 0, 0];
  const work = async (): Promise<void> => {
    while (next * size < schedules) {
      const seed = firstSeed + next;
      next += 1;
      const { code, said } = await play(String(seed), size, "pipe");
      done += size;
      broken += Number(code !== 0);
      if (code !== 0) say(said);
      const rate = (1000 * done) / (performance.now() - began);
      say(`${done} of ${schedules} schedules, ${rate.toFixed(1)}/s; seed ${seed} ${code === 0 ? "is clean" : "BROKE A PROMISE"}`);
    }
  };
  await Promise.all(Array.from({ length: workers }, work));
  say(`${done} schedules in ${Math.round((performance.now() - began) / 1000)} s; ${broken} slices broke a promise`);
  return broken;
};

const again = process.env["SIM_SEED"];
process.exitCode = again === undefined ? Math.min(1, await playAll()) : (await play(again, schedules, "inherit")).code;
