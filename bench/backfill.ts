/**
 * bench:backfill – 20,000 messages from a local Dovecot until every one is durable and readable over the API, against
 * mbsync to Maildir (when installed), against a client that throws everything away, and against that client piped straight
 * into one bare table of PostgreSQL (what durability alone costs), in turn and in one run.
 * --messages N, --rounds N, --mean BYTES, --delay MS (added each way), --warm N (read by the daemon before the clock starts).
 */
import { dovecotAccount } from "../test/support/daemon.ts";
import { startDovecot } from "../test/support/dovecot.ts";
import { startFaultProxy } from "../test/support/fault-proxy.ts";
import { fetchAndStore } from "./bare-store.ts";
import { readFirst } from "./first-reading.ts";
import { fill } from "./mail.ts";
import { has, peers, runPeer } from "./peers.ts";
import { fetchRaw, type RawRun, type Target } from "./raw-imap.ts";
import { median, option, progress, report } from "./report.ts";

const count = option("messages", 20_000);
const rounds = option("rounds", 3);
const meanBytes = option("mean", 8_000);
const delayMs = option("delay", 0);
/** Messages read before the clock starts; 0 measures a daemon that has just been started. */
const warmCount = option("warm", 2_000);

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

const { host, port } = target;
const account = dovecotAccount(server, 1, { host, port });
const warm = warmCount > 0 ? { account: dovecotAccount(server, 2), messages: warmCount } : null;

/** Seconds of a run that saw every message. */
const complete = (run: RawRun): number => {
  if (run.messages !== count) throw new Error(`the raw client saw ${run.messages} messages`);
  return run.seconds;
};

const mbsync = await has("mbsync");
for (let round = 1; round <= rounds; round += 1) {
  figures.raw.push(complete(await fetchRaw(target, null)));
  figures.bare.push(complete(await fetchAndStore((take) => fetchRaw(target, take))));
  if (mbsync) figures.mbsync.push(await runPeer(peers.mbsync, target, count));
  const mine = await readFirst({ account, messages: count, hashes, warm });
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
