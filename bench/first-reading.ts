/** What the benchmarks of a first reading share: a daemon that has been at work before, and the wait until all is read. */
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Daemon, startDaemon, testAdminKey } from "../test/support/daemon.ts";
import { type ProcessorSeconds, processorSeconds, usedSince } from "./processor-time.ts";

const everyMs = 50;
const patienceMs = 900_000;

export interface AccountStatus {
  readonly syncState: string;
  readonly progress: { readonly done: number; readonly total: number };
  readonly endpoints: readonly { readonly protocol: string; readonly syncState: string }[];
}

interface Page {
  readonly items: readonly { readonly id: string; readonly parseStatus: string }[];
  readonly nextCursor: string | null;
}

/** @returns the path of the new account. */
export const createAccount = async (daemon: Daemon, account: unknown): Promise<string> => {
  const { status, body } = await daemon.call<{ id: string }>("POST", "/v1/accounts", account);
  if (status !== 201) throw new Error(`account not created: ${JSON.stringify(body)}`);
  return `/v1/accounts/${body.id}`;
};

/** Until the API says what is waited for. @returns the most memory the daemon held meanwhile, in bytes. */
export const untilStatus = async (daemon: Daemon, path: string, holds: (status: AccountStatus) => boolean): Promise<number> => {
  const began = performance.now();
  let peakRss = 0;
  for (;;) {
    const { body } = await daemon.call<AccountStatus>("GET", `${path}/status`);
    peakRss = Math.max(peakRss, await daemon.rss());
    if (holds(body)) return peakRss;
    if (performance.now() - began > patienceMs) throw new Error(`still: ${JSON.stringify(body)}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
};

/** Until so many messages are read. @returns the most memory the daemon held meanwhile, in bytes. */
export const untilLive = (daemon: Daemon, path: string, messages: number): Promise<number> =>
  untilStatus(daemon, path, ({ syncState, progress }) => syncState === "live" && progress.done >= messages);

/** Until nothing of the account waits to be parsed. */
export const untilParsed = async (daemon: Daemon, path: string): Promise<void> => {
  let cursor: string | null = "";
  while (cursor !== null) {
    const { body }: { body: Page } = await daemon.call<Page>(
      "GET",
      `${path}/messages?limit=200${cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`}`,
    );
    if (body.items.every(({ parseStatus }) => parseStatus !== "pending")) cursor = body.nextCursor;
    else await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
};

/** Reads some messages back. @throws Error where one is not what the server holds. */
const readBack = async (daemon: Daemon, path: string, hashes: ReadonlySet<string>): Promise<void> => {
  const { body } = await daemon.call<Page>("GET", `${path}/messages?limit=20`);
  for (const { id } of body.items) {
    const raw = await fetch(`${daemon.url}${path}/messages/${id}/raw`, { headers: { authorization: `Bearer ${testAdminKey}` } });
    const hash = createHash("sha256")
      .update(Buffer.from(await raw.arrayBuffer()))
      .digest("hex");
    if (!hashes.has(hash)) throw new Error(`message ${id} is not what the server holds`);
  }
};

/** A daemon and a database of its own, so that nothing of an earlier round is still being parsed or removed. */
export const withFreshDaemon = async <T>(work: (daemon: Daemon) => Promise<T>): Promise<T> => {
  const dataDir = await mkdtemp(join(tmpdir(), "samebox-bench-"));
  try {
    await using daemon = await startDaemon({ built: true, env: { SAMEBOX_DATA_DIR: dataDir } });
    return await work(daemon);
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
};

export interface FirstReading {
  readonly account: unknown;
  readonly messages: number;
  /** SHA-256 of all that the server holds, in hex. */
  readonly hashes: ReadonlySet<string>;
  /** Read and parsed before the clock starts, so that the daemon is one that has been at work; null: it has just been started. */
  readonly warm: { readonly account: unknown; readonly messages: number } | null;
}

export interface FirstReadingRun {
  readonly seconds: number;
  readonly peakRss: number;
  /** Processor time meanwhile of all parts that had a share in it. */
  readonly used: ProcessorSeconds;
}

/** Creates the account and waits until the API says that all is read; then reads some of it back. */
export const readFirst = ({ account, messages, hashes, warm }: FirstReading): Promise<FirstReadingRun> =>
  withFreshDaemon(async (daemon) => {
    if (warm !== null) {
      const path = await createAccount(daemon, warm.account);
      await untilLive(daemon, path, warm.messages);
      await untilParsed(daemon, path);
    }
    const before = await processorSeconds();
    const began = performance.now();
    const path = await createAccount(daemon, account);
    const peakRss = await untilLive(daemon, path, messages);
    const seconds = (performance.now() - began) / 1000;
    const used = usedSince(before, await processorSeconds());
    await readBack(daemon, path, hashes);
    return { seconds, peakRss, used };
  });
