/**
 * Plays seeded schedules against the daemon's passes (test/simulation): `npm run simulate -- --schedules=2000`. What a failure prints,
 * `SIM_SEED=… SIM_PATH=… npm run simulate -- -t "name of the property"` plays again. Further arguments go to the test runner.
 */
import { spawn } from "node:child_process";

const words = process.argv.slice(2);
const at = words.findIndex((word) => word.startsWith("--schedules"));
const own = at < 0 ? [] : words.splice(at, words[at]?.includes("=") === true ? 1 : 2);
const schedules = own.join("=").split("=")[1];
const env = { SIM_SEED: "random", ...process.env, ...(schedules !== undefined && { SIM_SCHEDULES: schedules }) };
const runner = spawn("vitest", ["run", "test/simulation", ...words], { stdio: "inherit", env });
runner.on("exit", (code) => {
  process.exitCode = code ?? 1;
});
