/** What the writer says to a real Dovecot, and what it makes of the answers. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MailboxWriter, OpenRequest } from "../../../src/endpoints/endpoint.ts";
import { imapWriterDriver } from "../../../src/endpoints/imap/writer.ts";
import { memoryOctets } from "../../../src/endpoints/octets.ts";
import { type Dovecot, startDovecot } from "../../support/dovecot.ts";
import { forever, limits, openDovecot, quietLog } from "./session-fixture.ts";

let server: Dovecot;

beforeAll(async () => {
  server = await startDovecot({
    users: 10,
    extraConfig: `
mail_plugins = $mail_plugins quota acl
protocol imap {
  mail_plugins = $mail_plugins quota imap_quota acl imap_acl
}
plugin {
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage=20M
  quota_max_mail_size = 1M
  acl = vfile
}`,
  });
});

afterAll(() => server.stop());

const openWriter = (n: number, profile: OpenRequest["profile"] = {}): Promise<MailboxWriter> =>
  imapWriterDriver(limits).open(
    {
      settings: {
        protocol: "imap",
        host: "localhost",
        port: server.imapsPort,
        security: "tls",
        tls: { caPem: server.caPem, rejectUnauthorized: true },
      },
      credentials: { type: "password", ...server.account(n) },
      profile,
      log: quietLog,
    },
    forever,
  );

const mail = (subject: string): Buffer => Buffer.from(`Subject: ${subject}\r\n\r\nbody of ${subject}\r\n`);

const deliver = async (n: number, ...subjects: readonly string[]): Promise<number> => {
  const messages = subjects.map((subject) => ({ raw: mail(subject), flags: ["\\Seen", "Blue"] }));
  await using device = await server.device(n);
  await device.appendAll("INBOX", messages);
  return (await device.select("INBOX")).uidValidity;
};

describe("flags taken away", () => {
  it("are read back, and nothing else is touched", async () => {
    const uidValidity = await deliver(1, "one", "two", "three");
    await using writer = disposable(await openWriter(1));
    const items = [1, 3].map((uid) => ({ uid, unchangedSince: null }));
    const outcome = await writer.store({ path: "INBOX", uidValidity, items, change: "remove", flags: ["\\Seen"] }, forever);
    expect(outcome).toMatchObject({ kind: "stored", conflicts: [] });
    await using device = await server.device(1);
    await device.select("INBOX");
    expect([...(await device.flags()).entries()]).toEqual([
      [1, ["Blue"]],
      [2, ["Blue", "\\Seen"]],
      [3, ["Blue"]],
    ]);
    expect(outcome.kind === "stored" && outcome.facts.map(({ uid, flags }) => [uid, flags])).toEqual([
      [1, ["Blue"]],
      [3, ["Blue"]],
    ]);
  });

  it("W3: what somebody changed meanwhile is left alone and told", async () => {
    const uidValidity = await deliver(2, "one", "two");
    await using writer = disposable(await openWriter(2));
    const session = await openDovecot(server, 2);
    const seen = await session.observe({ path: "INBOX", since: null, boundCount: null }, forever);
    await session.close();
    await using device = await server.device(2);
    await device.select("INBOX");
    await device.store(2, "+", ["\\Flagged"]);
    const items = seen.flags.map(({ uid, modseq }) => ({ uid, unchangedSince: modseq ?? seen.highestModseq }));
    const outcome = await writer.store({ path: "INBOX", uidValidity, items, change: "remove", flags: ["\\Seen"] }, forever);
    expect(outcome).toMatchObject({ kind: "stored", conflicts: [2] });
    expect(outcome.kind === "stored" && outcome.facts.map(({ uid, flags }) => [uid, flags.toSorted()])).toEqual([
      [1, ["Blue"]],
      [2, ["Blue", "\\Flagged", "\\Seen"]],
    ]);
  });

  it("are told to be gone when the item is", async () => {
    const uidValidity = await deliver(3, "one");
    await using writer = disposable(await openWriter(3));
    const items = [{ uid: 77, unchangedSince: null }];
    const outcome = await writer.store({ path: "INBOX", uidValidity, items, change: "remove", flags: ["\\Seen"] }, forever);
    expect(outcome).toMatchObject({ kind: "stored", facts: [], conflicts: [] });
  });

  it("S125: what the mailbox does not keep is not said, for the server would say OK and do nothing", async () => {
    const uidValidity = await deliver(7, "one");
    await using device = await server.device(7);
    await device.command(`SETACL INBOX ${server.account(7).user} lrsa`);
    await using writer = disposable(await openWriter(7));
    const items = [{ uid: 1, unchangedSince: null }];
    const outcome = await writer.store({ path: "INBOX", uidValidity, items, change: "remove", flags: ["Blue"] }, forever);
    if (outcome.kind === "refused") throw new Error(outcome.why);
    expect(outcome.permanentFlags?.join()).toBe("\\Seen");
    expect(outcome.facts.map(({ flags }) => flags.toSorted())).toEqual([["Blue", "\\Seen"]]);
  });

  it("are refused in another epoch, and where nothing may be changed (S125)", async () => {
    const uidValidity = await deliver(4, "one");
    await using writer = disposable(await openWriter(4));
    const request = { path: "INBOX", items: [{ uid: 1, unchangedSince: null }], change: "remove" as const, flags: ["\\Seen"] };
    expect(await writer.store({ ...request, uidValidity: uidValidity + 1 }, forever)).toEqual({ kind: "refused", why: "epoch" });
    await using device = await server.device(4);
    await device.command(`SETACL INBOX ${server.account(4).user} lr`);
    await using other = disposable(await openWriter(4));
    expect(await other.store({ ...request, uidValidity }, forever)).toEqual({ kind: "refused", why: "no_permission" });
  });
});

describe("octets put back", () => {
  const internalDate = new Date("2026-03-04T05:06:07Z");

  it("arrive octet by octet with flags and date, where the fence said", async () => {
    await using writer = disposable(await openWriter(5, { changeDetection: "full" }));
    expect(await writer.create("Kept from POP3", forever)).toEqual({ kind: "done" });
    const fence = await writer.position("Kept from POP3", forever);
    if ("kind" in fence) throw new Error(fence.why);
    expect(fence.uidNext).toBe(1);
    const octets = Buffer.concat([mail("large"), Buffer.alloc(900_000, "0123456789abcde\n")]);
    const { uidValidity } = fence;
    const request = { path: "Kept from POP3", uidValidity, flags: ["\\Flagged", "Blue", "no good"], internalDate };
    const outcome = await writer.append({ ...request, octets: memoryOctets(octets) }, forever);
    expect(outcome).toMatchObject({ kind: "appended", item: { uid: 1, internalDate } });
    await using device = await server.device(5);
    await device.select("Kept from POP3");
    expect((await device.flags()).get(1)).toEqual(["Blue", "\\Flagged"]);
    const stored = (await device.fetchRaw()).get(1);
    expect(stored?.toString("latin1").replaceAll("\r\n", "\n")).toBe(octets.toString("latin1").replaceAll("\r\n", "\n"));
    const { untagged } = await device.command('LSUB "" "Kept*"');
    expect(untagged).toHaveLength(1);
  });

  it("C5: a refusal says why, and the connection goes on", async () => {
    await using writer = disposable(await openWriter(6));
    const request = { uidValidity: 1, flags: [], internalDate };
    const octets = memoryOctets(mail("one"));
    expect(await writer.position("Nowhere", forever)).toEqual({ kind: "refused", why: "no_mailbox" });
    expect(await writer.append({ ...request, path: "Nowhere", octets }, forever)).toEqual({ kind: "refused", why: "no_mailbox" });
    const large = memoryOctets(Buffer.concat([mail("large"), Buffer.alloc(2_000_000, "x")]));
    const refused = await writer.append({ ...request, path: "Archive", octets: large }, forever);
    expect(refused).toMatchObject({ kind: "refused" });
    expect(writer.usable).toBe(true);
    await using device = await server.device(6);
    await device.command(`SETACL Archive ${server.account(6).user} lr`);
    await using other = disposable(await openWriter(6));
    expect(await other.append({ ...request, path: "Archive", octets }, forever)).toEqual({
      kind: "refused",
      why: "no_permission",
    });
  });
});

describe("what shall be elsewhere, or gone", () => {
  const able = { capabilities: ["MOVE", "UIDPLUS"] };
  const uidsIn = async (n: number, mailbox: string): Promise<readonly number[]> => {
    await using device = await server.device(n);
    await device.select(mailbox);
    return await device.uids(); // Before the device is disposed.
  };

  it("C8: is moved where the server can, and copied where it cannot, marking nothing", async () => {
    const uidValidity = await deliver(8, "one", "two");
    await using writer = disposable(await openWriter(8, able));
    const position = await writer.position("Archive", forever);
    const to = { path: "Archive", uidValidity: "uidValidity" in position ? position.uidValidity : 0 };
    const moved = await writer.move({ path: "INBOX", uidValidity, uids: [1], to }, forever);
    expect(moved).toMatchObject({ kind: "moved", copied: false, items: [{ from: 1, item: { uid: 1 } }] });
    await using unable = disposable(await openWriter(8));
    const copied = await unable.move({ path: "INBOX", uidValidity, uids: [2], to }, forever);
    expect(copied).toMatchObject({ kind: "moved", copied: true, items: [{ from: 2, item: { uid: 2 } }] });
    await using device = await server.device(8);
    await device.select("INBOX");
    expect([...(await device.flags()).entries()]).toEqual([[2, ["Blue", "\\Seen"]]]);
  });

  it("C7: is removed by its number, unless somebody changed it meanwhile, and no other goes with it", async () => {
    const uidValidity = await deliver(9, "one", "two", "three", "four");
    await using device = await server.device(9);
    await device.command("ENABLE CONDSTORE");
    await device.select("INBOX");
    const { untagged } = await device.command("UID FETCH 1:* (MODSEQ)");
    const modseq = BigInt(/MODSEQ \((\d+)\)/.exec(untagged[0]?.line ?? "")?.[1] ?? 0);
    // One is another device's to remove; of the other it took its mark back only to set it again.
    await device.store("2:3", "+", ["\\Deleted"]);
    await using writer = disposable(await openWriter(9, able));
    const items = [1, 3].map((uid) => ({ uid, unchangedSince: modseq }));
    const outcome = await writer.expunge({ path: "INBOX", uidValidity, items }, forever);
    expect(outcome).toMatchObject({ kind: "expunged", conflicts: [3], facts: [{ uid: 3 }], onlyMarked: false });
    expect(await uidsIn(9, "INBOX")).toEqual([2, 3, 4]);
  });

  it("C7: is only marked where it cannot be removed by its number, unless nothing else is marked", async () => {
    const uidValidity = await deliver(10, "one", "two", "three");
    await using device = await server.device(10);
    await device.select("INBOX");
    await device.store("2", "+", ["\\Deleted"]);
    await using writer = disposable(await openWriter(10));
    const items = [{ uid: 1, unchangedSince: null }];
    const outcome = await writer.expunge({ path: "INBOX", uidValidity, items }, forever);
    expect(outcome).toMatchObject({ kind: "expunged", onlyMarked: true, facts: [{ uid: 1 }] });
    expect(await uidsIn(10, "INBOX")).toEqual([1, 2, 3]);
    await device.store("2", "-", ["\\Deleted"]);
    const alone = await writer.expunge({ path: "INBOX", uidValidity, items }, forever);
    expect(alone).toMatchObject({ kind: "expunged", onlyMarked: false, facts: [] });
    expect(await uidsIn(10, "INBOX")).toEqual([2, 3]);
  });
});

function disposable<T extends { close(): Promise<void> }>(writer: T): T & AsyncDisposable {
  return Object.assign(writer, { [Symbol.asyncDispose]: () => writer.close() });
}
