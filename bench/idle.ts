/**
 * bench:idle – memory and CPU of the daemon for accounts where nothing happens, over TLS as in production, beside what
 * bare TLS sockets to the same server cost in the same run.
 * --accounts N, --settle N (seconds until the CPU is watched: looks at a quiet account grow rarer), --seconds N (for how long).
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { connect } from "node:tls";
import { type Daemon, dovecotAccount, startDaemon } from "../test/support/daemon.ts";
import { startDovecot } from "../test/support/dovecot.ts";
import { eventually } from "../test/support/eventually.ts";
import { fill } from "./mail.ts";
import { option, progress, report } from "./report.ts";

const accounts = option("accounts", 1_000);
const settle = option("settle", 90);
const seconds = option("seconds", 120);

const metric = async (daemon: Daemon, pattern: RegExp): Promise<number> => {
  const { body } = await daemon.call<{ text: string }>("GET", "/metrics");
  return Number(pattern.exec(body.text)?.[1] ?? 0);
};

/** Lowest resident memory of a few looks: the collector runs when it likes. */
const settledRss = async (daemon: Daemon): Promise<number> => {
  let lowest = Number.POSITIVE_INFINITY;
  for (let look = 0; look < 10; look += 1) {
    lowest = Math.min(lowest, await daemon.rss());
    await wait(1_000);
  }
  return lowest;
};

const bareSockets = async (port: number, caPem: string): Promise<number> => {
  const before = process.memoryUsage.rss();
  const sockets = await Promise.all(
    Array.from({ length: Math.min(accounts, 200) }, async () => {
      const socket = connect({ host: "127.0.0.1", port, ca: caPem, servername: "localhost" });
      await new Promise((resolve, reject) => socket.once("secureConnect", resolve).once("error", reject));
      return socket;
    }),
  );
  const each = (process.memoryUsage.rss() - before) / sockets.length;
  for (const socket of sockets) socket.destroy();
  return each;
};

await using server = await startDovecot({ users: accounts });
progress(`three messages for each of ${accounts} accounts`);
for (let n = 1; n <= accounts; n += 1) await fill(server, n, { count: 3, mailboxes: 1, meanBytes: 2_000 });
const dataDir = await mkdtemp(join(tmpdir(), "samebox-bench-"));
try {
  await using daemon = await startDaemon({ built: true, env: { SAMEBOX_DATA_DIR: dataDir } });
  const account = (n: number) =>
    dovecotAccount(server, n, {
      host: "localhost",
      port: server.imapsPort,
      security: "tls",
      tls: { caPem: server.caPem, rejectUnauthorized: true },
    });
  const create = async (n: number): Promise<void> => {
    const { status, body } = await daemon.call("POST", "/v1/accounts", account(n));
    if (status !== 201) throw new Error(JSON.stringify(body));
  };
  const live = (count: number) =>
    eventually(
      `${count} accounts are live`,
      async () => (await metric(daemon, /^samebox_accounts\{state="live"\} (\d+)$/m)) >= count,
      { timeoutMs: 600_000, everyMs: 500 },
    );
  // The first few make the code hot and the pools full: they belong to the base.
  const base = Math.min(20, Math.floor(accounts / 10));
  for (let n = 1; n <= base; n += 1) await create(n);
  await live(base);
  const before = await settledRss(daemon);
  for (let n = base + 1; n <= accounts; n += 1) await create(n);
  await live(accounts);
  progress(`all ${accounts} live`);
  await wait(settle * 1_000);
  const after = await settledRss(daemon);
  const cpu = () => metric(daemon, /^process_cpu_seconds_total ([\d.e+-]+)$/m);
  const cpuBefore = await cpu();
  await wait(seconds * 1_000);
  const share = ((await cpu()) - cpuBefore) / seconds;
  const each = (after - before) / (accounts - base);
  const bare = await bareSockets(server.imapsPort, server.caPem);
  report(
    "idle",
    {
      accounts,
      baseMb: before / 1e6,
      totalMb: after / 1e6,
      kbEach: each / 1024,
      bareTlsKbEach: bare / 1024,
      ratioBare: each / bare,
      cpuPercent: share * 100,
    },
    `${accounts} idle accounts: ${(each / 1024).toFixed(0)} KB each beyond the base of ${(before / 1e6).toFixed(0)} MB (a bare TLS socket: ${(bare / 1024).toFixed(0)} KB), ${(share * 100).toFixed(1)} % of a core`,
  );
} finally {
  await rm(dataDir, { recursive: true, force: true });
}
