/**
 * bench:backfill – 20,000 messages from a local Dovecot until every one is durable and readable over the API, against
 * mbsync to Maildir (when installed), against a client that throws everything away, and against that client piped straight
 * into one bare table of PostgreSQL (what durability alone costs), in turn and in one run.
 * --messages N, --rounds N, --mean BYTES, --delay MS (added each way), --warm N (read by the daemon before the clock starts).
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Daemon, dovecotAccount, startDaemon } from "../test/support/daemon.ts";
import { type Dovecot, startDovecot } from "../test/support/dovecot.ts";
import { startFaultProxy } from "../test/support/fault-proxy.ts";
import { fetchAndStore } from "./bare-store.ts";
import { fill } from "./mail.ts";
import { fetchRaw, type RawRun, type Target } from "./raw-imap.ts";
import { median, option, progress, report } from "./report.ts";

const count = option("messages", 20_000);
const rounds = option("rounds", 3);
const meanBytes = option("mean", 8_000);
const delayMs = option("delay", 0);
/** Messages read before the clock starts; 0 measures a daemon that has just been started. */
const warmCount = option("warm", 2_000);

const has = async (program: string): Promise<boolean> => {
  const child = spawn("which", [program], { stdio: "ignore" });
  const [code] = (await once(child, "exit")) as [number | null];
  return code === 0;
};

/** mbsync into a fresh Maildir; on /dev/shm where there is one, which is its best case. */
const runMbsync = async (target: Target, base: string): Promise<number> => {
  const folder = await mkdtemp(join(base, "samebox-mbsync-"));
  const config = join(folder, "mbsyncrc");
  await writeFile(
    config,
    `IMAPAccount a\nHost ${target.host}\nPort ${target.port}\nUser ${target.user}\nPass ${target.password}\nSSLType None\nAuthMechs LOGIN\n\n` +
      `IMAPStore far\nAccount a\n\nMaildirStore near\nPath ${folder}/mail/\nInbox ${folder}/mail/INBOX\nSubFolders Verbatim\n\n` +
      `Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Near\nSync Pull\nSyncState *\n`,
  );
  const { mkdir } = await import("node:fs/promises");
  await mkdir(join(folder, "mail"));
  const began = performance.now();
  const child = spawn("mbsync", ["-q", "-c", config, "-a"], { stdio: ["ignore", "ignore", "inherit"] });
  const [code] = (await once(child, "exit")) as [number | null];
  const seconds = (performance.now() - began) / 1000;
  await rm(folder, { recursive: true });
  if (code !== 0) throw new Error(`mbsync ended with ${code}`);
  return seconds;
};

interface Status {
  readonly syncState: string;
  readonly progress: { readonly done: number; readonly total: number };
}

interface Page {
  readonly items: readonly { readonly parseStatus: string }[];
  readonly nextCursor: string | null;
}

/** Until the API says that all is read. @returns the most memory the daemon held meanwhile, in bytes. */
const untilLive = async (daemon: Daemon, path: string, messages: number): Promise<number> => {
  const began = performance.now();
  let peakRss = 0;
  for (;;) {
    const { body } = await daemon.call<Status>("GET", `${path}/status`);
    peakRss = Math.max(peakRss, await daemon.rss());
    if (body.syncState === "live" && body.progress.done >= messages) return peakRss;
    if (performance.now() - began > 600_000) throw new Error(`not live: ${JSON.stringify(body)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

/** Reads a small account first and waits until all of it is parsed: a daemon that has been at work before. */
const warmUp = async (daemon: Daemon, server: Dovecot): Promise<void> => {
  const { body } = await daemon.call<{ id: string }>("POST", "/v1/accounts", dovecotAccount(server, 2));
  const path = `/v1/accounts/${body.id}`;
  await untilLive(daemon, path, warmCount);
  let cursor: string | null = "";
  while (cursor !== null) {
    const { body: page }: { body: Page } = await daemon.call<Page>(
      "GET",
      `${path}/messages?limit=200${cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`}`,
    );
    if (page.items.every(({ parseStatus }) => parseStatus !== "pending")) cursor = page.nextCursor;
    else await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

/** Creates the account and waits until the API says that all is read; then reads some of it back. */
const runSamebox = async (
  daemon: Daemon,
  server: Dovecot,
  target: Target,
  hashes: ReadonlySet<string>,
): Promise<{ seconds: number; peakRss: number }> => {
  const began = performance.now();
  const created = await daemon.call<{ id: string }>(
    "POST",
    "/v1/accounts",
    dovecotAccount(server, 1, { host: target.host, port: target.port }),
  );
  const path = `/v1/accounts/${created.body.id}`;
  const peakRss = await untilLive(daemon, path, count);
  const seconds = (performance.now() - began) / 1000;
  const { body } = await daemon.call<{ items: { id: string }[] }>("GET", `${path}/messages?limit=20`);
  for (const { id } of body.items) {
    const raw = await fetch(`${daemon.url}${path}/messages/${id}/raw`, {
      headers: { authorization: `Bearer ${process.env["KEY"] ?? "sbx_admin_for_tests_only_0123456789"}` },
    });
    const hash = createHash("sha256")
      .update(Buffer.from(await raw.arrayBuffer()))
      .digest("hex");
    if (!hashes.has(hash)) throw new Error(`message ${id} is not what the server holds`);
  }
  return { seconds, peakRss };
};

await using server = await startDovecot({ users: 2 });
progress(`delivering ${count} messages`);
if (warmCount > 0) await fill(server, 2, { count: warmCount, mailboxes: 12, meanBytes });
const { bytes, hashes } = await fill(server, 1, { count, mailboxes: 12, meanBytes });
await using proxy = await startFaultProxy({
  host: server.host,
  port: server.imapPort,
  faults: delayMs > 0 ? { toServer: { latencyMs: delayMs }, toClient: { latencyMs: delayMs } } : {},
});
const target: Target = { host: server.host, port: delayMs > 0 ? proxy.port : server.imapPort, ...server.account(1) };
const figures = { samebox: [] as number[], mbsync: [] as number[], raw: [] as number[], bare: [] as number[] };
let peakRss = 0;

/** A daemon and a database of its own, so that nothing of an earlier round is still being parsed or removed. */
const freshRun = async (): Promise<{ seconds: number; peakRss: number }> => {
  const dataDir = await mkdtemp(join(tmpdir(), "samebox-bench-"));
  try {
    await using daemon = await startDaemon({ built: true, env: { SAMEBOX_DATA_DIR: dataDir } });
    if (warmCount > 0) await warmUp(daemon, server);
    return await runSamebox(daemon, server, target, hashes);
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
};

/** Seconds of a run that saw every message. */
const complete = (run: RawRun): number => {
  if (run.messages !== count) throw new Error(`the raw client saw ${run.messages} messages`);
  return run.seconds;
};

const mbsync = await has("mbsync");
for (let round = 1; round <= rounds; round += 1) {
  figures.raw.push(complete(await fetchRaw(target, null)));
  figures.bare.push(complete(await fetchAndStore(target)));
  if (mbsync) figures.mbsync.push(await runMbsync(target, "/dev/shm"));
  const mine = await freshRun();
  figures.samebox.push(mine.seconds);
  peakRss = Math.max(peakRss, mine.peakRss);
  progress(
    `round ${round}: raw ${figures.raw.at(-1)?.toFixed(2)} s, raw into PostgreSQL ${figures.bare.at(-1)?.toFixed(2)} s, mbsync ${figures.mbsync.at(-1)?.toFixed(2) ?? "-"} s, samebox ${mine.seconds.toFixed(2)} s`,
  );
}
const ratio = (mine: readonly number[], other: readonly number[]): number =>
  median(mine.map((seconds, at) => seconds / (other[at] ?? Number.NaN)));
const against = (other: readonly number[]): number => ratio(figures.samebox, other);
const seconds = median(figures.samebox);
report(
  "backfill",
  {
    messages: count,
    megabytes: bytes / 1e6,
    delayMs,
    seconds: figures,
    ratioMbsync: figures.mbsync.length > 0 ? against(figures.mbsync) : null,
    ratioRaw: against(figures.raw),
    ratioBare: against(figures.bare),
    bareToMbsync: figures.mbsync.length > 0 ? ratio(figures.bare, figures.mbsync) : null,
    peakRssMb: peakRss / 1e6,
  },
  `${count} messages (${(bytes / 1e6).toFixed(0)} MB) durable in ${seconds.toFixed(2)} s, ${Math.round(count / seconds)}/s; ` +
    `${figures.mbsync.length > 0 ? `${against(figures.mbsync).toFixed(2)} x mbsync, ` : "mbsync is not installed, "}${against(figures.raw).toFixed(2)} x fetch-and-discard, ${against(figures.bare).toFixed(2)} x the octets alone into PostgreSQL${figures.mbsync.length > 0 ? ` (themselves ${ratio(figures.bare, figures.mbsync).toFixed(2)} x mbsync)` : ""}; ` +
    `peak memory ${(peakRss / 1e6).toFixed(0)} MB`,
);
