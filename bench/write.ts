/**
 * bench:write – how long after the answer to a PATCH a flag stands on the server, for who asks it without a pause, beside the same
 * change made by a raw client in the same run. The account is idle before each change; the raw client's connection is open.
 * --changes N, --messages N (size of INBOX), REDIS_URL for queues on Redis.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { messagesOf } from "../test/support/account-view.ts";
import { dovecotAccount, liveAccount, startDaemon } from "../test/support/daemon.ts";
import { startDovecot } from "../test/support/dovecot.ts";
import { eventually } from "../test/support/eventually.ts";
import type { ImapDevice } from "../test/support/imap-device.ts";
import { fill } from "./mail.ts";
import { option, progress, quantile, report } from "./report.ts";

const changes = option("changes", 200);
const messages = option("messages", 1_000);
/** Changes of each kind that only warm up. */
const warm = 5;

/** Resolves once the device is told flags with, or without, \Flagged: it asks again as soon as it was answered. */
const shown = async (device: ImapDevice, flagged: boolean): Promise<number> => {
  const until = performance.now() + 60_000;
  while (performance.now() < until) {
    const { untagged } = await device.command("NOOP");
    if (untagged.some(({ line }) => / FETCH .*FLAGS/.test(line) && line.includes("\\Flagged") === flagged))
      return performance.now();
  }
  throw new Error("the flag did not get there within a minute");
};

const figures = (values: readonly number[]) => ({
  p50: quantile(values, 0.5),
  p95: quantile(values, 0.95),
  max: quantile(values, 1),
});

await using server = await startDovecot({ users: 1 });
await fill(server, 1, { count: messages, mailboxes: 1, meanBytes: 4_000 });
const dataDir = await mkdtemp(join(tmpdir(), "samebox-bench-"));
const took: Record<"patch" | "arrival" | "store" | "storeArrival", number[]> = {
  patch: [],
  arrival: [],
  store: [],
  storeArrival: [],
};
try {
  const redis = process.env["REDIS_URL"];
  await using daemon = await startDaemon({
    built: true,
    env: { SAMEBOX_DATA_DIR: dataDir, ...(redis !== undefined && { REDIS_URL: redis }) },
  });
  const accountId = await liveAccount(daemon, dovecotAccount(server, 1), 300_000);
  await using watcher = await server.device(1);
  await using raw = await server.device(1);
  await watcher.select("INBOX");
  await raw.select("INBOX");
  const [{ id } = { id: "" }] = (await messagesOf(daemon, accountId)).values();
  const path = `/v1/accounts/${accountId}/messages/${id}`;
  interface Seen {
    readonly keywords: Readonly<Record<string, true>>;
    readonly placements: readonly { readonly sync: string; readonly bindings: readonly { readonly uid: number }[] }[];
  }
  /** Both sides agree, and nothing is owed. */
  const calm = (flagged: boolean): Promise<boolean> =>
    eventually(
      "nothing is owed",
      async () => {
        const { body } = await daemon.call<Seen>("GET", path);
        return body.placements.every(({ sync }) => sync === "synced") && "$flagged" in body.keywords === flagged;
      },
      { timeoutMs: 60_000 },
    );
  const { body: found } = await daemon.call<Seen>("GET", path);
  const uid = found.placements[0]?.bindings[0]?.uid ?? 0;
  for (let n = -warm; n < changes; n += 1) {
    const patchAt = performance.now();
    const { status, body } = await daemon.call("PATCH", path, { keywords: { $flagged: true } });
    const answeredAt = performance.now();
    if (status !== 200) throw new Error(JSON.stringify(body));
    const thereAt = await shown(watcher, true);
    await calm(true);
    const storeAt = performance.now();
    const stored = raw.command(`UID STORE ${uid} -FLAGS (\\Flagged)`).then(() => performance.now());
    const [storedAt, gone] = await Promise.all([stored, shown(watcher, false)]);
    await calm(false);
    if (n < 0) continue;
    took.patch.push(answeredAt - patchAt);
    took.arrival.push(thereAt - answeredAt);
    took.store.push(storedAt - storeAt);
    took.storeArrival.push(gone - storeAt);
    progress(`answered in ${(answeredAt - patchAt).toFixed(1)} ms, there ${(thereAt - answeredAt).toFixed(1)} ms later`);
  }
} finally {
  await rm(dataDir, { recursive: true, force: true });
}
report(
  "write",
  {
    changes,
    messages,
    queue: process.env["REDIS_URL"] === undefined ? "postgresql" : "redis",
    patchMs: figures(took.patch),
    arrivalMs: figures(took.arrival),
    rawStoreMs: figures(took.store),
    rawArrivalMs: figures(took.storeArrival),
  },
  `a flag stands on the server ${quantile(took.arrival, 0.5).toFixed(1)} ms (p50) and ${quantile(took.arrival, 0.95).toFixed(1)} ms (p95) after the answer to its PATCH; a raw STORE is seen after ${quantile(took.storeArrival, 0.5).toFixed(1)} ms`,
);
