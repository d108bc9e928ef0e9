/** Mail that a maildrop lists and cannot give, or not yet (semantics K8). */
import { expect, it } from "vitest";
import { changesOf } from "../support/account-view.ts";
import { type Daemon, liveAccount, startDaemon, waitLive } from "../support/daemon.ts";
import { eventually } from "../support/eventually.ts";
import { maildropAccount, startMaildrop } from "../support/maildrop-server.ts";
import { mailOf, rawOf, staysQuiet } from "../support/pop3-account.ts";
import { freshDatabase } from "../support/postgres.ts";

const mail = (subject: string, body = "body"): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nDate: Sun, 1 Nov 2026 10:00:00 +0000\r\n\r\n${body}\r\n`);

const run = (url: string, largest: number): Promise<Daemon> =>
  startDaemon({
    env: {
      DATABASE_URL: url,
      SAMEBOX_LEASE_SECONDS: "2",
      SAMEBOX_POLL_SECONDS: "1",
      SAMEBOX_MAX_MESSAGE_BYTES: String(largest),
    },
  });

it("what cannot be read is shown by its header, and is whole later under the same id", { timeout: 540_000 }, async () => {
  const raws = [mail("plain"), mail("broken"), mail("large", "x".repeat(5_000)), mail("headless"), mail("plain")];
  let broken = true;
  // The fourth gives nothing at all, and may be no mail; the second and the fifth their header only.
  const answer = (line: string): string | null =>
    broken && (/^RETR [245]$/.test(line) || /^TOP [25] 100000000$/.test(line) || line.startsWith("TOP 4 "))
      ? "-ERR cannot be read\r\n"
      : null;
  await using database = await freshDatabase();
  await using server = await startMaildrop(raws, { answer });
  const before = new Map<string | null, string>();
  let accountId = "";
  {
    await using daemon = await run(database.url, 2_000);
    accountId = await liveAccount(daemon, maildropAccount(server));
    const shown = await mailOf(daemon, accountId);
    expect(shown.map(({ subject }) => subject).toSorted()).toEqual(["broken", "large", "plain", "plain"]);
    expect(shown.every(({ placements }) => placements[0]?.bindings.length === 1)).toBe(true);
    for (const { id, subject } of shown) before.set(subject, id);
    const raw = await daemon.call("GET", `/v1/accounts/${accountId}/messages/${before.get("large")}/raw`);
    expect(raw).toMatchObject({ status: 409, body: { code: "body_not_available" } });
    expect(await staysQuiet(daemon, accountId, database.url)).toBe(0n);
  }
  broken = false;
  await using daemon = await run(database.url, 20_000);
  await waitLive(daemon, accountId);
  const completed = await eventually("all are whole", async () => {
    const log = (await changesOf(daemon, accountId)).filter(({ kind }) => kind === "message.completed");
    return log.length === 3 ? log : false;
  });
  expect(new Set(completed.map(({ rule }) => rule))).toEqual(new Set(["K8"]));
  await eventually("the fourth is read", async () => (await mailOf(daemon, accountId)).length === 4);
  const now = await mailOf(daemon, accountId);
  // The one with the octets of another joined that.
  expect(now.map(({ subject, placements }) => `${subject} ${placements.length}`).toSorted()).toEqual([
    "broken 1",
    "headless 1",
    "large 1",
    "plain 2",
  ]);
  for (const { id, subject } of now) {
    expect(await rawOf(daemon, accountId, id)).toEqual(raws.find((raw) => raw.includes(`Subject: ${subject}\r\n`)));
    if (subject === "broken" || subject === "large") expect(id).toBe(before.get(subject));
  }
  expect(await staysQuiet(daemon, accountId, database.url)).toBe(0n);
});
