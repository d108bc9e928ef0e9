import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { join } from "node:path";

/**
 * Runs the server in a process group of its own until its standard input ends, which the kernel sees to however this
 * process dies; then ends the whole group and removes the folder, unless the last word was "keep". Tells when the server
 * ended by itself, and leaves what it wrote to be read until then.
 */
const guard = `
folder=$1; signal=$2; shift 2; word=; PATH=$PATH:/usr/sbin:/sbin
set -m
"$@" </dev/null >>"$folder/output.log" 2>&1 & server=$!
told=1
while kill -0 "$server" 2>/dev/null; do
  read -r -t 0.2 word; told=$?
  [ "$told" -gt 128 ] || break
done
if [ "$told" -gt 128 ]; then echo ended; read -r word; fi
[ "$word" = keep ] && signal=TERM
kill "-$signal" "$server" 2>/dev/null
( sleep 5; kill -KILL -- "-$server" ) >/dev/null 2>&1 & late=$!
wait "$server"
kill -KILL -- "-$server" "-$late" 2>/dev/null
[ "$word" = keep ] || { rm -rf -- "$folder"; rmdir -- "\${folder%/*}"; } 2>/dev/null
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

const running = new Map<string, readonly string[]>();

/** Commands of this process's servers that nobody has ended yet. */
export const serversLeft = (): string[] => [...running.values()].map((command) => command.join(" "));

/** Starts `command` in `folder`. The caller waits until it answers. */
export const startGuarded = (options: {
  readonly folder: string;
  readonly command: readonly string[];
  /** Sent where the data need not outlive the server (KILL); where they must, it is sent TERM. */
  readonly stopSignal?: "KILL" | "QUIT";
}): GuardedProcess => {
  const { folder, command, stopSignal = "KILL" } = options;
  const child = spawn("bash", ["-c", guard, "guard", folder, stopSignal, ...command], {
    cwd: folder,
    detached: true,
    stdio: ["pipe", "pipe", "ignore"],
  });
  let alive = true;
  running.set(folder, command);
  const ended = new Promise<void>((resolve) => {
    const finish = (): void => {
      alive = false;
      running.delete(folder);
      resolve();
    };
    child.once("exit", finish);
    child.once("error", finish);
  });
  child.stdout.on("data", () => (alive = false));
  child.stdin.on("error", () => undefined); // The guard may be gone before it is told to go.
  // A forgotten server must not keep the test process alive: when that ends, so does the server.
  child.unref();
  for (const stream of [child.stdin, child.stdout]) (stream as Partial<Socket>).unref?.();
  return {
    get running() {
      return alive;
    },
    output: () => readFile(join(folder, "output.log"), "utf8").catch(() => ""),
    end: async ({ keepFolder = false } = {}) => {
      child.ref();
      child.stdin.end(keepFolder ? "keep\n" : "");
      await ended;
    },
  };
};
