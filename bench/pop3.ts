/**
 * bench:pop3 – 20,000 messages over POP3 until every one is durable and readable over the API, in turn and in one run against
 * a pipelining client that throws everything away, that client piped straight into one bare table of PostgreSQL, the same into
 * the daemon's own tables with nothing decided (what its rows alone cost), mpop and fetchmail (when installed); the same against mpop with a delay each way; and what it costs to match a maildrop of as many
 * messages with the same mail that was read over IMAP.
 * --messages N, --mean BYTES, --rounds N, --delay MS (each way), --delayed-rounds N, --warm N (read by the daemon before the
 * clock starts), --matching N (messages; 0 leaves it out).
 */
import { type Daemon, dovecotAccount } from "../test/support/daemon.ts";
import { type Dovecot, startDovecot } from "../test/support/dovecot.ts";
import { startFaultProxy } from "../test/support/fault-proxy.ts";
import { mailOf, pop3Account, pop3Endpoint } from "../test/support/pop3-account.ts";
import { fetchAndStore } from "./bare-store.ts";
import {
  createAccount,
  type FirstReading,
  readFirst,
  untilLive,
  untilParsed,
  untilStatus,
  withFreshDaemon,
} from "./first-reading.ts";
import { fill } from "./mail.ts";
import { has, peers, runPeer } from "./peers.ts";
import { leastSeconds, type ProcessorSeconds } from "./processor-time.ts";
import type { RawRun, Target } from "./raw-imap.ts";
import { fetchRawPop3 } from "./raw-pop3.ts";
import { fetchIntoRows } from "./row-store.ts";
import { median, option, progress, report } from "./report.ts";

const count = option("messages", 20_000);
const meanBytes = option("mean", 8_000);
const rounds = option("rounds", 3);
const delayMs = option("delay", 25);
const delayedRounds = option("delayed-rounds", 2);
const warmCount = option("warm", 2_000);
const matchingCount = option("matching", count);

/** Seconds of each way to fetch, by round. */
type Figures = Record<"samebox" | "raw" | "bare" | "rows" | "mpop" | "fetchmail", number[]>;

const noFigures = (): Figures => ({ samebox: [], raw: [], bare: [], rows: [], mpop: [], fetchmail: [] });

/** Median of the ratios of each round; null where the other was not run. */
const ratio = ({ samebox, ...others }: Figures, to: Exclude<keyof Figures, "samebox">): number | null =>
  others[to].length === 0 ? null : median(samebox.map((seconds, at) => seconds / (others[to][at] ?? Number.NaN)));

const times = (value: number | null, than: string): string =>
  value === null ? `${than} was not run` : `${value.toFixed(2)} x ${than}`;

const complete = (run: RawRun): number => {
  if (run.messages !== count) throw new Error(`the raw client saw ${run.messages} messages`);
  return run.seconds;
};

const installed = { mpop: await has("mpop"), fetchmail: await has("fetchmail") };
const missing = Object.entries(installed).flatMap(([program, there]) => (there ? [] : [program]));
if (missing.length > 0) progress(`not installed, so not compared with: ${missing.join(", ")} (Debian packages of these names)`);

// Marks would cost the peers a renaming of each file at their first run.
await using server = await startDovecot({ users: 3, pop3: { noFlagUpdates: true } });
progress(`delivering ${count} messages`);
if (warmCount > 0) await fill(server, 2, { count: warmCount, mailboxes: 1, meanBytes });
const { bytes, hashes } = await fill(server, 1, { count, mailboxes: 1, meanBytes });
const local: Target = { host: server.host, port: server.pop3Port, ...server.account(1) };
let peakRss = 0;
/** Of each of our runs. */
const processorTime: ProcessorSeconds[] = [];

const accountAt = ({ port }: Target) => ({ ...pop3Account(server, 1), endpoints: [pop3Endpoint(server, 1, { port })] });

const runSamebox = async (target: Target): Promise<number> => {
  const warm = warmCount > 0 ? { account: pop3Account(server, 2), messages: warmCount } : null;
  const reading: FirstReading = { account: accountAt(target), messages: count, hashes, warm };
  const run = await readFirst(reading);
  peakRss = Math.max(peakRss, run.peakRss);
  processorTime.push(run.used);
  return run.seconds;
};

const say = (title: string, figures: Figures): void => {
  const parts = Object.entries(figures).flatMap(([name, list]) => {
    const last = list.at(-1);
    return last === undefined ? [] : [`${name} ${last.toFixed(2)} s`];
  });
  progress(`${title}: ${parts.join(", ")}`);
};

const runLocal = async (): Promise<Figures> => {
  const figures = noFigures();
  for (let round = 1; round <= rounds; round += 1) {
    figures.raw.push(complete(await fetchRawPop3(local, null)));
    figures.bare.push(complete(await fetchAndStore((take) => fetchRawPop3(local, take))));
    figures.rows.push(complete(await fetchIntoRows((take) => fetchRawPop3(local, take))));
    if (installed.mpop) figures.mpop.push(await runPeer(peers.mpop, local, count));
    if (installed.fetchmail) figures.fetchmail.push(await runPeer(peers.fetchmail, local, count));
    figures.samebox.push(await runSamebox(local));
    say(`round ${round}`, figures);
  }
  return figures;
};

/** Without fetchmail, which waits for each answer: that is a round trip for each message. */
const runDelayed = async (): Promise<Figures> => {
  const line = { latencyMs: delayMs };
  await using proxy = await startFaultProxy({ port: server.pop3Port, faults: { toServer: line, toClient: line } });
  const target = { ...local, port: proxy.port };
  const figures = noFigures();
  for (let round = 1; round <= delayedRounds; round += 1) {
    figures.raw.push(complete(await fetchRawPop3(target, null)));
    if (installed.mpop) figures.mpop.push(await runPeer(peers.mpop, target, count));
    figures.samebox.push(await runSamebox(target));
    say(`round ${round}, ${delayMs} ms each way`, figures);
  }
  return figures;
};

interface Matching {
  readonly messages: number;
  readonly seconds: number;
  /** Both ways, over POP3. */
  readonly octets: number;
  /** Header blocks that were read. */
  readonly heads: number;
  /** Read over POP3 beyond header blocks. */
  readonly bodyOctets: number;
  /** Of what is in either view. */
  readonly wrong: number;
}

/** `CRLF . CRLF`, which Dovecot counts among the octets of an answer. */
const answerEnd = 5;

/** Header blocks and octets that Dovecot gave out in sessions of a user, by TOP and by RETR. */
const servedTo = async (from: Dovecot, user: string): Promise<{ readonly tops: number; readonly octets: number }> => {
  const sums = { tops: 0, octets: 0 };
  for (const line of (await from.log()).split("\n")) {
    const [, tops, byTop, byRetr] = /top=(\d+)\/(\d+), retr=\d+\/(\d+)/.exec(line) ?? [];
    if (!line.includes(`pop3(${user})`)) continue;
    sums.tops += Number(tops ?? 0);
    sums.octets += Number(byTop ?? 0) + Number(byRetr ?? 0);
  }
  return sums;
};

/**
 * Placements that are not shown by both views as one: this server prints the UID into the unique-id, which tells what belongs
 * together.
 */
const mismatched = async (daemon: Daemon, accountId: string): Promise<number> => {
  const placements = (await mailOf(daemon, accountId)).flatMap((mail) => mail.placements);
  const matched = placements.filter(({ bindings }) => {
    const uid = bindings.find(({ protocol }) => protocol === "imap")?.uid;
    const uidl = bindings.find(({ protocol }) => protocol === "pop3")?.uidl;
    return uidl !== undefined && Number.parseInt(uidl.slice(0, 8), 16) === uid;
  });
  return Math.max(placements.length, matchingCount) - matched.length;
};

/** Reads an account over IMAP, then gives it its maildrop, and waits until that is matched. */
const runMatching = (): Promise<Matching> =>
  withFreshDaemon(async (daemon) => {
    const { headBytes } = await fill(server, 3, { count: matchingCount, mailboxes: 1, meanBytes });
    const path = await createAccount(daemon, dovecotAccount(server, 3));
    await untilLive(daemon, path, matchingCount);
    await untilParsed(daemon, path);
    await using proxy = await startFaultProxy({ port: server.pop3Port });
    const began = performance.now();
    const { status, body } = await daemon.call("PATCH", path, { endpoints: [pop3Endpoint(server, 3, { port: proxy.port })] });
    if (status !== 200) throw new Error(JSON.stringify(body));
    await untilStatus(daemon, path, ({ endpoints }) =>
      endpoints.some(({ protocol, syncState }) => protocol === "pop3" && syncState === "live"),
    );
    const seconds = (performance.now() - began) / 1000;
    const octets = proxy.connections.reduce((sum, { bytesToServer, bytesToClient }) => sum + bytesToServer + bytesToClient, 0);
    const served = await servedTo(server, server.account(3).user);
    const bodyOctets = Math.max(0, served.octets - headBytes - served.tops * answerEnd);
    const wrong = await mismatched(daemon, path.slice("/v1/accounts/".length));
    return { messages: matchingCount, seconds, octets, heads: served.tops, bodyOctets, wrong };
  });

const near = await runLocal();
const nearTimes = processorTime.splice(0);
/** No run that needs so much processor time can be faster here, however well its parts overlap. */
const least = median(nearTimes.map(leastSeconds));
const far = await runDelayed();
const matching = matchingCount > 0 ? await runMatching() : null;
const seconds = median(near.samebox);
report(
  "pop3",
  {
    messages: count,
    megabytes: bytes / 1e6,
    seconds: near,
    ratioRaw: ratio(near, "raw"),
    ratioBare: ratio(near, "bare"),
    ratioRows: ratio(near, "rows"),
    processorSeconds: nearTimes,
    leastSeconds: least,
    ratioMpop: ratio(near, "mpop"),
    ratioFetchmail: ratio(near, "fetchmail"),
    delayMs,
    delayedSeconds: far,
    delayedRatioRaw: ratio(far, "raw"),
    delayedRatioMpop: ratio(far, "mpop"),
    matching,
    peakRssMb: peakRss / 1e6,
  },
  [
    `${count} messages (${(bytes / 1e6).toFixed(0)} MB) durable in ${seconds.toFixed(2)} s, ${Math.round(count / seconds)}/s: ` +
      [
        times(ratio(near, "raw"), "fetch-and-discard"),
        times(ratio(near, "bare"), "the octets alone into PostgreSQL"),
        times(ratio(near, "rows"), "the same octets into the daemon's tables, with nothing decided"),
        times(ratio(near, "mpop"), "mpop"),
        times(ratio(near, "fetchmail"), "fetchmail"),
      ].join(", "),
    `its processor time alone takes ${least.toFixed(2)} s on all cores of this machine`,
    `${delayMs} ms each way: ${median(far.samebox).toFixed(2)} s, ${times(ratio(far, "raw"), "fetch-and-discard")}, ${times(ratio(far, "mpop"), "mpop")}`,
    ...(matching === null
      ? []
      : [
          `${matching.messages} messages matched with IMAP in ${matching.seconds.toFixed(2)} s by ${matching.heads} header blocks, ` +
            `${(matching.octets / 1e6).toFixed(1)} MB on the wire, ${matching.bodyOctets} octets of bodies, ${matching.wrong} mismatched`,
        ]),
    `peak memory ${(peakRss / 1e6).toFixed(0)} MB`,
  ].join("; "),
);
