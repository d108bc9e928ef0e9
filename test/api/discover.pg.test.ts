/** Likely settings over HTTP: only the domain goes out, and only where it is one of the public Internet. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { DomainDiscoverer } from "../../src/endpoints/discovery/discover.ts";
import { openTestApi, type TestApi } from "../support/api.ts";
import { startNameServer } from "../support/dns-server.ts";

let api: TestApi;
let dns: Awaited<ReturnType<typeof startNameServer>>;

beforeAll(async () => {
  dns = await startNameServer({
    "SRV _imaps._tcp.xn--mnchen-3ya.example": [{ priority: 1, port: 993, name: "mail.example.test" }],
  });
  const discoverer = new DomainDiscoverer({ allowPrivateHosts: false, dnsServers: [dns.address] });
  api = await openTestApi({ config: { allowPrivateHosts: false, probesPerMinute: 1 }, deps: { discoverer } });
});

afterAll(async () => {
  await api.close();
  await dns[Symbol.asyncDispose]();
});

const discover = (email: string) => api.request(`/v1/discover?email=${encodeURIComponent(email)}`);

it("answers likely settings with their source", async () => {
  const { status, body } = await discover("ana@MÜNCHEN.example");
  expect(status).toBe(200);
  expect(body).toEqual({
    items: [
      {
        protocol: "imap",
        host: "mail.example.test",
        port: 993,
        security: "tls",
        auth: "password",
        source: "srv",
        confidence: 0.7,
      },
    ],
    advice: [],
  });
  expect(dns.asked.join(" ")).not.toContain("ana");
});

it("refuses what is no address, and names of a private network", async () => {
  for (const email of ["ana", "ana@", "ana@host", "ana@127.0.0.1", "ana@[::1]", "a@b@example.test x", "ana@a b.test"])
    expect(await discover(email)).toMatchObject({ status: 400, body: { code: "invalid_request" } });
  const asked = dns.asked.length;
  for (const email of ["ana@corp.internal", "ana@printer.local"])
    expect(await discover(email)).toMatchObject({ body: { code: "host_not_allowed" } });
  expect(dns.asked).toHaveLength(asked);
});

it("is rationed as probes are", async () => {
  const made = await api.request("/v1/keys", { json: { name: "k", scopes: ["accounts"] } });
  const ask = () => api.request("/v1/discover?email=ana@gmail.com", { key: String(made.body.key) });
  expect((await ask()).status).toBe(200);
  expect(await ask()).toMatchObject({ status: 429, body: { code: "rate_limited" } });
});
