/** Mail that a POP3 device took from INBOX is put back where that device cannot see it: once, whatever happens meanwhile. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { forever, openDovecot } from "../endpoints/pop3/connection-fixture.ts";
import { changesOf, mailboxesOf, messagesOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, waitLive } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { commandsOf, makeDue } from "../support/owed-writes.ts";
import { drain, mailOf, pop3Account, pop3Endpoint, rawOf, staysQuiet } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

const wantsBack = { pop3Devices: "declared", onPop3Drain: "restore" };
const internalDate = new Date("2026-02-03T04:05:06Z");
const raw = (subject: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@restore.test>\r\n\r\n${"body of mail\r\n".repeat(2000)}`);
const mail = (subject: string, flags: readonly string[] = []) => ({ raw: raw(subject), flags, internalDate });

/** What a device sees in a mailbox: subject, flags and date of each item, sorted; of any kind but the order. */
const seenIn = async (server: Dovecot, n: number, mailbox: string): Promise<readonly string[]> => {
  await using device = await server.device(n);
  await device.select(mailbox);
  const octets = await device.fetchRaw();
  const { untagged } = await device.command("UID FETCH 1:* (UID FLAGS INTERNALDATE)");
  return untagged
    .flatMap(({ line }) => {
      const uid = Number(/\bUID (\d+)/.exec(line)?.[1]);
      // A flag that changed just now is told in a line of its own.
      if (!line.includes("INTERNALDATE")) return [];
      const flags = /FLAGS \(([^)]*)\)/.exec(line)?.[1]?.split(" ").toSorted().join(" ") ?? "";
      const date = /INTERNALDATE "([^"]*)"/.exec(line)?.[1] ?? "";
      const subject = /^Subject: (.*)\r$/m.exec(octets.get(uid)?.toString() ?? "")?.[1] ?? "";
      const whole = octets.get(uid)?.equals(raw(subject)) === true ? "whole" : "changed";
      return [`${subject}: ${flags.replace("\\Recent", "").trim()} ${date} ${whole}`];
    })
    .toSorted();
};

const put = async (server: Dovecot, n: number, messages: Parameters<Dovecot["deliver"]>[0]["messages"]): Promise<void> => {
  await using device = await server.device(n);
  await device.appendAll("INBOX", messages);
};

const restored = (url: string, accountId: string, count: number) =>
  eventually(
    `${count} are put back`,
    async () => {
      const found = await commandsOf(url, accountId);
      expect(found.filter(({ status }) => status === "confirmed")).toHaveLength(count);
      return found;
    },
    { timeoutMs: 60_000 },
  );

/** The POP3 side ends its bindings after a listing of its own: only then is everything said. */
const pop3Bound = (daemon: Daemon, accountId: string, count: number) =>
  eventually(
    `${count} are bound over POP3`,
    async () => {
      const bindings = (await mailOf(daemon, accountId)).flatMap(({ placements }) =>
        placements.flatMap((place) => place.bindings),
      );
      expect(bindings.filter(({ protocol }) => protocol === "pop3")).toHaveLength(count);
      return true;
    },
    { timeoutMs: 30_000 },
  );

describe("policy restore", () => {
  let server: Dovecot;
  let fresh: FreshDatabase;
  let daemon: Daemon;

  beforeAll(async () => {
    server = await startDovecot({
      users: 7,
      extraConfig: `
mail_plugins = $mail_plugins quota
plugin {
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage=1M
}`,
    });
    fresh = await freshDatabase();
    daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
  });

  afterAll(async () => {
    await daemon.stop();
    await fresh.drop();
    await server.stop();
  });

  const bothAccount = (n: number) => {
    const { endpoints, ...rest } = dovecotAccount(server, n);
    return { ...rest, endpoints: [...endpoints, pop3Endpoint(server, n)], policy: wantsBack };
  };

  it(
    "S02: it comes back into the archive with flags, date and octets, and is the same message",
    { timeout: 270_000 },
    async () => {
      await put(server, 1, [mail("one", ["\\Flagged", "Blue"]), mail("two", ["\\Seen"]), mail("three"), mail("stays")]);
      const accountId = await liveAccount(daemon, bothAccount(1));
      const before = await messagesOf(daemon, accountId);
      await drain(server, 1, 3);
      await restored(fresh.url, accountId, 3);
      const date = "03-Feb-2026 04:05:06 +0000";
      expect(await seenIn(server, 1, "Archive")).toEqual([
        `one: Blue \\Flagged ${date} whole`,
        `three:  ${date} whole`,
        `two: \\Seen ${date} whole`,
      ]);
      expect(await seenIn(server, 1, "INBOX")).toEqual([`stays:  ${date} whole`]);
      const after = await messagesOf(daemon, accountId);
      expect([...after].map(([subject, { id, in: places }]) => [subject, id, places]).toSorted()).toEqual(
        [...before].map(([subject, { id }]) => [subject, id, [subject === "stays" ? "INBOX" : "Archive"]]).toSorted(),
      );
      for (const { placements } of await mailOf(daemon, accountId))
        expect(placements.map(({ state, bindings }) => [state, bindings.length > 0])).toEqual([["live", true]]);
      const log = await changesOf(daemon, accountId);
      expect(log.filter(({ kind }) => kind === "message.created")).toHaveLength(4);
      for (const [kind, reason] of [
        ["message.kept", "pop3_drain"],
        ["message.moved", "restored_after_drain"],
      ])
        expect(log.filter((change) => change.kind === kind).map((change) => change.reason)).toEqual([reason, reason, reason]);
      await pop3Bound(daemon, accountId, 1);
      expect(await staysQuiet(daemon, accountId, fresh.url, 2)).toBe(0n);
    },
  );

  it(
    "V18 I14: what is moved to INBOX again and taken again is kept, and not put back a second time",
    { timeout: 270_000 },
    async () => {
      await put(server, 2, [mail("one"), mail("stays")]);
      const accountId = await liveAccount(daemon, bothAccount(2));
      await drain(server, 2, 1);
      await restored(fresh.url, accountId, 1);
      await using device = await server.device(2);
      await device.select("Archive");
      await device.move(1, "INBOX");
      await eventually("it is in INBOX", async () => (await messagesOf(daemon, accountId)).get("one")?.in.join() === "INBOX", {
        timeoutMs: 30_000,
      });
      await device.select("INBOX");
      const number = [...(await device.fetchRaw()).values()].findIndex((octets) => octets.equals(raw("one")));
      expect(number).toBe(1);
      // An empty maildrop is believed a minute later only (G4).
      await put(server, 2, [mail("rest")]);
      await drain(server, 2, 2);
      const kept = await eventually(
        "it is kept",
        async () => (await changesOf(daemon, accountId)).filter(({ kind }) => kind === "message.kept").length === 3,
        { timeoutMs: 30_000 },
      );
      expect(kept).toBe(true);
      await restored(fresh.url, accountId, 2);
      expect(await staysQuiet(daemon, accountId, fresh.url, 2)).toBe(0n);
      expect((await commandsOf(fresh.url, accountId)).map(({ status }) => status)).toEqual(["confirmed", "confirmed"]);
      expect((await seenIn(server, 2, "Archive")).map((line) => line.split(":")[0])).toEqual(["stays"]);
      const one = (await messagesOf(daemon, accountId)).get("one");
      expect((await rawOf(daemon, accountId, one?.id ?? "")).equals(raw("one"))).toBe(true);
    },
  );

  it("makes a mailbox where there is no archive, and shows it to devices", { timeout: 270_000 }, async () => {
    await using bare = await startDovecot({
      users: 1,
      extraConfig: "namespace inbox {\n  mailbox Archive {\n    auto = no\n    special_use =\n  }\n}",
    });
    await put(bare, 1, [mail("one", ["\\Answered"]), mail("stays")]);
    const { endpoints, ...rest } = dovecotAccount(bare, 1);
    const accountId = await liveAccount(daemon, { ...rest, endpoints, policy: wantsBack });
    expect([...(await mailboxesOf(daemon, accountId)).keys()]).not.toContain("Archive");
    await drain(bare, 1, 1);
    await restored(fresh.url, accountId, 1);
    expect((await messagesOf(daemon, accountId)).get("one")?.in).toEqual(["Kept from POP3"]);
    await using device = await bare.device(1);
    expect((await device.command('LSUB "" "*"')).untagged.map(({ line }) => line).join()).toContain("Kept from POP3");
    expect(await seenIn(bare, 1, "INBOX")).toHaveLength(1);
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
  });

  it("C9 S108: an answer that is lost behind the octets makes no second copy", { timeout: 270_000 }, async () => {
    await using lossy = await startFaultProxy({ port: server.imapPort });
    await put(server, 3, [mail("one"), mail("one"), mail("stays")]);
    const { endpoints, ...rest } = dovecotAccount(server, 3);
    const over = endpoints.map((endpoint) => ({ ...endpoint, port: lossy.port, security: "none" }));
    const accountId = await liveAccount(daemon, { ...rest, endpoints: over, policy: wantsBack });
    let lost = 0;
    lossy.change({
      toClient: {
        before: (piece) => {
          if (piece.includes("APPENDUID") && (lost += 1) === 1) lossy.resetAll();
        },
      },
    });
    await drain(server, 3, 2);
    await restored(fresh.url, accountId, 2);
    expect(lost).toBeGreaterThan(0);
    expect((await seenIn(server, 3, "Archive")).map((line) => line.split(":")[0])).toEqual(["one", "one"]);
    const log = await changesOf(daemon, accountId);
    expect(log.filter(({ kind }) => kind === "message.created")).toHaveLength(3);
    expect(log.filter(({ reason }) => reason === "restored_after_drain")).toHaveLength(2);
  });

  it("S109: octets that never arrived are sent again after two looks that do not show them", { timeout: 270_000 }, async () => {
    await using lossy = await startFaultProxy({ port: server.imapPort });
    await put(server, 4, [mail("one"), mail("stays")]);
    const { endpoints, ...rest } = dovecotAccount(server, 4);
    const over = endpoints.map((endpoint) => ({ ...endpoint, port: lossy.port, security: "none" }));
    const accountId = await liveAccount(daemon, { ...rest, endpoints: over, policy: wantsBack });
    let sent = 0;
    lossy.change({
      toServer: {
        before: (piece) => {
          if (piece.includes(" APPEND ") && (sent += 1) === 1) lossy.resetAll();
        },
      },
    });
    await drain(server, 4, 1);
    const [command] = await restored(fresh.url, accountId, 1);
    expect(command?.attempts).toBe(2);
    expect(sent).toBe(2);
    expect(await seenIn(server, 4, "Archive")).toHaveLength(1);
  });

  it("V18: what IMAP never showed comes back as well, when IMAP is there again", { timeout: 360_000 }, async () => {
    await using line = await startFaultProxy({ port: server.imapPort });
    await put(server, 7, [mail("stays")]);
    const { endpoints, ...rest } = dovecotAccount(server, 7);
    const over = endpoints.map((endpoint) => ({ ...endpoint, port: line.port, security: "none" }));
    const body = { ...rest, endpoints: [...over, pop3Endpoint(server, 7)], policy: wantsBack };
    const accountId = await liveAccount(daemon, body);
    await pop3Bound(daemon, accountId, 1);
    line.change({ onConnect: "reset" });
    line.resetAll();
    await put(server, 7, [mail("one"), mail("two")]);
    await pop3Bound(daemon, accountId, 3);
    const laptop = await openDovecot(server, 7);
    await laptop.dele(2, forever);
    await laptop.quit(forever);
    line.change({});
    // Cuts short what a failing endpoint waits.
    await daemon.call("POST", `/v1/accounts/${accountId}/sync`);
    await restored(fresh.url, accountId, 1);
    expect((await seenIn(server, 7, "Archive")).map((shown) => [shown.split(":")[0], shown.split(" ").at(-1)])).toEqual([
      ["one", "whole"],
    ]);
    expect((await seenIn(server, 7, "INBOX")).map((shown) => shown.split(":")[0])).toEqual(["stays", "two"]);
    const one = (await mailOf(daemon, accountId)).filter(({ subject }) => subject === "one");
    expect(one.map(({ placements }) => placements.map(({ state, reason }) => [state, reason]))).toEqual([
      [["live", "restored_after_drain"]],
    ]);
    const log = await changesOf(daemon, accountId);
    expect(log.filter(({ kind }) => kind === "message.created")).toHaveLength(3);
    expect(log.filter(({ kind }) => kind === "message.kept").map(({ reason }) => reason)).toEqual(["pop3_drain"]);
    expect(await staysQuiet(daemon, accountId, fresh.url, 2)).toBe(0n);
  });

  it("C5: a full account waits for room, and is read on meanwhile", { timeout: 270_000 }, async () => {
    await using between = await startFaultProxy({ port: server.imapPort });
    await put(server, 5, [mail("one"), mail("stays")]);
    const { endpoints, ...rest } = dovecotAccount(server, 5);
    const over = endpoints.map((endpoint) => ({ ...endpoint, port: between.port, security: "none" }));
    const accountId = await liveAccount(daemon, { ...rest, endpoints: over, policy: wantsBack });
    await using device = await server.device(5);
    let filled = 0;
    between.change({
      toServer: {
        before: async (piece) => {
          if (!piece.includes(" APPEND ") || (filled += 1) > 1) return;
          await device.append("Work", Buffer.concat([Buffer.from("Subject: filling\r\n\r\n"), Buffer.alloc(1_010_000, "x\r\n")]));
        },
      },
    });
    await device.create("Work");
    await drain(server, 5, 1);
    await eventually("it is refused", async () => (await commandsOf(fresh.url, accountId))[0]?.outcome === "over_quota", {
      timeoutMs: 30_000,
    });
    await device.select("Work");
    await device.expunge("1:*");
    await put(server, 5, [mail("new")]);
    await eventually("new mail is read", async () => (await messagesOf(daemon, accountId)).has("new"), { timeoutMs: 30_000 });
    expect((await messagesOf(daemon, accountId)).get("one")?.in).toEqual(["INBOX"]);
    expect(await commandsOf(fresh.url, accountId)).toMatchObject([{ status: "planned", attempts: 1 }]);
    await makeDue(fresh.url, accountId);
    await daemon.call("POST", `/v1/accounts/${accountId}/sync`);
    await restored(fresh.url, accountId, 1);
    expect(await seenIn(server, 5, "Archive")).toHaveLength(1);
  });

  it("POP3 alone: there is no place to put it back, so it is kept, and the status says so", { timeout: 270_000 }, async () => {
    await put(server, 6, [mail("one"), mail("stays")]);
    const accountId = await liveAccount(daemon, pop3Account(server, 6, { policy: wantsBack }));
    const { body } = await daemon.call<{ endpoints: { notices: string[] }[] }>("GET", `/v1/accounts/${accountId}/status`);
    expect(body.endpoints[0]?.notices.join()).toContain("put back");
    await drain(server, 6, 1);
    await eventually("it is kept", async () => (await changesOf(daemon, accountId)).some(({ kind }) => kind === "message.kept"), {
      timeoutMs: 30_000,
    });
    expect(await commandsOf(fresh.url, accountId)).toEqual([]);
    expect(await messagesOf(daemon, accountId)).toHaveProperty("size", 2);
  });
});

describe("a daemon killed at any step of putting back", () => {
  it("leaves one copy of each, twins too, and writes nothing more (C3, PB10)", { timeout: 600_000 }, async () => {
    await using server = await startDovecot({ users: 40 });
    await using fresh = await freshDatabase();
    const start = (env: Record<string, string> = {}, dying = false): Promise<Daemon> =>
      startDaemon({ dying, env: { DATABASE_URL: fresh.url, SAMEBOX_LEASE_SECONDS: "2", SAMEBOX_POLL_SECONDS: "1", ...env } });
    const add = async (daemon: Daemon, n: number): Promise<string> => {
      await put(server, n, [mail("twin", ["\\Flagged"]), mail("twin"), mail("stays")]);
      return await liveAccount(daemon, { ...dovecotAccount(server, n), policy: wantsBack });
    };
    // What comes before is the reading of any account; see the other tests of crashes.
    let step = 5;
    let accountId: string;
    {
      await using calm = await start();
      accountId = await add(calm, step);
    }
    for (let over = false; !over; step += 1) {
      await drain(server, step, 2);
      await using victim = await start({ SAMEBOX_FAILPOINT: String(step) }, true);
      const through = restored(fresh.url, accountId, 2).then(
        () => "through",
        () => "never",
      );
      over = (await Promise.race([victim.exited, through])) === "through";
      await victim.stop();
      await using survivor = await start();
      await waitLive(survivor, accountId);
      await restored(fresh.url, accountId, 2);
      expect((await seenIn(server, step, "Archive")).map((line) => line.split(" ").at(-1))).toEqual(["whole", "whole"]);
      const log = await changesOf(survivor, accountId);
      expect(log.filter(({ kind }) => kind === "message.created")).toHaveLength(3);
      expect(log.filter(({ reason }) => reason === "restored_after_drain")).toHaveLength(2);
      expect(await staysQuiet(survivor, accountId, fresh.url)).toBe(0n);
      if (over) continue;
      // Only the account in question takes steps.
      expect((await survivor.call("DELETE", `/v1/accounts/${accountId}`)).status).toBe(204);
      accountId = await add(survivor, step + 1);
    }
    // Before and behind the fence, the write and the commit of each of the two, and what led to them.
    expect(step).toBeGreaterThan(12);
  });
});
