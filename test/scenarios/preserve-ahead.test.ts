/** Mail of INBOX is copied before a POP3 device takes it (V21), and nothing else is, nor anything twice. */
import { describe, expect, it } from "vitest";
import { changesOf, messagesOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount } from "../support/daemon.ts";
import type { Dovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { useGround } from "../support/ground.ts";
import { commandsOf } from "../support/owed-writes.ts";
import { drain, mailOf, pop3Endpoint, staysQuiet } from "../support/pop3-account.ts";
import type { FreshDatabase } from "../support/postgres.ts";

const patience = { timeoutMs: 60_000 };
const asks = { pop3Devices: "declared", preserveAhead: true };
const raw = (subject: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@ahead.test>\r\n\r\nbody of ${subject}\r\n`);

describe("policy preserveAhead", () => {
  let server: Dovecot;
  let fresh: FreshDatabase;
  let daemon: Daemon;

  useGround({ users: 3 }, (ground) => {
    ({ server, fresh, daemon } = ground);
  });

  const put = async (n: number, subject: string, flags: readonly string[] = [], mailbox = "INBOX"): Promise<void> => {
    await using device = await server.device(n);
    await device.appendAll(mailbox, [{ raw: raw(subject), flags, internalDate: new Date("2026-02-03T04:05:06Z") }]);
  };

  /** Subjects upstream, one for each whole item. */
  const shownIn = async (n: number, mailbox: string): Promise<readonly string[]> => {
    await using device = await server.device(n);
    await device.select(mailbox);
    return [...(await device.fetchRaw()).values()]
      .map((octets) => /^Subject: (.*)\r$/mu.exec(octets.toString())?.[1] ?? "")
      .toSorted();
  };

  const placesOf = async (accountId: string, subject: string) =>
    (await messagesOf(daemon, accountId)).get(subject)?.in.toSorted();

  const hasCopy = (accountId: string, subject: string) =>
    eventually(
      `${subject} has a copy`,
      async () => expect(await placesOf(accountId, subject)).toEqual(["Archive", "INBOX"]),
      patience,
    );

  it("copies what comes, once, and a drain leaves the copy and puts nothing beside it", { timeout: 270_000 }, async () => {
    await put(1, "old");
    const { endpoints, ...rest } = dovecotAccount(server, 1);
    const both = [...endpoints, pop3Endpoint(server, 1)];
    const accountId = await liveAccount(daemon, { ...rest, endpoints: both, policy: asks });
    await put(1, "new", ["\\Flagged"]);
    await put(1, "draft", ["\\Draft"]);
    await hasCopy(accountId, "new");
    await put(1, "new");
    const placements = async () => (await mailOf(daemon, accountId)).flatMap((mail) => mail.placements);
    await eventually("its twin is seen", async () => expect(await placements()).toHaveLength(5), patience);
    expect(await shownIn(1, "Archive")).toEqual(["new"]);
    const story = await changesOf(daemon, accountId);
    const told = story.filter(({ reason }) => reason === "preserved_ahead");
    expect(told.map(({ kind, rule }) => [kind, rule])).toEqual([["message.created", "V21"]]);
    const [copy] = (await placements()).filter(({ reason }) => reason === "preserved_ahead");
    expect(copy).toMatchObject({ state: "live", sync: "synced" });
    expect(await staysQuiet(daemon, accountId, fresh.url, 2)).toBe(0n);
    await drain(server, 1, 2);
    await eventually(
      "both are kept",
      async () => expect((await changesOf(daemon, accountId)).filter(({ kind }) => kind === "message.kept")).toHaveLength(2),
      patience,
    );
    const simulated = await daemon.call<{ items: { messageId: string; wouldBe: string }[] }>(
      "POST",
      `/v1/accounts/${accountId}/policy/simulate`,
      { onPop3Drain: "restore" },
    );
    const old = (await messagesOf(daemon, accountId)).get("old");
    expect(simulated.body.items.map(({ messageId, wouldBe }) => [messageId, wouldBe])).toEqual([[old?.id, "live"]]);
    const patched = await daemon.call("PATCH", `/v1/accounts/${accountId}`, { policy: { onPop3Drain: "restore" } });
    expect(patched.status).toBe(200);
    await eventually("old is put back", async () => expect(await placesOf(accountId, "old")).toEqual(["Archive"]), patience);
    expect(await shownIn(1, "Archive")).toEqual(["new", "old"]);
    expect((await commandsOf(fresh.url, accountId)).map(({ reason, status }) => [reason, status])).toEqual([
      ["preserved_ahead", "confirmed"],
      ["restored_after_drain", "confirmed"],
    ]);
    expect(await staysQuiet(daemon, accountId, fresh.url, 2)).toBe(0n);
  });

  it("lets restore alone what has a copy, and ends with the policy", { timeout: 270_000 }, async () => {
    await put(2, "stays");
    const policy = { ...asks, onPop3Drain: "restore" };
    const accountId = await liveAccount(daemon, { ...dovecotAccount(server, 2), policy });
    await put(2, "one");
    await hasCopy(accountId, "one");
    const patched = await daemon.call("PATCH", `/v1/accounts/${accountId}`, { policy: { preserveAhead: false } });
    expect(patched.body).toMatchObject({ policy: { preserveAhead: false, onPop3Drain: "restore" } });
    await put(2, "two");
    await put(2, "last");
    await eventually("all is seen", async () => expect(await placesOf(accountId, "last")).toEqual(["INBOX"]), patience);
    await drain(server, 2, 3);
    await eventually("two is put back", async () => expect(await placesOf(accountId, "two")).toEqual(["Archive"]), patience);
    await eventually("stays is put back", async () => expect(await placesOf(accountId, "stays")).toEqual(["Archive"]), patience);
    expect(await shownIn(2, "Archive")).toEqual(["one", "stays", "two"]);
    expect(await placesOf(accountId, "one")).toEqual(["Archive", "INBOX"]);
  });

  it("makes no copy of what lies there already, or is put there meanwhile", { timeout: 270_000 }, async () => {
    const accountId = await liveAccount(daemon, { ...dovecotAccount(server, 3), policy: asks });
    await put(3, "filed", [], "Archive");
    await eventually("it is filed", async () => expect(await placesOf(accountId, "filed")).toEqual(["Archive"]), patience);
    await put(3, "filed");
    await hasCopy(accountId, "filed");
    expect(await commandsOf(fresh.url, accountId)).toEqual([]);
    // One look shows both, INBOX first.
    await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
    await put(3, "sorted");
    await put(3, "sorted", [], "Archive");
    await daemon.call("POST", `/v1/accounts/${accountId}/resume`);
    await hasCopy(accountId, "sorted");
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
    expect(await commandsOf(fresh.url, accountId)).toMatchObject([{ reason: "preserved_ahead", outcome: "there_already" }]);
    expect(await shownIn(3, "Archive")).toEqual(["filed", "sorted"]);
  });
});
