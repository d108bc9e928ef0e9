/**
 * bench:reconcile – how many flag facts a second one core takes in the pure core, against a loop that only compares them; and
 * how long it takes from another client's change of the flags of a whole mailbox until every change stands in the feed, against
 * a client that fetches the same flags and throws them away.
 * --facts N (in one observation), --messages N (end to end), --mean BYTES, --rounds N.
 */
import { uuidv7 } from "uuidv7";
import type { EndpointId, MailboxId, MessageId, PlacementId } from "../src/model/ids.ts";
import { keywordsOfFlags } from "../src/model/mail.ts";
import type { FlagFact } from "../src/reconciler/flag-loss.ts";
import { reconcileFlags } from "../src/reconciler/observed-flags.ts";
import type { PlacementView, Scope } from "../src/reconciler/state.ts";
import { type Daemon, dovecotAccount } from "../test/support/daemon.ts";
import { startDovecot } from "../test/support/dovecot.ts";
import { createAccount, untilLive, untilParsed, withFreshDaemon } from "./first-reading.ts";
import { fill } from "./mail.ts";
import { fetchRaw } from "./raw-imap.ts";
import { median, option, progress, report } from "./report.ts";

const factCount = option("facts", 50_000);
const messageCount = option("messages", 10_000);
const meanBytes = option("mean", 2_000);
const rounds = option("rounds", 5);

const scope: Scope = { endpointId: uuidv7() as EndpointId, mailboxId: uuidv7() as MailboxId, epoch: 1 };
/** What mail wears, most of it nothing but that it was read. */
const worn: readonly (readonly string[])[] = [["\\Seen"], ["\\Seen"], ["\\Seen", "\\Answered"], [], ["\\Seen", "$Forwarded"]];

const viewOf = (uid: number): PlacementView => {
  const shadowFlags = worn[uid % worn.length] ?? [];
  const { endpointId: _, ...where } = scope;
  return {
    id: uuidv7() as PlacementId,
    messageId: uuidv7() as MessageId,
    mailboxId: scope.mailboxId,
    keywords: keywordsOfFlags(shadowFlags),
    lifecycle: "live",
    kept: false,
    absent: false,
    receivedAt: uid,
    binding: { ...where, uid, active: true, closedReason: null, shadowFlags },
  };
};

const uids = Array.from({ length: factCount }, (_, at) => at + 1);
const bound = new Map(uids.map((uid) => [uid, viewOf(uid)]));
/** Every one of them flagged by somebody: the dearest case, for each is a decision and an entry of the log. */
const facts: FlagFact[] = uids.map((uid) => ({
  uid,
  flags: [...(worn[uid % worn.length] ?? []), "\\Flagged"],
  modseq: BigInt(uid),
}));

/** Facts a second of this thread's CPU time, which other work on the machine does not change. */
const rateOf = (work: () => number): number => {
  const before = process.threadCpuUsage();
  const done = work();
  const { user, system } = process.threadCpuUsage(before);
  if (done !== factCount) throw new Error(`${done} of ${factCount} facts were decided`);
  return factCount / ((user + system) / 1e6);
};

const decide = (): number => reconcileFlags({ scope, facts, bound, seen: null }).changes.length;

const compare = (): number =>
  facts.filter(({ uid, flags }) => {
    const shadow = bound.get(uid)?.binding?.shadowFlags ?? [];
    return shadow.length !== flags.length || shadow.some((flag) => !flags.includes(flag));
  }).length;

const pure = Array.from({ length: rounds }, () => ({ decided: rateOf(decide), compared: rateOf(compare) }));
const decided = median(pure.map((round) => round.decided));
const ratioCompared = median(pure.map((round) => round.compared / round.decided));
progress(`pure core: ${decided.toFixed(0)} facts/s, ${ratioCompared.toFixed(1)} x a bare comparison`);

await using server = await startDovecot({ users: 1 });
progress(`delivering ${messageCount} messages`);
await fill(server, 1, { count: messageCount, mailboxes: 1, meanBytes });
const { user, password } = server.account(1);
const target = { host: server.host, port: server.imapPort, user, password };

const entriesOf = async (daemon: Daemon, path: string): Promise<number> =>
  Number((await daemon.call<{ state: string }>("GET", `${path}/status`)).body.state.split(".")[1]);

const everyMs = 20;

const runs = await withFreshDaemon(async (daemon) => {
  const path = await createAccount(daemon, dovecotAccount(server, 1));
  await untilLive(daemon, path, messageCount);
  await untilParsed(daemon, path);
  const list: { seconds: number; changing: number; raw: number }[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    // Each round adds a keyword: that all of them lose one at once would be held, and waits for an operator.
    const keyword = `round${round}`;
    const before = await entriesOf(daemon, path);
    const began = performance.now();
    await server.doveadm("flags", "add", "-u", user, keyword, "mailbox", "INBOX", "all");
    const changed = performance.now();
    while ((await entriesOf(daemon, path)) < before + messageCount) await new Promise((done) => setTimeout(done, everyMs));
    const seconds = (performance.now() - changed) / 1000;
    const raw = await fetchRaw(target, null, "UID FLAGS");
    list.push({ seconds, changing: (changed - began) / 1000, raw: raw.seconds });
    progress(
      `round ${round}: ${seconds.toFixed(2)} s after ${((changed - began) / 1000).toFixed(2)} s of changing, raw ${raw.seconds.toFixed(2)} s`,
    );
  }
  return list;
});

const seconds = median(runs.map((run) => run.seconds));
const ratioRaw = median(runs.map((run) => run.seconds / run.raw));
report(
  "reconcile",
  { facts: factCount, factsPerSecond: decided, ratioCompared, messages: messageCount, runs, seconds, ratioRaw },
  `${decided.toFixed(0)} flag facts a second and core in the pure core, ${ratioCompared.toFixed(1)} x a bare comparison; ` +
    `${messageCount} flags changed by another client stand in the feed ${seconds.toFixed(2)} s after the last, ` +
    `${ratioRaw.toFixed(1)} x a FETCH of the same flags`,
);
