/** `npm run explain`: the legs of an account on the terminal, and nothing done about them. */
import { describe, expect, it } from "vitest";
import { dumpCanonical, markWrites, rowsWrittenSince } from "../support/canonical-dump.ts";
import { type Daemon, dovecotAccount, liveAccount } from "../support/daemon.ts";
import type { Dovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { useGround } from "../support/ground.ts";
import { upstreamOf } from "../support/pop3-account.ts";
import type { FreshDatabase } from "../support/postgres.ts";
import { runScript } from "../support/run-script.ts";

let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;

useGround({ users: 1 }, (ground) => {
  ({ server, fresh, daemon } = ground);
});

const explain = (...words: string[]) => runScript("explain", fresh.url, ...words);

const mail = (n: number): Buffer => Buffer.from(`Subject: m${n}\r\n\r\nbody of m${n}\r\n`);

describe("npm run explain", () => {
  it("lays the legs beside each other, says what would follow, and obeys nothing", { timeout: 360_000 }, async () => {
    const { user } = server.account(1);
    await server.deliver({ user, mailbox: "INBOX", messages: [1, 2, 3, 4].map(mail) });
    const id = await liveAccount(daemon, dovecotAccount(server, 1));
    const agreed = await explain(id);
    expect(agreed).toMatchObject({ code: 0, err: "" });
    expect(agreed.out).toContain("INBOX: 4 equal, 0 not");

    await daemon.call("POST", `/v1/accounts/${id}/pause`);
    await eventually("nobody is at it", async () => {
      const { body } = await daemon.call<{ syncState: string }>("GET", `/v1/accounts/${id}/status`);
      return body.syncState === "paused";
    });
    {
      await using device = await server.device(1);
      await device.select("INBOX");
      await device.command("UID STORE 1 +FLAGS (\\Seen)");
      await device.command("UID STORE 2 +FLAGS (\\Deleted)");
      await device.command("UID EXPUNGE 2");
    }
    await server.deliver({ user, mailbox: "INBOX", messages: [mail(5)] });
    const { body } = await daemon.call<{ items: { id: string; subject: string }[] }>("GET", `/v1/accounts/${id}/messages`);
    const third = body.items.find(({ subject }) => subject === "m3");
    await daemon.call("PATCH", `/v1/accounts/${id}/messages/${third?.id ?? ""}`, { keywords: { $flagged: true } });

    const before = [await dumpCanonical(fresh.url), await upstreamOf(server, 1)];
    const mark = await markWrites(fresh.url);
    const told = await explain(id, "INBOX");
    expect(told).toMatchObject({ code: 0, err: "" });
    expect(await rowsWrittenSince(fresh.url, mark)).toBe(0n);
    expect([await dumpCanonical(fresh.url), await upstreamOf(server, 1)]).toEqual(before);

    const lines = told.out.split("\n").map((line) => line.trim().replace(/ plc_[0-9a-f]+/, ""));
    expect(lines).toContain("INBOX: 1 equal, 4 not");
    expect(lines).toContain("UID 1: server [$seen], here [], agreed [] -> take over +$seen");
    expect(lines).toContain("UID 2: server not shown, here [], agreed [] -> look for it elsewhere, then decide why it is gone");
    expect(lines).toContain("UID 3: server [], here [$flagged], agreed [] -> send store +$flagged");
    expect(lines).toContain("UID 5: server [], here not here, agreed nothing -> fetch it");
    expect(await explain(id, "NoSuchMailbox")).toMatchObject({
      code: 2,
      err: 'The account has no mailbox "NoSuchMailbox" on its server.\n',
    });
    expect(told.out).toMatch(/owed: store of plc_[0-9a-f]+ because api_write, planned after 0 tries/);
  });

  it("says what it needs", { timeout: 180_000 }, async () => {
    expect(await explain()).toMatchObject({ code: 2, err: "Usage: npm run explain -- <account> [mailbox]\n" });
    const unknown = await explain("nobody@example.test");
    expect(unknown).toMatchObject({
      code: 2,
      err: "There is no account nobody@example.test. Give its id (acc_…) or its address.\n",
    });
  });
});
