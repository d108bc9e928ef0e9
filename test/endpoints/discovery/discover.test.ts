/** What a domain says of its mail servers: by DNS, by a file, and by where its mail goes. */
import { once } from "node:events";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import type { RequestListener } from "node:http";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isHostName, readAutoconfig } from "../../../src/endpoints/discovery/autoconfig.ts";
import { DomainDiscoverer } from "../../../src/endpoints/discovery/discover.ts";
import { readPage } from "../../../src/endpoints/discovery/page.ts";
import { providers } from "../../../src/endpoints/discovery/providers.ts";
import { testCertificates } from "../../support/certificates.ts";
import { startNameServer } from "../../support/dns-server.ts";

const forever = new AbortController().signal;

const serverXml = (type: string, host: string, port: number, socketType: string, rest = ""): string =>
  `<incomingServer type="${type}"><hostname>${host}</hostname><port>${port}</port><socketType>${socketType}</socketType>
   <username>%EMAILADDRESS%</username><authentication>password-cleartext</authentication>${rest}</incomingServer>`;

const file = (...servers: readonly string[]): string =>
  `<?xml version="1.0"?><clientConfig version="1.1"><emailProvider id="example.test"><domain>example.test</domain>
   ${servers.join("\n")}<outgoingServer type="smtp"><hostname>smtp.example.test</hostname><port>465</port><socketType>SSL</socketType></outgoingServer>
   </emailProvider></clientConfig>`;

interface Web extends AsyncDisposable {
  readonly port: number;
  readonly caPem: string;
}

const startWeb = async (answer: RequestListener): Promise<Web> => {
  const { certPem, keyPem, caPem } = await testCertificates();
  const server: Server = createServer({ cert: certPem, key: keyPem }, answer);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    caPem,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
};

describe("an autoconfig file", () => {
  it("gives the servers that mail is read from, in its order, and none in the clear", () => {
    const xml = file(
      serverXml("imap", "IMAP.%EMAILDOMAIN%", 993, "SSL"),
      serverXml("imap", "imap.example.test", 143, "plain"),
      serverXml("pop3", " pop.example.test ", 110, "STARTTLS"),
      serverXml("exchange", "ews.example.test", 443, "SSL"),
      serverXml("imap", "127.0.0.1", 993, "SSL"),
      serverXml("imap", "imap.example.test", 99_999, "SSL"),
    ).replace("<authentication>password-cleartext", "<authentication>OAuth2</authentication><authentication>password-cleartext");
    expect(readAutoconfig(xml, "example.test")).toEqual([
      { protocol: "imap", host: "imap.example.test", port: 993, security: "tls", auth: "oauth2" },
      { protocol: "pop3", host: "pop.example.test", port: 110, security: "starttls", auth: "password" },
    ]);
  });

  it("may be anything at all", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(fc.string(), fc.constantFrom("<incomingServer type='imap'>", "<hostname>", "</incomingServer>", "<!ENTITY")),
        ),
        (parts) => readAutoconfig(parts.join(""), "example.test").every(({ host }) => isHostName(host)),
      ),
    );
  });
});

describe("a page", () => {
  it("is read over TLS, whole or not at all, and redirects have the same walls", async () => {
    await using web = await startWeb((request, response) => {
      if (request.url === "/ok") response.end("fine");
      else if (request.url === "/to-ok") response.writeHead(301, { location: "/ok" }).end();
      else if (request.url === "/to-clear") response.writeHead(302, { location: "http://localhost/ok" }).end();
      else if (request.url === "/round") response.writeHead(302, { location: "/round" }).end();
      else if (request.url === "/large") response.end("x".repeat(65 * 1024));
      else response.writeHead(404).end("no");
    });
    const rules = { allowPrivateHosts: true, caPem: web.caPem };
    const read = (path: string): Promise<string | null> => readPage(`https://localhost:${web.port}${path}`, rules, forever);
    expect(await Promise.all(["/ok", "/to-ok", "/to-clear", "/round", "/large", "/none"].map(read))).toEqual([
      "fine",
      "fine",
      null,
      null,
      null,
      null,
    ]);
    // Whose certificate nobody vouches for is not listened to.
    await expect(readPage(`https://localhost:${web.port}/ok`, { allowPrivateHosts: true }, forever)).rejects.toThrow(
      /certificate/,
    );
  });

  it("is not waited for where the server wants to speak another protocol", async () => {
    await using web = await startWeb((request) => {
      request.socket.end("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    });
    const read = readPage(
      `https://localhost:${web.port}/`,
      { allowPrivateHosts: true, caPem: web.caPem },
      AbortSignal.timeout(20_000),
    );
    await expect(read).rejects.toThrow("closed without an answer");
  });

  it("is not asked for at a private address, or at another port, by any name", async () => {
    const rules = { allowPrivateHosts: false };
    for (const url of [
      "https://localhost/",
      "https://127.0.0.1/",
      "https://[::1]/",
      "https://0x7f.1/",
      "https://169.254.169.254/",
    ])
      await expect(readPage(url, rules, forever)).rejects.toMatchObject({ code: "host_not_allowed" });
    for (const url of ["https://example.test:8443/", "http://example.test/", "https://u:p@example.test/"])
      expect(await readPage(url, rules, forever)).toBeNull();
  });
});

describe("discovery", () => {
  it("joins what DNS and the web server of the domain say, surest first, and tells nobody the address", async () => {
    const urls: (string | undefined)[] = [];
    await using web = await startWeb((request, response) => {
      urls.push(request.url);
      response.end(
        file(serverXml("imap", "imap.localhost.test", 993, "SSL"), serverXml("pop3", "pop.localhost.test", 995, "SSL")),
      );
    });
    await using dns = await startNameServer({
      "SRV _imaps._tcp.localhost": [
        { priority: 20, port: 1993, name: "second.localhost.test" },
        { priority: 10, port: 993, name: "imap.localhost.test" },
      ],
      "SRV _imap._tcp.localhost": [{ priority: 0, port: 0, name: "." }],
    });
    const options = { allowPrivateHosts: true, caPem: web.caPem, dnsServers: [dns.address], webPort: web.port };
    expect(await new DomainDiscoverer(options).discover("localhost")).toEqual({
      items: [
        {
          protocol: "imap",
          host: "imap.localhost.test",
          port: 993,
          security: "tls",
          auth: "password",
          source: "autoconfig",
          confidence: 0.85,
        },
        {
          protocol: "pop3",
          host: "pop.localhost.test",
          port: 995,
          security: "tls",
          auth: "password",
          source: "autoconfig",
          confidence: 0.85,
        },
      ],
      advice: [],
    });
    expect(new Set(urls)).toEqual(new Set(["/.well-known/autoconfig/mail/config-v1.1.xml"]));
    expect(dns.asked.toSorted()).toEqual(
      ["MX localhost", ...["_imap", "_imaps", "_pop3s"].map((service) => `SRV ${service}._tcp.localhost`)].toSorted(),
    );
  });

  it("knows a provider by where the mail of a domain goes, and takes the domain's own word beside it", async () => {
    await using dns = await startNameServer({
      "MX example.test": [{ priority: 1, name: "ASPMX.L.Google.com" }],
      "SRV _pop3s._tcp.example.test": [{ priority: 1, port: 995, name: "pop.example.test" }],
    });
    const found = await new DomainDiscoverer({ allowPrivateHosts: false, dnsServers: [dns.address] }).discover("example.test");
    expect(found?.items.map(({ host, source }) => [host, source])).toEqual([
      ["imap.gmail.com", "provider"],
      ["pop.gmail.com", "provider"],
      ["pop.example.test", "srv"],
    ]);
    expect(found?.advice).toEqual([expect.stringContaining("app password")]);
  });

  it("asks nobody about the address of a large provider", async () => {
    await using dns = await startNameServer({});
    const discoverer = new DomainDiscoverer({ allowPrivateHosts: false, dnsServers: [dns.address] });
    for (const { domains, imap } of providers) {
      const found = await discoverer.discover(domains[0] ?? "");
      expect(found?.items[0]?.host ?? null).toBe(imap);
      expect(found?.advice).toHaveLength(1);
    }
    expect(dns.asked).toEqual([]);
  });

  it("answers with nothing for a domain that says nothing", async () => {
    await using dns = await startNameServer({});
    const discoverer = new DomainDiscoverer({ allowPrivateHosts: false, dnsServers: [dns.address] });
    expect(await discoverer.discover("nothing.test")).toEqual({ items: [], advice: [] });
  });
});
