import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { normalizeHost, vetHost } from "../../src/api/host-policy.ts";
import { ProblemError } from "../../src/api/problem.ts";

const noAnswer = async (): Promise<string[]> => [];

const isRefused = async (host: string, answers: string[] = []): Promise<boolean> => {
  const name = normalizeHost(host);
  if (name === null) throw new Error(`${host} is not even a host`);
  try {
    await vetHost(name, "/host", async () => answers);
    return false;
  } catch (error) {
    expect(error).toBeInstanceOf(ProblemError);
    expect(error).toMatchObject({ code: "host_not_allowed", status: 422, errors: [{ in: "body", pointer: "/host" }] });
    return true;
  }
};

describe("hosts an account may not name", () => {
  test.each([
    "127.0.0.1",
    "127.1",
    "0x7f.1",
    "2130706433",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "168.63.129.16",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "[::1]",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "fe80::1",
    "fd00:ec2::254",
    "localhost",
    "LOCALHOST.",
    "db.localhost",
    "printer.local",
    "vault.internal",
    "nas.home.arpa",
  ])("%s is refused", async (host) => {
    expect(await isRefused(host)).toBe(true);
  });

  test("a name is refused when one of its addresses is private", async () => {
    expect(await isRefused("mail.example.test", ["93.184.215.14", "10.0.0.7"])).toBe(true);
    expect(await isRefused("mail.example.test", ["fd12::1"])).toBe(true);
  });
});

describe("hosts an account may name", () => {
  test.each(["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])("%s is taken", async (host) => {
    expect(await isRefused(host)).toBe(false);
  });

  test("a name is taken when all its addresses are public, and when nobody knows it yet", async () => {
    expect(await isRefused("mail.example.test", ["93.184.215.14"])).toBe(false);
    expect(await isRefused("mail.example.test")).toBe(false);
    await vetHost("localhost.example.test", "/host", noAnswer);
  });
});

describe("the one spelling of a host", () => {
  test.each([
    ["IMAP.Example.Test.", "imap.example.test"],
    ["münchen.example", "xn--mnchen-3ya.example"],
    ["[2001:DB8::1]", "2001:db8::1"],
    ["0x7f.1", "127.0.0.1"],
  ])("%s becomes %s", (given, expected) => {
    expect(normalizeHost(given)).toBe(expected);
  });

  test.each([
    "",
    ".",
    "a..b",
    "a b",
    "a\r\nb",
    "a\0b",
    "host:993",
    "user@host",
    "http://host",
    "host/path",
    "a%00b",
    `${"a".repeat(64)}.test`,
    "[mail]extra",
  ])("%j is not a host", (given) => {
    expect(normalizeHost(given)).toBeNull();
  });

  test("a spelling that was taken is taken again and unchanged", () => {
    fc.assert(
      fc.property(fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6(), fc.string()), (host) => {
        const once = normalizeHost(host);
        if (once !== null) expect(normalizeHost(once)).toBe(once);
      }),
    );
  });
});
