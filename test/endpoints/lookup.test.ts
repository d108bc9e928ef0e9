import { lookup } from "node:dns/promises";
import { beforeEach, expect, test, vi } from "vitest";
import { resolveHost } from "../../src/endpoints/egress.ts";

const address = { address: "93.184.216.34", family: 4 as const };
const errorOf = (code: string): Error => Object.assign(new Error(code), { code });
const world = vi.hoisted(() => ({ cancelled: [] as string[], hosts: "" }));

vi.mock("node:fs/promises", () => ({ readFile: () => Promise.resolve(world.hosts) }));
vi.mock("node:dns/promises", () => ({
  lookup: vi.fn(),
  /** Knows what begins with `dns.` and `six.`, and never answers for what begins with `slow.`. */
  Resolver: class {
    readonly #asked: { name: string; reject: (error: Error) => void }[] = [];
    resolve4(name: string): Promise<string[]> {
      if (name.startsWith("dns.")) return Promise.resolve([address.address]);
      if (name.startsWith("late.")) return Promise.reject(errorOf("ETIMEOUT"));
      if (name.startsWith("refused.")) return Promise.reject(errorOf("ESERVFAIL"));
      if (!name.startsWith("slow.")) return Promise.reject(errorOf(name.startsWith("six.") ? "ENODATA" : "ENOTFOUND"));
      return new Promise((_, reject) => this.#asked.push({ name, reject }));
    }
    resolve6(name: string): Promise<string[]> {
      if (name.startsWith("refused.")) return Promise.reject(errorOf("EREFUSED"));
      return name.startsWith("six.") ? Promise.resolve(["2606:4700::1111"]) : Promise.reject(errorOf("ENODATA"));
    }
    cancel(): void {
      for (const { name, reject } of this.#asked) {
        world.cancelled.push(name);
        reject(errorOf("ECANCELLED"));
      }
    }
  },
}));

const rules = { allowPrivateHosts: false };
const { signal } = new AbortController();
beforeEach(() => {
  world.hosts = "";
  vi.mocked(lookup).mockReset();
});

test("a name that is slow to be found keeps no other waiting, and is given up when it is not wanted any more", async () => {
  const leaving = new AbortController();
  const slow = Array.from({ length: 20 }, () => resolveHost("slow.example", rules, leaving.signal));
  await expect(resolveHost("dns.example", rules, signal)).resolves.toEqual(address);
  await expect(resolveHost("six.example", rules, signal)).resolves.toEqual({ address: "2606:4700::1111", family: 6 });
  expect(world.cancelled).toEqual([]);
  leaving.abort();
  for (const one of slow) await expect(one).rejects.toMatchObject({ kind: "stopped" });
  expect(world.cancelled.length).toBeGreaterThanOrEqual(20);
  await expect(resolveHost("late.example", rules, signal)).rejects.toMatchObject({ code: "endpoint_unreachable" });
  expect(vi.mocked(lookup)).not.toHaveBeenCalled();
});

test("the hosts file comes before the DNS, and is vetted as all else", async () => {
  world.hosts =
    "# dns.example is 10.0.0.9\n127.0.0.1\tlocalhost\n1.1.1.1  other.example DNS.example # here\n10.0.0.1 inner.example\n";
  await expect(resolveHost("dns.example", rules, signal)).resolves.toEqual({ address: "1.1.1.1", family: 4 });
  for (const name of ["localhost", "inner.example"])
    await expect(resolveHost(name, rules, signal)).rejects.toMatchObject({ code: "host_not_allowed" });
});

test("what only the system knows is asked of it one by one, and names without a dot wait for none with one", async () => {
  const asked: string[] = [];
  const held = Promise.withResolvers<(typeof address)[]>();
  vi.mocked(lookup).mockImplementation(((name: string) => {
    asked.push(name);
    return name.startsWith("held") ? held.promise : Promise.resolve([address]);
  }) as never);
  const leaving = new AbortController();
  const first = resolveHost("held1.example", rules, signal);
  const second = resolveHost("held2.example", rules, leaving.signal);
  const third = resolveHost("third.example", rules, signal);
  await expect(resolveHost("short", rules, signal)).resolves.toEqual(address);
  await vi.waitFor(() => expect(asked.toSorted()).toEqual(["held1.example", "short"]));
  leaving.abort();
  await expect(second).rejects.toMatchObject({ kind: "stopped" });
  held.resolve([address]);
  await expect(Promise.all([first, third])).resolves.toEqual([address, address]);
  // A cluster's names are only found with its search domains.
  await expect(resolveHost("refused.example", rules, signal)).resolves.toEqual(address);
  expect(asked.toSorted()).toEqual(["held1.example", "refused.example", "short", "third.example"]);
});
