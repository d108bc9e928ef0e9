import { describe, expect, test } from "vitest";
import { Capabilities } from "../../../src/endpoints/pop3/capabilities.ts";
import { sizesOf, statOf, uidsOf } from "../../../src/endpoints/pop3/listing.ts";
import { failureOf, forever, openAt } from "./connection-fixture.ts";
import { lineServer } from "./line-server.ts";

const latin1 = (text: string): Buffer => Buffer.from(text, "latin1");

describe("UIDL", () => {
  const long = "x".repeat(300);
  test.each<[string, string, (string | null)[]]>([
    ["ids as they come, twice where they come twice", "1 aaaa\r\n2 aaaa\r\n3 AAAA\r\n", ["aaaa", "aaaa", "AAAA"]],
    ["blanks around an id are none of it, blanks and tabs within are", "1   a b  c  \r\n 2 \tx\r\n", ["a b  c", "\tx"]],
    ["ids of 300 characters", `1 ${long}\r\n2 ${long}y\r\n`, [long, `${long}y`]],
    ["lines without an id", "1\r\n2 \r\n3 c\r\n", [null, null, "c"]],
    ["octets above 127, which stay apart", "1 \xe8\r\n2 \xe9\r\n", ["\xe8", "\xe9"]],
    ["ids of dots", "1 .\r\n2 ..\r\n", [".", ".."]],
    ["lines that end in a bare LF", "1 a\n2 b\n", ["a", "b"]],
  ])("%s", (_, body, ids) => {
    const { messages, unreadable } = uidsOf(latin1(body));
    expect(messages.map(({ uidl }) => uidl)).toEqual(ids);
    expect(unreadable).toBe(0);
  });

  test("lines without a number are counted, not read", () => {
    expect(uidsOf(latin1("x a\r\n0 b\r\n-1 c\r\n1a d\r\n\r\n7 e\r\n"))).toEqual({
      messages: [{ number: 7, uidl: "e" }],
      unreadable: 4,
    });
  });

  test("100,000 of them, and a line that is all blanks, are read at once", () => {
    const many = latin1(Array.from({ length: 100_000 }, (_, at) => `${at + 1} u${at}\r\n`).join(""));
    const started = performance.now();
    expect(uidsOf(many).messages.at(-1)).toEqual({ number: 100_000, uidl: "u99999" });
    expect(uidsOf(Buffer.alloc(20_000_000, " ")).messages).toEqual([]);
    expect(performance.now() - started).toBeLessThan(5000);
  });

  test("more than a million of them are not taken", async () => {
    const many = Buffer.concat([latin1("+OK\r\n"), Buffer.alloc(6_000_006, "1 u\r\n2 v\r\n"), latin1("\r\n.\r\n")]);
    await using server = await lineServer({ CAPA: "+OK\r\nUSER\r\n.\r\n", UIDL: many });
    const connection = await openAt(server);
    const error = await failureOf(connection.uidl(forever));
    expect(error).toMatchObject({ kind: "bug", scope: "endpoint", code: "endpoint_limit_exceeded" });
  });

  test("is null where the server has none", async () => {
    await using without = await lineServer({ CAPA: "+OK\r\nUSER\r\n.\r\n", UIDL: "-ERR unrecognized command\r\n" });
    const connection = await openAt(without);
    expect(await connection.uidl(forever)).toBe(null);
    expect(connection.usable).toBe(true);
    connection.close();
  });
});

test("LIST is read as far as it can be", () => {
  const body = latin1("1 1024\r\n2  2048 extra\r\n3\r\n5 ten\r\n");
  expect(sizesOf(body).messages).toEqual([
    { number: 1, size: 1024 },
    { number: 2, size: 2048 },
    { number: 3, size: null },
    { number: 5, size: null },
  ]);
});

test("STAT is read as far as it can be", () => {
  expect(statOf("7 1024")).toEqual({ count: 7, octets: 1024 });
  expect(statOf("7 #octets")).toEqual({ count: 7, octets: null });
  expect(statOf("  3   17 and more")).toEqual({ count: 3, octets: 17 });
  expect(statOf("")).toEqual({ count: null, octets: null });
});

test("CAPA is read in any case, and a server without it is not taken for one without anything", () => {
  const told = new Capabilities(
    latin1("Top\r\nsasl PLAIN xoauth2\r\nLOGIN-DELAY 300\r\nEXPIRE 0\r\nIMPLEMENTATION Shlemazle v1\r\n"),
  );
  expect([told.known, told.has("TOP"), told.has("UIDL"), told.hasMechanism("XOAUTH2")]).toEqual([true, true, false, true]);
  expect([told.loginDelayMs, told.expireDays, told.implementation]).toEqual([300_000, 0, "SHLEMAZLE V1"]);
  const other = new Capabilities(latin1("EXPIRE NEVER\r\nLOGIN-DELAY x\r\nSASL\r\n"));
  expect([other.loginDelayMs, other.expireDays, other.hasMechanism("PLAIN")]).toEqual([null, null, false]);
  expect(new Capabilities(latin1("EXPIRE 30 USER\r\n")).expireDays).toBe(30);
  expect(new Capabilities(null)).toMatchObject({ known: false, lines: [], loginDelayMs: null, expireDays: null });
});
