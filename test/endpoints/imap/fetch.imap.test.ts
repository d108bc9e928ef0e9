import { readdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Dovecot, startDovecot } from "../../support/dovecot.ts";
import { makeMessages } from "../../support/messages.ts";
import { startScripted } from "../../support/scripted-server.ts";
import { fetchAll, forever, limits, openAt, openDovecot } from "./session-fixture.ts";

const uidValidity = 1717488672;
const inbox = (from: number, to: number) => ({ path: "INBOX", uidValidity, ranges: [{ from, to }] });
const fetches = (lines: readonly { readonly line: string }[]): string[] =>
  lines.map(({ line }) => line).filter((line) => line.includes("UID FETCH"));

describe("fetching from a real server", () => {
  let dovecot: Dovecot;
  const made = [...makeMessages({ count: 120, seed: 7 })];
  const large = Buffer.concat([Buffer.from("Subject: large\r\n\r\n"), Buffer.alloc(5_000_000, "0123456789abcdef\r\n")]);
  beforeAll(async () => {
    dovecot = await startDovecot();
    for (const user of ["user1", "user2", "user3", "user4"]) {
      await dovecot.deliver({
        user,
        mailbox: "INBOX",
        messages: [...made.map(({ raw, flags, internalDate }) => ({ raw, flags, internalDate })), large],
      });
    }
  });
  afterAll(() => dovecot.stop());

  const check = async (
    n: number,
    profile: { connectionBudget?: number },
    ranges: { from: number; to: number }[],
  ): Promise<void> => {
    const session = await openDovecot(dovecot, n, { profile });
    const { uidValidity: epoch } = await session.observe({ path: "INBOX", since: null, boundCount: null }, forever);
    const { items, rangesDone, early } = await fetchAll(session, { path: "INBOX", uidValidity: epoch, ranges });
    expect(rangesDone).toEqual(ranges.map(({ from, to }) => `${from}:${to}`));
    const expected = ranges.flatMap(({ from, to }) =>
      Array.from({ length: Math.min(to, 121) - from + 1 }, (_, index) => from + index),
    );
    // Dovecot answers commands that wait together in turns, so the ranges of a bulk read may come mixed.
    expect(items.map(({ uid }) => uid).sort((a, b) => a - b)).toEqual(expected.sort((a, b) => a - b));
    expect(early).toEqual([]);
    for (const { uid, raw, internalDate, flags, octets } of items) {
      const original = made[uid - 1];
      const wanted = original?.raw ?? large;
      expect(raw?.equals(wanted)).toBe(true);
      expect(octets?.size).toBe(wanted.length);
      if (original === undefined) continue;
      expect(Math.floor(internalDate.getTime() / 1000)).toBe(Math.floor(original.internalDate.getTime() / 1000));
      expect(flags.filter((flag) => flag !== "\\Recent").sort()).toEqual([...original.flags].sort());
    }
    await session.close();
    expect(readdirSync(limits.spoolDir)).toEqual([]);
  };

  test("brings a few messages byte for byte on the session's own connection", async () => {
    await check(1, {}, [
      { from: 100, to: 121 },
      { from: 3, to: 5 },
    ]);
  });

  test("brings many messages byte for byte on a second connection", async () => {
    await check(2, {}, [
      { from: 61, to: 200 },
      { from: 1, to: 60 },
    ]);
  });

  test("brings many messages byte for byte where only one connection is allowed", async () => {
    await check(3, { connectionBudget: 1 }, [
      { from: 61, to: 200 },
      { from: 1, to: 60 },
    ]);
  });

  test("reads without marking anything as read, which a rival that reads shows", async () => {
    await using device = await dovecot.device(4);
    const state = async (): Promise<string> => {
      await device.select("INBOX");
      const { untagged } = await device.command("FETCH 1:* (UID FLAGS MODSEQ)");
      return untagged
        .map(({ line }) => line)
        .filter((line) => line.includes("FETCH"))
        .join("\n");
    };
    await state();
    const before = await state();
    await check(4, {}, [{ from: 1, to: 200 }]);
    await check(4, { connectionBudget: 1 }, [{ from: 1, to: 200 }]);
    await check(4, {}, [{ from: 1, to: 40 }]);
    expect(await state()).toBe(before);
    await device.command("FETCH 1:* (BODY[])");
    expect(await state()).not.toBe(before);
  });

  test("ends with a mailbox's error when the mailbox was numbered anew", async () => {
    const session = await openDovecot(dovecot, 1);
    for (const to of [5, 500]) {
      const request = { path: "INBOX", uidValidity: 1, ranges: [{ from: 1, to }] };
      await expect(fetchAll(session, request)).rejects.toMatchObject({ scope: "mailbox" });
    }
    expect(session.usable).toBe(true);
    await session.close();
  });

  test("removes spool files when the consumer leaves early and when it is stopped", async () => {
    const session = await openDovecot(dovecot, 3, { profile: { connectionBudget: 1 } });
    const { uidValidity: epoch } = await session.observe({ path: "INBOX", since: null, boundCount: null }, forever);
    for await (const batch of session.fetch({ path: "INBOX", uidValidity: epoch, ranges: [{ from: 121, to: 121 }] }, forever)) {
      expect(batch.items[0]?.octets?.size).toBe(large.length);
      expect(readdirSync(limits.spoolDir)).toHaveLength(1);
      break;
    }
    expect(readdirSync(limits.spoolDir)).toEqual([]);
    const stop = new AbortController();
    stop.abort();
    await expect(
      fetchAll(session, { path: "INBOX", uidValidity: epoch, ranges: [{ from: 1, to: 5 }] }, stop.signal),
    ).rejects.toMatchObject({ kind: "stopped" });
    expect((await fetchAll(session, { path: "INBOX", uidValidity: epoch, ranges: [{ from: 1, to: 2 }] })).items).toHaveLength(2);
    await session.close();
  });

  test("goes on with one connection when the server allows no second", async () => {
    await using narrow = await startDovecot({ maxUserIpConnections: 1 });
    await narrow.deliver({ user: "user1", mailbox: "INBOX", messages: made.map(({ raw }) => raw) });
    const session = await openDovecot(narrow, 1);
    const { uidValidity: epoch } = await session.observe({ path: "INBOX", since: null, boundCount: null }, forever);
    const { items } = await fetchAll(session, { path: "INBOX", uidValidity: epoch, ranges: [{ from: 1, to: 200 }] });
    expect(items.map(({ raw }, index) => raw?.equals(made[index]?.raw ?? Buffer.alloc(0)))).toEqual(made.map(() => true));
    expect(session.profile.connectionBudget).toBe(1);
    await session.close();
  });
});

describe("fetching from an odd server", () => {
  test("asks for a few messages by one command, without setting flags", async () => {
    await using server = await startScripted();
    const session = await openAt(server);
    const { items } = await fetchAll(session, inbox(101, 103));
    expect(items.map(({ uid, unavailable }) => [uid, unavailable])).toEqual([
      [101, null],
      [102, null],
      [103, null],
    ]);
    expect(items[0]?.internalDate.toISOString()).toBe("2024-06-04T08:10:00.000Z");
    expect(fetches(server.received)).toHaveLength(1);
    expect(fetches(server.received)[0]).toContain("BODY.PEEK[]<0.");
    await session.close();
  });

  test.each([
    [
      "NIL in place of the octets",
      {
        on: /^UID FETCH 101:103/,
        reply: ["* 1 FETCH (UID 101 FLAGS () BODY[]<0> NIL)\r\n* 2 FETCH (UID 102 FLAGS () BODY[]<0> {2}\r\nok)\r\n{ok}"],
      },
    ],
    [
      "a line without the octets",
      { on: /^UID FETCH 101:103/, reply: ["* 1 FETCH (UID 101 FLAGS ())\r\n* 2 FETCH (UID 102 BODY[]<0> {2}\r\nok)\r\n{ok}"] },
    ],
  ])("tells %s as unavailable, and asks again for what was left out", async (_, rule) => {
    await using server = await startScripted({ rules: [rule] });
    const session = await openAt(server);
    const { items, rangesDone } = await fetchAll(session, inbox(101, 103));
    expect(items.map(({ uid, raw, unavailable }) => [uid, raw === null, unavailable === null])).toEqual([
      [101, true, false],
      [102, false, true],
      [103, false, true],
    ]);
    expect(rangesDone).toEqual(["101:103"]);
    await session.close();
  });

  test.each([
    "{tag} NO Some of the requested messages no longer exist.\r\n",
    "{tag} NO [SERVERBUG] cannot\r\n",
    "{tag} BAD set too large\r\n",
  ])("finds the one message that a server will not give, and brings the others (%s)", async (refusal) => {
    await using server = await startScripted({ rules: [{ on: /^UID FETCH (102\b|\S*\b102\b|10[01]:)/, reply: [refusal] }] });
    const session = await openAt(server);
    const { items } = await fetchAll(session, inbox(101, 103));
    expect(items.map(({ uid, raw }) => [uid, raw !== null])).toEqual([
      [101, true],
      [102, false],
      [103, true],
    ]);
    expect(items[1]?.unavailable).toContain("leaves it out");
    expect(session.usable).toBe(true);
    await session.close();
  });

  test("does not hold a message for missing that is not there", async () => {
    await using server = await startScripted({ state: { uids: [101, 103] } });
    const session = await openAt(server);
    const { items } = await fetchAll(session, inbox(100, 105));
    expect(items.map(({ uid }) => uid)).toEqual([101, 103]);
    await session.close();
  });

  test("reports a message above the limit and goes on", async () => {
    const body = (size: number): Buffer => Buffer.from(`Subject: x\r\n\r\n${"x".repeat(size)}`);
    await using server = await startScripted({ messages: [body(10), body(900_000), body(20)] });
    const session = await openAt(server, { limits: { maxMessageBytes: 800_000 } });
    const { items } = await fetchAll(session, inbox(101, 103));
    expect(items.map(({ raw }) => raw?.length ?? null)).toEqual([24, null, 34]);
    expect(items[1]?.unavailable).toContain("larger");
    await session.close();
  });

  test("does not believe a size: a message is as large as it turns out to be", async () => {
    const body = Buffer.from(`Subject: x\r\n\r\n${"0123456789".repeat(60_000)}`);
    await using server = await startScripted({ messages: [body], fetchPatch: { 101: { "RFC822.SIZE": "12" } } });
    const session = await openAt(server);
    const { items } = await fetchAll(session, inbox(101, 101));
    expect(items[0]?.raw?.equals(body)).toBe(true);
    await session.close();
    const strict = await openAt(server, { limits: { maxMessageBytes: 300_000 } });
    expect((await fetchAll(strict, inbox(101, 101))).items[0]?.octets).toBeNull();
    await strict.close();
  });

  test("asks for some items all over a mailbox in one command, and for nothing of their text", async () => {
    await using server = await startScripted({
      messages: ["a", "bb", "ccc"].map((text) => Buffer.from(`Subject: x\r\n\r\n${text}`)),
    });
    const session = await openAt(server);
    const ranges = [101, 103].map((uid) => ({ from: uid, to: uid }));
    const found: (readonly [uid: number, size: number])[] = [];
    for await (const items of session.heads({ path: "INBOX", uidValidity, ranges, bare: true }, forever))
      found.push(...items.map(({ uid, size }) => [uid, size] as const));
    expect(found).toEqual([
      [101, 15],
      [103, 17],
    ]);
    const asked = fetches(server.received);
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatch(/UID FETCH 101,103 \(UID FLAGS INTERNALDATE RFC822\.SIZE[^[]*\)$/u);
    await session.close();
  });

  test("passes on that a flag of another message changed meanwhile", async () => {
    await using server = await startScripted({
      rules: [
        { on: /^UID FETCH 101 /, reply: ["* 3 FETCH (UID 103 FLAGS (\\Seen))\r\n{baseline}* 2 FETCH (FLAGS (\\Seen))\r\n{ok}"] },
      ],
    });
    const session = await openAt(server);
    const { items } = await fetchAll(session, inbox(101, 101));
    expect(items.map(({ uid, flags }) => [uid, flags])).toEqual([[101, []]]);
    await session.close();
  });

  test.each([
    [
      "a connection cut in the middle of a literal",
      { on: /^UID FETCH/, reply: ["* 1 FETCH (UID 101 BODY[]<0> {500}\r\nhalf of"], ending: "close" as const },
    ],
    ["a literal larger than anything", { on: /^UID FETCH/, reply: ["* 1 FETCH (UID 101 BODY[]<0> {99999999999999999999}\r\nx"] }],
    ["a reset", { on: /^UID FETCH/, reply: ["* 1 FE"], ending: "reset" as const }],
  ])("gives nothing of a message after %s", async (_, rule) => {
    await using server = await startScripted({ rules: [rule] });
    const session = await openAt(server);
    await expect(fetchAll(session, inbox(101, 103))).rejects.toMatchObject({ name: "SyncError", scope: "endpoint" });
    expect(session.usable).toBe(false);
    await session.close();
  });

  test("reads what one byte per packet brings", async () => {
    await using server = await startScripted({
      rules: [{ on: /^UID FETCH 101 /, reply: ["{baseline}{ok}"], chunk: 1, delayMs: 0 }],
    });
    const session = await openAt(server);
    const { items } = await fetchAll(session, inbox(101, 101));
    expect(items[0]?.raw?.toString()).toContain("hello one");
    await session.close();
  });

  test("lets other verbs through between the batches of a long read", async () => {
    const messages = Array.from({ length: 130 }, (_, index) => Buffer.from(`Subject: ${index}\r\n\r\n${"x".repeat(250_000)}`));
    await using server = await startScripted({ messages });
    const session = await openAt(server, { profile: { connectionBudget: 1 } });
    const order: string[] = [];
    let asked: Promise<unknown> | null = null;
    for await (const batch of session.fetch({ path: "INBOX", uidValidity, ranges: [{ from: 101, to: 230 }] }, forever)) {
      order.push(`batch ${batch.items.length > 0}`);
      asked ??= session.survey(forever).then(() => order.push("survey"));
    }
    await asked;
    expect(order.indexOf("survey")).toBeGreaterThan(0);
    expect(order.indexOf("survey")).toBeLessThan(order.length - 1);
    await session.close();
  });
});
