import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { describe, expect, test } from "vitest";
import { Receiver } from "../../src/workers/webhook-request.ts";
import { testCertificates } from "../support/certificates.ts";
import { type Received, startReceiver, status } from "../support/webhook-receiver.ts";

const rules = { allowPrivateHosts: true, allowCleartext: true };

describe("a receiver", () => {
  const send = async (url: string, how: { allowPrivateHosts: boolean; allowCleartext: boolean }) => {
    using receiver = new Receiver({ url, secrets: [`whsec_${Buffer.alloc(32).toString("base64")}`], rules: how });
    return await receiver.send({ id: "x", body: `{"data":{}}` }, AbortSignal.timeout(30_000));
  };

  test("is not spoken to at an address that is not public, whatever it is called", async () => {
    await using inside = await startReceiver();
    const { port } = new URL(inside.url);
    const guarded = { allowPrivateHosts: false, allowCleartext: true };
    for (const host of [
      `127.0.0.1:${port}`,
      "127.0.0.1",
      "localhost",
      "2130706433",
      "[::1]",
      "[::ffff:127.0.0.1]",
      "169.254.169.254",
    ])
      expect((await send(`http://${host}/`, guarded)).result, host).toBe("blocked");
    expect(await send(inside.url, { allowPrivateHosts: true, allowCleartext: false })).toMatchObject({ result: "blocked" });
    expect(inside.received).toEqual([]);
    expect(await send(inside.url, rules)).toMatchObject({ result: "2xx", status: 204 });
  });

  test("has a certificate of its name, by an authority that is trusted", async () => {
    const made = await testCertificates();
    await using secure = await startReceiver(made);
    await using clear = await startReceiver();
    expect(await send(secure.url, rules)).toMatchObject({ result: "unreachable", status: null });
    const trusted = getCACertificates("default");
    try {
      setDefaultCACertificates([...trusted, made.caPem]);
      expect(await send(secure.url, rules)).toMatchObject({ result: "2xx" });
      // It leads to the same place, as the receiver in the clear shows, and the certificate does not name it.
      const named = (url: string): string => url.replace(/localhost|127\.0\.0\.1/, "[::ffff:127.0.0.1]");
      expect(await send(named(clear.url), rules)).toMatchObject({ result: "2xx" });
      expect(await send(named(secure.url), rules)).toMatchObject({ result: "unreachable" });
    } finally {
      setDefaultCACertificates(trusted);
    }
    expect(secure.received).toHaveLength(1);
  });

  test("may answer without end: nothing is read beyond a bound", async () => {
    await using endless = await startReceiver();
    let sent = 0;
    endless.answer((_, response) => {
      response.writeHead(200);
      const more = (): void => {
        while (!response.destroyed) {
          sent += 65_536;
          if (!response.write(Buffer.alloc(65_536))) return void response.once("drain", more);
        }
      };
      more();
    });
    expect(await send(endless.url, rules)).toMatchObject({ result: "2xx", status: 200 });
    expect(sent).toBeLessThan(50_000_000);
  });

  test("that says nothing, or never comes to an end, costs the time of the deadline", async () => {
    await using silent = await startReceiver();
    const secrets = [`whsec_${Buffer.alloc(32).toString("base64")}`];
    for (const how of [() => undefined, (_: Received, response: ServerResponse) => void response.writeHead(200).write("still")]) {
      silent.answer(how);
      using receiver = new Receiver({ url: silent.url, secrets, rules, deadlineMs: 300 });
      const outcome = await receiver.send({ id: "x", body: `{"data":{}}` }, AbortSignal.timeout(30_000));
      expect(outcome).toMatchObject({ result: "timeout", status: null });
    }
  });

  test("that wants to speak another protocol, or answers nothing final, has taken nothing", async () => {
    const answers = [
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
      "HTTP/1.1 101 Switching\r\n\r\n",
    ];
    for (const answer of answers) {
      await using server = createServer((socket) => {
        socket.on("error", () => undefined);
        socket.once("data", () => socket.end(answer));
      }).listen(0, "127.0.0.1");
      await once(server, "listening");
      const { port } = server.address() as AddressInfo;
      expect(await send(`http://127.0.0.1:${port}/`, rules)).toMatchObject({ result: "unreachable" });
    }
  });

  test("tells when to come again, within a day", async () => {
    await using busy = await startReceiver();
    busy.answer(status(429, { "retry-after": "120" }));
    expect(await send(busy.url, rules)).toMatchObject({ result: "4xx", status: 429, retryAfterMs: 120_000 });
    busy.answer(status(503, { "retry-after": "999999999" }));
    expect(await send(busy.url, rules)).toMatchObject({ result: "5xx", retryAfterMs: 86_400_000 });
  });
});
