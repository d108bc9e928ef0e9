/** Mail on its way to where an app wants it, and what becomes of it on servers and beside devices that make that hard. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changesOf, messagesOf } from "../support/account-view.ts";
import { itemsIn, moveTo, phone, settledCommands, write } from "../support/api-writes.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, testAdminKey } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { commandsOf, makeDue } from "../support/owed-writes.ts";
import { drain, mailOf, staysQuiet } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

/** Neither MOVE nor UIDPLUS, and a megabyte for each account. */
const poor = {
  users: 3,
  withoutCapabilities: ["MOVE", "UIDPLUS"],
  extraConfig: `
mail_plugins = $mail_plugins quota
plugin {
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage=1M
}`,
};

let server: Dovecot;
let bare: Dovecot;
let proxy: FaultProxy;
let fresh: FreshDatabase;
let daemon: Daemon;

const run = (): Promise<Daemon> =>
  startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1", SAMEBOX_LEASE_SECONDS: "2" } });

beforeAll(async () => {
  [server, bare, fresh] = await Promise.all([startDovecot({ users: 3, pop3: {} }), startDovecot(poor), freshDatabase()]);
  proxy = await startFaultProxy({ port: server.imapPort });
  daemon = await run();
});

afterAll(async () => {
  await daemon.stop();
  await fresh.drop();
  await proxy.stop();
  await bare.stop();
  await server.stop();
});

const patient = { timeoutMs: 60_000, everyMs: 50 };
const mail = (subject: string, octets = 0): Buffer =>
  Buffer.from(`Subject: ${subject}\r\n\r\nbody of ${subject}\r\n${"x\r\n".repeat(octets / 3)}`);

const begin = async (
  of: Dovecot,
  n: number,
  messages: readonly Buffer[],
  rest: Record<string, unknown> = {},
): Promise<string> => {
  await of.deliver({ user: of.account(n).user, mailbox: "INBOX", messages });
  const port = of === server ? proxy.port : of.imapPort;
  return liveAccount(daemon, { ...dovecotAccount(of, n, { port }), ...rest });
};

const toldOf = async (id: string): Promise<readonly string[]> =>
  (await changesOf(daemon, id))
    .filter(({ kind }) => /^(message|write|conflict)/.test(kind))
    .map(({ kind, reason, rule }) => `${kind} ${reason} ${rule}`)
    .filter((one) => !one.startsWith("message.created"));

/** What happens once, before a piece that a connection of the daemon says to the server is passed on. */
const before = (pattern: RegExp, work: () => Promise<unknown>): (() => boolean) => {
  let done = false;
  proxy.change({
    toServer: {
      before: async (piece) => {
        if (done || !pattern.test(piece.toString("latin1"))) return;
        done = true;
        await work();
      },
    },
  });
  return () => done;
};

describe("beside a device", () => {
  it(
    "S70: of two moves that had not seen each other the server's stands, and the other is not sent",
    { timeout: 180_000 },
    async () => {
      await server.deliver({ user: "user1", mailbox: "Work", messages: [mail("there")] });
      const id = await begin(server, 1, [mail("m"), mail("stays")]);
      const { id: messageId } = (await messagesOf(daemon, id)).get("m") ?? {};
      const wasHeld = before(/EXAMINE "?Work/, () => moveTo(daemon, id, "m", "Archive"));
      await using device = await server.device(1);
      await device.select("INBOX");
      await device.move("1", "Work");
      await eventually("it is seen there", async () => (await messagesOf(daemon, id)).get("m")?.in.join() === "Work", patient);
      const commands = await settledCommands(fresh.url, id);
      proxy.change({});
      expect(wasHeld()).toBe(true);
      expect(commands.map(({ verb, status, attempts }) => [verb, status, attempts])).toEqual([["move", "superseded", 0]]);
      expect(await toldOf(id)).toEqual([
        "message.moved api_move P1",
        "message.moved upstream_move ID-5a",
        "conflict.resolved concurrent_location P4",
      ]);
      expect([await itemsIn(server, 1, "Work"), await itemsIn(server, 1, "Archive")]).toEqual([["m", "there"], []]);
      expect((await messagesOf(daemon, id)).get("m")?.id).toBe(messageId);
      expect(await staysQuiet(daemon, id, fresh.url)).toBe(0n);
    },
  );

  it("S77: a flag for mail that a POP3 device takes just then is kept with it here", { timeout: 180_000 }, async () => {
    const id = await begin(server, 2, [mail("m"), mail("stays")], { policy: { pop3Devices: "declared" } });
    const wasTaken = before(/UID STORE/, () => drain(server, 2, 1));
    await write(daemon, id, "m", { body: { keywords: { $flagged: true } } });
    await eventually("it is kept", async () => (await toldOf(id)).some((one) => one.startsWith("message.kept")), patient);
    const [command, ...others] = await settledCommands(fresh.url, id);
    proxy.change({});
    expect(wasTaken()).toBe(true);
    expect([command, others]).toMatchObject([{ verb: "store", status: "superseded", outcome: "gone", attempts: 1 }, []]);
    const m = (await mailOf(daemon, id)).find(({ subject }) => subject === "m");
    expect(m?.placements).toMatchObject([{ state: "kept", sync: "canonical_only", keywords: { $flagged: true } }]);
    expect(await toldOf(id)).toEqual(["message.keywords api_keywords F2", expect.stringContaining("message.kept pop3_drain")]);
    expect(await itemsIn(server, 2, "INBOX")).toEqual(["stays"]);
  });
});

describe("on a poor server", () => {
  it("S81 C7: what a device has marked is left alone where removals cannot be named", { timeout: 180_000 }, async () => {
    const id = await begin(bare, 1, [mail("m"), mail("foreign")]);
    await using device = await bare.device(1);
    await device.select("INBOX");
    await device.store("2", "+", ["\\Deleted"]);
    await moveTo(daemon, id, "m", "Archive");
    const commands = await settledCommands(fresh.url, id);
    expect(commands.map(({ verb, status, outcome }) => [verb, status, outcome])).toEqual([
      ["move", "confirmed", "api_write"],
      ["expunge", "masked", "pending_expunge"],
    ]);
    expect(await itemsIn(bare, 1, "INBOX")).toEqual(["foreign \\Deleted", "m \\Deleted"]);
    expect(await itemsIn(bare, 1, "Archive")).toEqual(["m"]);
    expect(await toldOf(id)).toEqual([
      "message.moved api_move P1",
      "write.applied api_write C2",
      "write.failed pending_expunge C5",
    ]);
    expect(await staysQuiet(daemon, id, fresh.url)).toBe(0n);
    const seen = await messagesOf(daemon, id);
    expect([seen.get("m")?.in, seen.get("foreign")?.in]).toEqual([["Archive"], ["INBOX"]]);
  });

  it("S82 C8: an account without room keeps what is to be copied where it is, unmarked", { timeout: 180_000 }, async () => {
    const id = await begin(bare, 2, [mail("m", 90_000), mail("filling", 900_000)]);
    await moveTo(daemon, id, "m", "Archive");
    await eventually("it is refused", async () => (await commandsOf(fresh.url, id))[0]?.outcome === "over_quota", patient);
    expect(await itemsIn(bare, 2, "INBOX")).toEqual(["filling", "m"]);
    expect(await itemsIn(bare, 2, "Archive")).toEqual([]);
    expect((await messagesOf(daemon, id)).get("m")?.in).toEqual(["Archive"]);
    const m = (await mailOf(daemon, id)).find(({ subject }) => subject === "m");
    expect(m?.placements).toMatchObject([{ state: "live", sync: "pending" }]);
    expect(await toldOf(id)).toEqual(["message.moved api_move P1", "write.held over_quota C5"]);
    // Said once, however often it is tried; done when there is room.
    await makeDue(fresh.url, id);
    await daemon.call("POST", `/v1/accounts/${id}/sync`);
    await eventually("it is tried again", async () => ((await commandsOf(fresh.url, id))[0]?.attempts ?? 0) > 1, patient);
    await using device = await bare.device(2);
    await device.select("INBOX");
    await device.expunge("2");
    await makeDue(fresh.url, id);
    await daemon.call("POST", `/v1/accounts/${id}/sync`);
    await settledCommands(fresh.url, id);
    expect(await itemsIn(bare, 2, "Archive")).toEqual(["m"]);
    expect((await toldOf(id)).filter((one) => one.startsWith("write"))).toEqual([
      "write.held over_quota C5",
      "write.applied api_write C2",
      "write.applied api_write C7",
    ]);
  });
});

describe("without room", () => {
  it("C5 P12: the next version of a draft takes nothing away", { timeout: 180_000 }, async () => {
    const id = await begin(bare, 3, [mail("filling", 990_000), mail("draft")]);
    const { id: replaced = "" } = (await messagesOf(daemon, id)).get("draft") ?? {};
    const response = await fetch(`${daemon.url}/v1/accounts/${id}/messages?replaces=${replaced}`, {
      method: "POST",
      headers: { authorization: `Bearer ${testAdminKey}`, "content-type": "message/rfc822", ...phone },
      body: mail("version", 90_000),
    });
    expect(response.status).toBe(201);
    const open = (): Promise<readonly string[]> =>
      commandsOf(fresh.url, id).then((all) =>
        all.map(({ verb, status, attempts }) => `${verb} ${status} ${attempts}`).toSorted(),
      );
    const refused = async (): Promise<readonly string[] | false> => {
      const all = await open();
      return all[0] !== "append planned 0" && all;
    };
    const waiting = await eventually("it is refused", refused, patient);
    // It is tried again at once where a sweep comes.
    expect(waiting).toEqual([expect.stringMatching(/^append (?:planned|sent) [1-9]$/), "expunge planned 0"]);
    expect(await itemsIn(bare, 3, "INBOX")).toEqual(["draft", "filling"]);
    await using device = await bare.device(3);
    await device.select("INBOX");
    await device.expunge("1");
    await makeDue(fresh.url, id);
    await daemon.call("POST", `/v1/accounts/${id}/sync`);
    await settledCommands(fresh.url, id);
    expect(await itemsIn(bare, 3, "INBOX")).toEqual(["version"]);
    // What the device took is missed by two looks.
    await eventually("both know of one", async () => String([...(await messagesOf(daemon, id)).keys()]) === "version", patient);
  });
});

describe("a daemon that is killed", () => {
  it("S83: in the middle of moving three thousand mails moves each of them once", { timeout: 540_000 }, async () => {
    const count = 3000;
    const id = await begin(
      server,
      3,
      Array.from({ length: count }, (_, at) => mail(`m${at}`)),
    );
    const listed = await mailOf(daemon, id);
    const seen = (await changesOf(daemon, id, 500)).length;
    const { body } = await daemon.call<{ items: { id: string; path: string }[] }>("GET", `/v1/accounts/${id}/mailboxes`);
    const idOf = (path: string): string => body.items.find((one) => one.path === path)?.id ?? "";
    let moved = 0;
    proxy.change({
      toClient: {
        before: (piece) => {
          if (piece.includes("COPYUID") && (moved += 1) === 4) daemon.kill("SIGKILL");
        },
      },
    });
    const mailboxIds = { [idOf("INBOX")]: null, [idOf("Archive")]: true };
    await daemon.call("POST", `/v1/accounts/${id}/pause`);
    for (let at = 0; at < count; at += 500) {
      const ops = listed.slice(at, at + 500).map((one) => ({ op: "patch", messageId: one.id, mailboxIds }));
      expect((await daemon.call("POST", `/v1/accounts/${id}/batch`, { ops }, phone)).status).toBe(200);
    }
    await daemon.call("POST", `/v1/accounts/${id}/resume`);
    await daemon.exited;
    const statuses = Object.groupBy(await commandsOf(fresh.url, id), ({ status }) => status);
    expect([statuses["sent"]?.length, statuses["planned"]?.length]).toEqual([2000, 1000]);
    await using device = await server.device(3);
    expect((await device.select("Archive")).exists).toBe(2000);
    await device.command("UNSELECT");
    proxy.change({});
    daemon = await run();
    const commands = await settledCommands(fresh.url, id, 120_000);
    expect(commands.map(({ status, attempts }) => `${status} ${attempts}`).filter((one) => one !== "confirmed 1")).toEqual([]);
    expect((await device.select("Archive")).exists).toBe(count);
    expect((await device.select("INBOX")).exists).toBe(0);
    const log = (await changesOf(daemon, id, 500)).slice(seen).map(({ kind, reason }) => `${kind} ${reason}`);
    expect(Object.entries(Object.groupBy(log, (one) => one)).map(([one, all]) => [one, all?.length])).toEqual(
      expect.arrayContaining([
        ["message.moved api_move", count],
        ["write.applied api_write", count],
      ]),
    );
    expect(log.filter((one) => !/^(message.moved api_move|write.applied|account.state)/.test(one))).toEqual([]);
    expect((await mailOf(daemon, id)).map((one) => one.id).toSorted()).toEqual(listed.map((one) => one.id).toSorted());
    expect(await staysQuiet(daemon, id, fresh.url)).toBe(0n);
  });
});
