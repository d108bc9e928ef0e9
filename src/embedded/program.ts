import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";

/** All that the programs of PostgreSQL get to see: English messages, UTC, nothing of the daemon's secrets. */
export const programEnv = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C", TZ: "UTC" };

const timeoutMs = 300_000;

/** The words of a failed program that tell most: its last line that speaks of an error, or its last line. */
export const tellingLine = (output: string): string => {
  const lines = output.split("\n").map((line) => line.trim());
  const said = lines.filter((line) => line !== "");
  return (
    said.findLast((line) => /\b(?:error|fatal|panic)\b|denied|not permitted/i.test(line)) ?? said.at(-1) ?? "it said nothing"
  );
};

/**
 * Runs a program to its end, out of reach of the terminal's Ctrl-C; returns its standard output.
 * @throws Error in one line when it cannot be run, fails, or takes 5 minutes.
 */
export const runProgram = async (command: readonly string[], input = ""): Promise<string> => {
  const [file = "", ...args] = command;
  const child = spawn(file, args, {
    cwd: "/",
    env: programEnv,
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
    timeout: timeoutMs,
  });
  child.stdin.on("error", () => undefined); // It may end before it has read all.
  child.stdin.end(input);
  const [out, err, [code, signal]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "exit") as Promise<[number | null, NodeJS.Signals | null]>,
  ]);
  if (code !== 0) throw new Error(`${tellingLine(err + out)} (${signal ?? `exit code ${code}`})`);
  return out;
};
