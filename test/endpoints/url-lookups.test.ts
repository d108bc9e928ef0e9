import { lookup } from "node:dns/promises";
import { expect, test, vi } from "vitest";
import { resolveHost, resolveUrlHost } from "../../src/endpoints/egress.ts";

const address = { address: "93.184.216.34", family: 4 as const };
const errorOf = (code: string): Error => Object.assign(new Error(code), { code });
/** What the DNS says of a name; it never answers for those that begin with `slow`. */
const dns = vi.hoisted(() => ({ cancelled: [] as string[] }));

vi.mock("node:dns/promises", () => ({
  lookup: vi.fn(),
  Resolver: class {
    readonly #asked: { name: string; reject: (error: Error) => void }[] = [];
    resolve4(name: string): Promise<string[]> {
      if (name.startsWith("dns.")) return Promise.resolve([address.address]);
      if (name.startsWith("late.")) return Promise.reject(errorOf("ETIMEOUT"));
      if (!name.startsWith("slow")) return Promise.reject(errorOf("ENOTFOUND"));
      return new Promise((_, reject) => this.#asked.push({ name, reject }));
    }
    resolve6(): Promise<string[]> {
      return Promise.reject(errorOf("ENODATA"));
    }
    cancel(): void {
      for (const { name, reject } of this.#asked) {
        dns.cancelled.push(name);
        reject(errorOf("ECANCELLED"));
      }
    }
  },
}));

const rules = { allowPrivateHosts: false };
const { signal } = new AbortController();

test("a slow name in a URL keeps no other from being found, and is given up when it is not wanted any more", async () => {
  const leaving = new AbortController();
  const slow = resolveUrlHost("slow.example", rules, leaving.signal);
  await expect(resolveUrlHost("dns.example", rules, signal)).resolves.toEqual(address);
  expect(dns.cancelled).toEqual([]);
  leaving.abort();
  await expect(slow).rejects.toMatchObject({ kind: "stopped" });
  expect(dns.cancelled).toEqual(["slow.example"]);
  await expect(resolveUrlHost("late.example", rules, signal)).rejects.toMatchObject({ code: "endpoint_unreachable" });
  expect(vi.mocked(lookup)).not.toHaveBeenCalled();
});

test("what only the system knows is asked of it one by one, beside mail servers; what gave up waiting is not looked up", async () => {
  const asked: string[] = [];
  const held = Promise.withResolvers<(typeof address)[]>();
  vi.mocked(lookup).mockImplementation(((name: string) => {
    asked.push(name);
    return name.startsWith("held") ? held.promise : Promise.resolve([address]);
  }) as never);
  await expect(resolveUrlHost("slow-if-the-dns-were-asked", rules, signal)).resolves.toEqual(address);
  asked.length = 0;
  const leaving = new AbortController();
  const first = resolveUrlHost("held1.example", rules, signal);
  const second = resolveUrlHost("held2.example", rules, leaving.signal);
  const third = resolveUrlHost("third.example", rules, signal);
  await expect(resolveHost("imap.example", rules, signal)).resolves.toEqual(address);
  await vi.waitFor(() => expect(asked.toSorted()).toEqual(["held1.example", "imap.example"]));
  leaving.abort();
  await expect(second).rejects.toMatchObject({ kind: "stopped" });
  held.resolve([address]);
  await expect(Promise.all([first, third])).resolves.toEqual([address, address]);
  expect(asked.toSorted()).toEqual(["held1.example", "imap.example", "third.example"]);
});
