import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * Runs the server in a process group of its own until its standard input ends, which the kernel sees to however this
 * process dies; then ends the whole group and removes the folder, unless the last word was "keep".
 */
const guard = `
folder=$1; shift; word=
set -m
"$@" </dev/null & server=$!
while kill -0 "$server" 2>/dev/null; do
  read -r -t 0.2 word; [ $? -gt 128 ] || break
done
if [ "$word" = keep ]; then kill -TERM "$server"; else kill -KILL -- "-$server"; fi 2>/dev/null
( sleep 5; kill -KILL -- "-$server" ) >/dev/null 2>&1 & late=$!
wait "$server"; code=$?
kill -KILL -- "-$server" "-$late" 2>/dev/null
[ "$word" = keep ] || { rm -rf -- "$folder"; rmdir -- "\${folder%/*}" 2>/dev/null; }
exit "$code"
`;

/** A server that cannot outlive the process which started it. */
export interface GuardedProcess {
  /** False once the server has ended, by itself or by `end`. */
  readonly running: boolean;
  /** What the server wrote to its standard output and error. */
  output(): Promise<string>;
  /** Ends the server and all it started; removes the folder unless told to keep it. Harmless when repeated. */
  end(options?: { readonly keepFolder?: boolean }): Promise<void>;
}

/** Starts `command` in `folder`. The caller waits until it answers. */
export const startGuarded = (options: {
  readonly folder: string;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}): GuardedProcess => {
  const outputPath = join(options.folder, "output.log");
  const output = openSync(outputPath, "a");
  const child = spawn("bash", ["-c", guard, "guard", options.folder, ...options.command], {
    cwd: options.folder,
    detached: true,
    stdio: ["pipe", output, output],
    env: { ...process.env, ...options.env },
  });
  closeSync(output);
  let running = true;
  const ended = new Promise<void>((resolve) => {
    const finish = (): void => {
      running = false;
      resolve();
    };
    child.once("exit", finish);
    child.once("error", finish);
  });
  const stdin = child.stdin;
  stdin?.on("error", () => undefined); // The guard may be gone before it is told to go.
  child.unref();
  return {
    get running() {
      return running;
    },
    output: () => readFile(outputPath, "utf8").catch(() => ""),
    end: async ({ keepFolder = false } = {}) => {
      child.ref();
      stdin?.end(keepFolder ? "keep\n" : "");
      await ended;
    },
  };
};
