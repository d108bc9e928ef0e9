/**
 * bench:epoch – the server numbers a mailbox of 100,000 messages anew: how long until every message is bound to its new number,
 * under the id it had, and that no body was read for it; in one run against a client that fetches the same header blocks and
 * throws them away.
 * --messages N, --mean BYTES, --rounds N (of new numbers).
 */
import { type Daemon, dovecotAccount } from "../test/support/daemon.ts";
import { startDovecot } from "../test/support/dovecot.ts";
import { createAccount, untilLive, untilParsed, untilStatus, withFreshDaemon } from "./first-reading.ts";
import { fill } from "./mail.ts";
import { fetchRaw, headerBlock } from "./raw-imap.ts";
import { median, option, progress, report } from "./report.ts";

const count = option("messages", 100_000);
const meanBytes = option("mean", 4_000);
const rounds = option("rounds", 2);

interface Placed {
  readonly id: string;
  readonly placements: readonly { readonly id: string; readonly bindings: readonly { readonly uidValidity: number }[] }[];
}

interface Page<T> {
  readonly items: readonly T[];
  readonly nextCursor: string | null;
}

interface Changes {
  readonly items: readonly { readonly kind: string }[];
  readonly newState: string;
  readonly hasMore: boolean;
}

/** Epoch by message and placement, as the API tells. */
const readIds = async (daemon: Daemon, path: string): Promise<Map<string, number>> => {
  const ids = new Map<string, number>();
  for (let cursor: string | null = ""; cursor !== null;) {
    const query: string = `limit=500${cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`}`;
    const { body }: { body: Page<Placed> } = await daemon.call<Page<Placed>>("GET", `${path}/messages?${query}`);
    for (const message of body.items)
      for (const { id, bindings } of message.placements) ids.set(`${message.id} ${id}`, bindings[0]?.uidValidity ?? 0);
    cursor = body.nextCursor;
  }
  return ids;
};

const stateOf = async (daemon: Daemon, path: string): Promise<string> =>
  (await daemon.call<{ state: string }>("GET", `${path}/status`)).body.state;

const kindsSince = async (daemon: Daemon, path: string, state: string): Promise<Record<string, number>> => {
  const kinds: Record<string, number> = {};
  for (let since = state, more = true; more;) {
    const { body } = await daemon.call<Changes>("GET", `${path}/changes?limit=500&since=${since}`);
    for (const { kind } of body.items) kinds[kind] = (kinds[kind] ?? 0) + 1;
    since = body.newState;
    more = body.hasMore;
  }
  return kinds;
};

await using server = await startDovecot({ users: 1 });
progress(`delivering ${count} messages`);
await fill(server, 1, { count, mailboxes: 1, meanBytes });
const { user, password } = server.account(1);
const target = { host: server.host, port: server.imapPort, user, password };

interface Round {
  readonly seconds: number;
  readonly rawSeconds: number;
  readonly peakRss: number;
}

const restMs = 50;

const run = await withFreshDaemon(async (daemon) => {
  const path = await createAccount(daemon, dovecotAccount(server, 1));
  await untilLive(daemon, path, count);
  await untilParsed(daemon, path);
  const before = await readIds(daemon, path);
  const idleRss = await daemon.rss();
  progress(`read; ${before.size} placements, ${(idleRss / 1e6).toFixed(0)} MB`);
  const list: Round[] = [];
  let wrong = 0;
  let created = 0;
  for (let round = 1; round <= rounds; round += 1) {
    const raw = await fetchRaw(target, null, headerBlock);
    if (raw.messages !== count) throw new Error(`the raw client saw ${raw.messages} messages`);
    const state = await stateOf(daemon, path);
    const uidValidity = 5_000_000 + round;
    await server.doveadm("mailbox", "update", "-u", user, "--uid-validity", String(uidValidity), "INBOX");
    const began = performance.now();
    await daemon.call("POST", `${path}/sync`);
    while (!("epoch.changed" in (await kindsSince(daemon, path, state)))) await new Promise((done) => setTimeout(done, restMs));
    const settled = ({ syncState, progress: { done } }: { syncState: string; progress: { done: number } }): boolean =>
      syncState === "live" && done >= count;
    const peakRss = await untilStatus(daemon, path, settled);
    const seconds = (performance.now() - began) / 1000;
    const after = await readIds(daemon, path);
    wrong += [...before.keys()].filter((key) => after.get(key) !== uidValidity).length + after.size - before.size;
    const kinds = await kindsSince(daemon, path, state);
    created += kinds["message.created"] ?? 0;
    progress(`round ${round}: ${seconds.toFixed(2)} s, raw ${raw.seconds.toFixed(2)} s, ${JSON.stringify(kinds)}`);
    list.push({ seconds, rawSeconds: raw.seconds, peakRss });
  }
  return { list, wrong, created };
});

/** Said by each session when it ends. */
const bodies = [...(await server.log()).matchAll(/body_count=(\d+)/g)].reduce((sum, [, read]) => sum + Number(read), 0) - count;
const seconds = median(run.list.map((round) => round.seconds));
const ratio = median(run.list.map((round) => round.seconds / round.rawSeconds));
const peakRss = Math.max(...run.list.map((round) => round.peakRss));
report(
  "epoch",
  {
    messages: count,
    rounds: run.list,
    ratioRaw: ratio,
    idsChanged: run.wrong,
    created: run.created,
    bodiesRead: bodies,
    peakRssMb: peakRss / 1e6,
  },
  `${count} messages under new numbers in ${seconds.toFixed(2)} s, ${ratio.toFixed(2)} x a FETCH of their header blocks; ` +
    `${run.wrong} ids changed, ${run.created} messages created, ${bodies} bodies read; peak memory ${(peakRss / 1e6).toFixed(0)} MB`,
);
if (run.wrong + run.created + Math.max(0, bodies) > 0) process.exitCode = 1;
