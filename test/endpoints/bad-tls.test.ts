/** What a look tells of servers whose protection is none, and that they are told no name and no secret. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createServer, type TlsOptions } from "node:tls";
import { beforeAll, expect, test } from "vitest";
import { examinerFor } from "../../src/endpoints/registry.ts";
import type { Diagnosis } from "../../src/model/diagnosis.ts";
import { expiredCertificate } from "../support/certificates.ts";
import { forever, limits, someone } from "./pop3/connection-fixture.ts";

let expired: { readonly cert: string; readonly key: string };
beforeAll(async () => {
  const { certPem, keyPem } = await expiredCertificate();
  expired = { cert: certPem, key: keyPem };
});

/** Looks at a maildrop that greets, and answers every line with a refusal. */
const lookAt = async (options: TlsOptions): Promise<{ readonly diagnosis: Diagnosis; readonly heard: string }> => {
  let heard = "";
  const server = createServer(options, (socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      heard += chunk.toString();
      socket.write("-ERR no\r\n");
    });
    socket.write("+OK\r\n");
  });
  server.on("tlsClientError", () => undefined);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const { port } = server.address() as AddressInfo;
    const tls = { caPem: null, rejectUnauthorized: true };
    const settings = { protocol: "pop3", host: "localhost", port, security: "tls", tls } as const;
    const diagnosis = await examinerFor(limits)({ settings, credentials: someone }, forever);
    return { diagnosis, heard };
  } finally {
    server.close();
  }
};

test("a certificate that has run out is named with its last day", async () => {
  const { diagnosis, heard } = await lookAt(expired);
  expect(diagnosis).toMatchObject({
    reachable: true,
    login: "not_tried",
    failed: { step: "tls", code: "endpoint_tls_failed", message: "The certificate of localhost ran out on 2020-02-01." },
    tls: { version: "TLSv1.3", certificate: { valid: false, problem: "expired", expiresAt: new Date("2020-02-01T00:00:00Z") } },
  });
  expect(diagnosis.advice.map(({ code }) => code)).toEqual(["certificate_expired"]);
  expect(heard).toMatch(/^CAPA\r\n(?:QUIT\r\n)?$/);
});

test("a server that speaks old TLS only is told from one that cannot be reached", async () => {
  const { diagnosis, heard } = await lookAt({
    ...expired,
    minVersion: "TLSv1",
    maxVersion: "TLSv1.1",
    ciphers: "DEFAULT@SECLEVEL=0",
  });
  expect(diagnosis).toMatchObject({ reachable: false, tls: null, failed: { step: "tls", code: "endpoint_tls_failed" } });
  expect(diagnosis.failed?.action).toContain("TLS 1.2 or 1.3");
  expect(heard).toBe("");
});

test("TLS 1.2 with an ephemeral key is good", async () => {
  const { diagnosis } = await lookAt({ ...expired, maxVersion: "TLSv1.2" });
  expect(diagnosis.tls).toMatchObject({ version: "TLSv1.2", forwardSecrecy: true });
});
