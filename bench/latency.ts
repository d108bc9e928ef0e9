/**
 * bench:latency – how much later than a raw IDLE client an SSE client hears of a flag change or of new mail in INBOX.
 * Both watch the same Dovecot in the same run, so the server's own delay (about 500 ms) cancels out.
 * --events N, --messages N (size of INBOX), REDIS_URL for queues on Redis.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dovecotAccount, liveAccount, startDaemon } from "../test/support/daemon.ts";
import { startDovecot } from "../test/support/dovecot.ts";
import { openEvents } from "../test/support/event-stream.ts";
import { benchMessage, fill, seeded } from "./mail.ts";
import { option, progress, quantile, report } from "./report.ts";

const events = option("events", 40);
const messages = option("messages", 1_000);

await using server = await startDovecot({ users: 1 });
await fill(server, 1, { count: messages, mailboxes: 1, meanBytes: 4_000 });
const dataDir = await mkdtemp(join(tmpdir(), "samebox-bench-"));
const late: { flags: number[]; mail: number[] } = { flags: [], mail: [] };
try {
  const redis = process.env["REDIS_URL"];
  await using daemon = await startDaemon({
    built: true,
    env: { SAMEBOX_DATA_DIR: dataDir, ...(redis !== undefined && { REDIS_URL: redis }) },
  });
  const accountId = await liveAccount(daemon, dovecotAccount(server, 1));
  await using device = await server.device(1);
  await using watcher = await server.device(1);
  await using stream = await openEvents(daemon, accountId);
  await device.select("INBOX");
  await watcher.select("INBOX");
  const random = seeded(7);
  for (let n = 0; n < events; n += 1) {
    const isFlag = n % 2 === 0;
    const idle = await watcher.idle();
    const raw = idle.next(isFlag ? /FETCH/ : /EXISTS/).then(() => performance.now());
    const heard = stream
      .next((event) => event.event === (isFlag ? "message.keywords" : "message.created"))
      .then(() => performance.now());
    if (isFlag) await device.store(1, n % 4 === 0 ? "+" : "-", ["\\Flagged"]);
    else await device.append("INBOX", benchMessage(1_000_000 + n, random, 4_000));
    const [rawAt, heardAt] = await Promise.all([raw, heard]);
    await idle.done();
    // The first of each kind warms up.
    if (n >= 4) late[isFlag ? "flags" : "mail"].push(heardAt - rawAt);
    progress(`${isFlag ? "flags" : "mail "} ${(heardAt - rawAt).toFixed(1)} ms after the raw client`);
  }
} finally {
  await rm(dataDir, { recursive: true, force: true });
}
const all = [...late.flags, ...late.mail];
const figures = (values: readonly number[]) => ({
  p50: quantile(values, 0.5),
  p95: quantile(values, 0.95),
  max: quantile(values, 1),
});
report(
  "latency",
  {
    events: all.length,
    messages,
    queue: process.env["REDIS_URL"] === undefined ? "postgresql" : "redis",
    ms: figures(all),
    flags: figures(late.flags),
    mail: figures(late.mail),
  },
  `an SSE client hears ${quantile(all, 0.5).toFixed(1)} ms (p50) and ${quantile(all, 0.95).toFixed(1)} ms (p95) after a raw IDLE client`,
);
