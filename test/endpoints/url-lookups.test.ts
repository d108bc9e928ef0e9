import { lookup } from "node:dns/promises";
import { expect, test, vi } from "vitest";
import { resolveHost, resolveUrlHost } from "../../src/endpoints/egress.ts";

vi.mock("node:dns/promises", () => ({ lookup: vi.fn() }));

const rules = { allowPrivateHosts: false };
const address = { address: "93.184.216.34", family: 4 as const };

test("a slow name in a URL keeps no mail server from being found, and what gave up waiting is not looked up", async () => {
  const asked: string[] = [];
  const slow = Promise.withResolvers<(typeof address)[]>();
  vi.mocked(lookup).mockImplementation(((name: string) => {
    asked.push(name);
    return name.startsWith("slow") ? slow.promise : Promise.resolve([address]);
  }) as never);
  const leaving = new AbortController();
  const { signal } = new AbortController();
  const first = resolveUrlHost("slow1.example", rules, signal);
  const second = resolveUrlHost("slow2.example", rules, leaving.signal);
  const third = resolveUrlHost("third.example", rules, signal);
  await expect(resolveHost("imap.example", rules, signal)).resolves.toEqual(address);
  expect(asked.toSorted()).toEqual(["imap.example", "slow1.example"]);
  leaving.abort();
  await expect(second).rejects.toMatchObject({ kind: "stopped" });
  slow.resolve([address]);
  await expect(Promise.all([first, third])).resolves.toEqual([address, address]);
  expect(asked.toSorted()).toEqual(["imap.example", "slow1.example", "third.example"]);
});
