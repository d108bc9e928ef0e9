/** The daemon itself, as a child process, spoken to over HTTP only. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Dovecot } from "./dovecot.ts";
import { eventually } from "./eventually.ts";
import { compiledFolder } from "./run-folder.ts";

const sourceEntry = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
const builtEntry = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
/** As in the start script of package.json: freed octets go back to the system, and the heap stays small. */
const builtEnv = { MALLOC_ARENA_MAX: "2", MALLOC_MMAP_THRESHOLD_: "131072", MALLOC_TRIM_THRESHOLD_: "131072" };
const builtArguments = ["--max-semi-space-size=8", "--heap-growing-percent=40", "--enable-source-maps", builtEntry];
export const testAdminKey = "sbx_admin_for_tests_only_0123456789";
export const testSecretKey = Buffer.alloc(32, 7).toString("base64");

export interface Answer<Body = Record<string, unknown>> {
  readonly status: number;
  readonly body: Body;
  readonly headers: Headers;
}

export interface Daemon extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  readonly running: boolean;
  /** Every line logged so far, parsed; lines that are not JSON as `{ text }`. */
  readonly lines: readonly Record<string, unknown>[];
  call<Body = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Answer<Body>>;
  /** Resident memory of the daemon's own process, in bytes. */
  rss(): Promise<number>;
  kill(signal: NodeJS.Signals): void;
  /** Resolves with the exit code or signal. */
  readonly exited: Promise<number | NodeJS.Signals | null>;
  /** Stops politely; harmless when repeated. */
  stop(): Promise<void>;
}

export interface DaemonOptions {
  /** Over the defaults for tests: any free port, private hosts and cleartext allowed, fixed keys. */
  readonly env?: Readonly<Record<string, string>>;
  /** What `npm run build` made, as users run it, in place of the source. */
  readonly built?: boolean;
  /** Do not wait until it listens (it is expected to die before). */
  readonly dying?: boolean;
}

const parseLine = (line: string): Record<string, unknown> => {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return { text: line };
  }
};

const gather = (child: ChildProcess, lines: Record<string, unknown>[]): void => {
  for (const stream of [child.stdout, child.stderr]) {
    let rest = "";
    stream?.setEncoding("utf8").on("data", (text: string) => {
      const parts = (rest + text).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) if (part !== "") lines.push(parseLine(part));
    });
  }
};

export const startDaemon = async (options: DaemonOptions = {}): Promise<Daemon> => {
  const { PATH = "", HOME = "", TMPDIR } = process.env;
  const child = spawn(process.execPath, options.built === true ? builtArguments : [sourceEntry], {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      PATH,
      HOME,
      ...(TMPDIR !== undefined && { TMPDIR }),
      PORT: "0",
      LOG_LEVEL: "info",
      SAMEBOX_ADMIN_KEY: testAdminKey,
      SAMEBOX_SECRET_KEY: testSecretKey,
      SAMEBOX_ALLOW_PRIVATE_HOSTS: "true",
      SAMEBOX_ALLOW_CLEARTEXT: "true",
      ...(options.built === true ? builtEnv : { NODE_COMPILE_CACHE: compiledFolder() }),
      ...options.env,
    },
  });
  const lines: Record<string, unknown>[] = [];
  gather(child, lines);
  let running = true;
  let ending = "";
  const exited = once(child, "exit").then(([code, signal]) => {
    running = false;
    ending = String(code ?? signal);
    return (code ?? signal) as number | NodeJS.Signals | null;
  });
  const endWithUs = (): void => void child.kill("SIGKILL");
  process.once("exit", endWithUs);
  const stop = async (): Promise<void> => {
    process.off("exit", endWithUs);
    if (running) child.kill("SIGTERM");
    await exited;
  };
  let url = "";
  const daemon: Daemon = {
    get url() {
      return url;
    },
    get running() {
      return running;
    },
    pid: child.pid ?? 0,
    lines,
    exited,
    stop,
    [Symbol.asyncDispose]: stop,
    kill: (signal) => void child.kill(signal),
    rss: async () => {
      const status = await readFile(`/proc/${child.pid}/status`, "utf8");
      return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
    },
    call: async <Body>(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
      const response = await fetch(url + path, {
        method,
        headers: {
          authorization: `Bearer ${testAdminKey}`,
          ...(body !== undefined && { "content-type": "application/json" }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      }).catch((cause: unknown) => {
        if (running) throw cause;
        throw new Error(`the daemon ended with ${ending}: ${JSON.stringify(lines.slice(-5))}`, { cause });
      });
      const text = await response.text();
      const isJson = response.headers.get("content-type")?.includes("json") === true;
      return { status: response.status, headers: response.headers, body: (isJson ? JSON.parse(text) : { text }) as Body };
    },
  };
  if (options.dying === true) return daemon;
  try {
    url = await eventually(
      "the daemon listens",
      () => (running ? (lines.find((line) => line["msg"] === "api listening")?.["url"] as string | undefined) : ""),
      { timeoutMs: 60_000, everyMs: 10 },
    );
    if (url === "") throw new Error(`the daemon ended: ${JSON.stringify(lines.slice(-5))}`);
  } catch (error) {
    await stop();
    throw error;
  }
  return daemon;
};

/** The body of `POST /v1/accounts` for an account of a private Dovecot. */
export const dovecotAccount = (server: Dovecot, n: number, rest: Record<string, unknown> = {}) => ({
  name: `User ${n}`,
  email: `user${n}@example.test`,
  endpoints: [
    {
      protocol: "imap",
      host: server.host,
      port: server.imapPort,
      security: "none",
      auth: { type: "password", ...server.account(n) },
      ...rest,
    },
  ],
});

interface Status {
  readonly syncState: string;
  readonly progress: { readonly done: number; readonly total: number };
}

/** Creates the account and waits until it is live. @returns its id. */
export const liveAccount = async (daemon: Daemon, body: unknown, timeoutMs = 60_000): Promise<string> => {
  const created = await daemon.call<{ id: string }>("POST", "/v1/accounts", body);
  if (created.status !== 201) throw new Error(`account not created: ${JSON.stringify(created.body)}`);
  await waitLive(daemon, created.body.id, timeoutMs);
  return created.body.id;
};

export const waitLive = (daemon: Daemon, accountId: string, timeoutMs = 60_000): Promise<Status> =>
  eventually(
    "the account is live",
    async () => {
      const { body } = await daemon.call<Status>("GET", `/v1/accounts/${accountId}/status`);
      if (body.syncState !== "live") throw new Error(JSON.stringify(body));
      return body;
    },
    { timeoutMs, everyMs: 50 },
  );
