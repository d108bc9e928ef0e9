/**
 * bench:sweep – what a quiet look at a whole account costs on the wire: round trips and octets, with 50 mailboxes, at 1,000
 * and at 100,000 messages, against a client that sends nothing but LIST … RETURN (STATUS …).
 * --small N, --large N, --mailboxes N.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Daemon, dovecotAccount, liveAccount, startDaemon } from "../test/support/daemon.ts";
import { type Dovecot, startDovecot } from "../test/support/dovecot.ts";
import { eventually } from "../test/support/eventually.ts";
import { type FaultProxy, startFaultProxy } from "../test/support/fault-proxy.ts";
import { fill } from "./mail.ts";
import { option, progress, report } from "./report.ts";

const small = option("small", 1_000);
const large = option("large", 100_000);
const mailboxes = option("mailboxes", 50);
const sweeps = 5;

interface Cost {
  readonly turns: number;
  readonly bytes: number;
  readonly cpuMs: number;
  readonly rowsWritten: number;
}

const totals = (proxy: FaultProxy) => {
  let turns = 0;
  let bytes = 0;
  for (const connection of proxy.connections) {
    turns += connection.turns;
    bytes += connection.bytesToServer + connection.bytesToClient;
  }
  return { turns, bytes };
};

const cpuMs = async (daemon: Daemon): Promise<number> => {
  const { body } = await daemon.call<{ text: string }>("GET", "/metrics");
  const seconds = /^process_cpu_seconds_total ([\d.e+-]+)$/m.exec(body.text)?.[1];
  return Number(seconds) * 1000;
};

const sweepsDone = async (daemon: Daemon): Promise<number> => {
  const { body } = await daemon.call<{ text: string }>("GET", "/metrics");
  return Number(/^samebox_sync_runs_total\{trigger="api",result="ok"\} (\d+)$/m.exec(body.text)?.[1] ?? 0);
};

/** The mean cost of sweeps asked for over the API, once the account is quiet. */
const measure = async (server: Dovecot, daemon: Daemon, n: number): Promise<Cost> => {
  await using proxy = await startFaultProxy({ host: server.host, port: server.imapPort });
  const accountId = await liveAccount(daemon, dovecotAccount(server, n, { port: proxy.port }), 300_000);
  const sweep = async (): Promise<void> => {
    const before = await sweepsDone(daemon);
    await daemon.call("POST", `/v1/accounts/${accountId}/sync`);
    await eventually("the sweep is done", async () => (await sweepsDone(daemon)) > before, { everyMs: 10 });
  };
  // The first may still find the last commits of the backfill.
  await sweep();
  await sweep();
  const state = async (): Promise<string> =>
    (await daemon.call<{ state: string }>("GET", `/v1/accounts/${accountId}`)).body.state;
  const [before, stateBefore, cpuBefore] = [totals(proxy), await state(), await cpuMs(daemon)];
  for (let k = 0; k < sweeps; k += 1) await sweep();
  const [after, stateAfter, cpuAfter] = [totals(proxy), await state(), await cpuMs(daemon)];
  await daemon.call("DELETE", `/v1/accounts/${accountId}`);
  return {
    turns: (after.turns - before.turns) / sweeps,
    bytes: (after.bytes - before.bytes) / sweeps,
    cpuMs: (cpuAfter - cpuBefore) / sweeps,
    rowsWritten: stateBefore === stateAfter ? 0 : 1,
  };
};

/** Octets of the one command that a sweep cannot do without. */
const listStatusBytes = async (server: Dovecot, n: number): Promise<number> => {
  await using proxy = await startFaultProxy({ host: server.host, port: server.imapPort });
  const { ImapDevice } = await import("../test/support/imap-device.ts");
  await using device = await ImapDevice.connect({ host: server.host, port: proxy.port, ...server.account(n) });
  const before = totals(proxy).bytes;
  await device.command(`LIST "" "*" RETURN (SUBSCRIBED SPECIAL-USE STATUS (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ))`);
  return totals(proxy).bytes - before;
};

await using server = await startDovecot({ users: 2 });
progress(`delivering ${small} and ${large} messages`);
await fill(server, 1, { count: small, mailboxes, meanBytes: 2_000 });
await fill(server, 2, { count: large, mailboxes, meanBytes: 2_000 });
const dataDir = await mkdtemp(join(tmpdir(), "samebox-bench-"));
try {
  await using daemon = await startDaemon({ built: true, env: { SAMEBOX_DATA_DIR: dataDir } });
  const at = { small: await measure(server, daemon, 1), large: await measure(server, daemon, 2) };
  const raw = { small: await listStatusBytes(server, 1), large: await listStatusBytes(server, 2) };
  report(
    "sweep",
    {
      mailboxes,
      messages: { small, large },
      ...at,
      rawBytes: raw,
      ratioRaw: { small: at.small.bytes / raw.small, large: at.large.bytes / raw.large },
    },
    `${mailboxes} mailboxes: ${at.small.turns} round trip(s) and ${at.small.bytes} octets at ${small} messages, ${at.large.turns} and ${at.large.bytes} at ${large}; ` +
      `${(at.large.bytes / raw.large).toFixed(2)} x the bare LIST-STATUS`,
  );
} finally {
  await rm(dataDir, { recursive: true, force: true });
}
