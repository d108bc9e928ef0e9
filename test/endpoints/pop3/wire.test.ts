import { readdir } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import type { Expectation } from "../../../src/endpoints/pop3/framing.ts";
import { Wire } from "../../../src/endpoints/pop3/wire.ts";
import { InvariantError } from "../../../src/model/failure.ts";
import { eventually } from "../../support/eventually.ts";
import { failureOf, forever, limits, openAt, wholeOf } from "./connection-fixture.ts";
import { type LineServer, lineServer, startLines } from "./line-server.ts";

const capa = "+OK\r\nTOP\r\nUIDL\r\nUSER\r\n.\r\n";
const pipelining = "+OK\r\nTOP\r\nUIDL\r\nUSER\r\nPIPELINING\r\n.\r\n";
const one = { number: 1, size: null };
const lost = { kind: "transient", scope: "endpoint", code: "endpoint_closed" };
const broken = { kind: "bug", scope: "endpoint", code: "endpoint_protocol_error" };
const slow = { kind: "transient", scope: "endpoint", code: "endpoint_timeout" };

const wireTo = async ({ host, port }: LineServer): Promise<Wire> => {
  const socket = connect({ host, port });
  await new Promise<void>((resolve) => socket.once("connect", resolve));
  const wire = new Wire(socket, { silenceMs: 10_000, spoolDir: limits.spoolDir });
  await wire.ask(null, { body: "none" }, 10_000);
  return wire;
};

describe("a connection that ends", () => {
  const replies: readonly (readonly [string, Expectation])[] = [
    ["+OK 2 320\r\n", { body: "none" }],
    ["-ERR [SYS/TEMP] no\r\n", { body: "none" }],
    ["+OK\r\n1 a\r\n2 b\r\n.\r\n", { body: "lines", limit: 1000 }],
    ["+OK 9 octets\r\nSubject: a\r\n\r\n..b\r\n.\r\n", { body: "message", limit: 1000, size: null }],
  ];
  const endings: Readonly<Record<string, (socket: Socket) => void>> = {
    "is closed": (socket) => void socket.end(),
    "is reset": (socket) => void socket.resetAndDestroy(),
  };

  test.each(Object.entries(endings))("fails what was asked, at whatever octet it %s", async (_, end) => {
    for (const [reply, expected] of replies) {
      for (let at = 0; at < reply.length; at += 1) {
        await using server = await startLines("+OK\r\n", (_line, socket) => {
          socket.write(reply.slice(0, at), "latin1", () => end(socket));
          return null;
        });
        const wire = await wireTo(server);
        const asked = wire.ask("ANY\r\n", expected, 10_000);
        const next = wire.ask("NEXT\r\n", expected, 10_000);
        await expect(asked, `${reply} ended at ${at}`).rejects.toBeInstanceOf(Error);
        await expect(next).rejects.toBeInstanceOf(Error);
        await expect(wire.ask("AFTER\r\n", expected, 10_000)).rejects.toBeInstanceOf(Error);
        expect(wire.alive).toBe(false);
      }
    }
  });

  test("keeps what came whole, tells the rest as lost, and leaves no file", async () => {
    const half = Buffer.from(`+OK\r\n${"x\r\n".repeat(700_000)}`);
    await using server = await startLines("+OK\r\n", (line, socket) => {
      if (line === "CAPA") return pipelining;
      if (line === "RETR 1") return "+OK\r\nwhole\r\n.\r\n";
      if (line === "RETR 2") socket.end(half);
      return line.startsWith("RETR") ? null : "+OK\r\n";
    });
    const connection = await openAt(server);
    const read: string[] = [];
    const numbers = [1, 2, 3].map((number) => ({ number, size: null }));
    const reading = async (): Promise<void> => {
      for await (const { octets } of connection.retrMany(numbers, forever)) {
        if (octets !== null) read.push((await wholeOf(octets)).toString());
      }
    };
    expect(await failureOf(reading())).toMatchObject(lost);
    expect(read).toEqual(["whole\r\n"]);
    expect(connection.usable).toBe(false);
    expect(await failureOf(connection.stat(forever))).toMatchObject(lost);
    await eventually("the spool is empty", async () => (await readdir(limits.spoolDir)).length === 0);
  });

  test("with a word of its own while nothing is asked is lost, not broken", async () => {
    await using server = await startLines("+OK\r\n", (line, socket) => {
      if (line === "NOOP") setImmediate(() => socket.end("-ERR Autologout; idle for too long\r\n"));
      return line === "CAPA" ? capa : "+OK\r\n";
    });
    const connection = await openAt(server);
    await connection.noop(forever);
    await eventually("the connection is gone", () => Promise.resolve(!connection.usable));
    expect(await failureOf(connection.stat(forever))).toMatchObject(lost);
  });

  test("is not a confirmation of QUIT, nor is a refusal of it", async () => {
    await using closing = await startLines("+OK\r\n", (line, socket) => {
      if (line === "QUIT") socket.end();
      return line === "QUIT" ? null : line === "CAPA" ? capa : "+OK\r\n";
    });
    await using refusing = await lineServer({ CAPA: capa, QUIT: "-ERR some deleted messages not removed\r\n" });
    for (const server of [closing, refusing]) {
      const connection = await openAt(server);
      await connection.dele(1, forever);
      expect(await connection.quit(forever)).toBe(false);
      expect(connection.usable).toBe(false);
    }
  });
});

describe("a server that takes its time", () => {
  const timing = { commandMs: 200, silenceMs: 100 };

  test("and says nothing is given up", async () => {
    await using server = await startLines("+OK\r\n", (line) => (line === "STAT" ? null : line === "CAPA" ? capa : "+OK\r\n"));
    // Either is enough: the silence, and the time for the whole.
    for (const either of [
      { commandMs: 60_000, silenceMs: 100 },
      { commandMs: 100, silenceMs: 60_000 },
    ]) {
      const connection = await openAt(server, { timing: either });
      const started = performance.now();
      expect(await failureOf(connection.stat(forever))).toMatchObject(slow);
      expect(performance.now() - started).toBeLessThan(5000);
      expect(connection.usable).toBe(false);
    }
  });

  test.each(["STAT", "UIDL"])("and drips without an end is given up: %s", async (verb) => {
    await using server = await startLines("+OK\r\n", (line, socket) => {
      if (line !== verb) return line === "CAPA" ? capa : "+OK\r\n";
      socket.write("+OK\r\n".slice(0, verb === "STAT" ? 3 : 5));
      const drip = setInterval(() => socket.write(" "), 5);
      socket.once("close", () => clearInterval(drip));
      return null;
    });
    const connection = await openAt(server, { timing });
    const started = performance.now();
    expect(await failureOf(verb === "STAT" ? connection.stat(forever) : connection.uidl(forever))).toMatchObject(slow);
    expect(performance.now() - started).toBeLessThan(2000);
  });

  test("is given its time anew for each answer of a flight", async () => {
    let due = 0;
    await using server = await startLines("+OK\r\n", (line, socket) => {
      if (!line.startsWith("RETR")) return line === "CAPA" ? pipelining : "+OK\r\n";
      due += 1;
      setTimeout(() => socket.write("+OK\r\nx\r\n.\r\n"), due * 60);
      return null;
    });
    const connection = await openAt(server, { timing });
    const numbers = [1, 2, 3, 4, 5].map((number) => ({ number, size: 3 }));
    let read = 0;
    for await (const { octets } of connection.retrMany(numbers, forever)) read += octets?.size ?? 0;
    expect(read).toBe(15);
    connection.close();
  });

  test("to greet, or to answer a login, is given up", async () => {
    const brief = { connectMs: 100, loginMs: 100 };
    await using mute = await startLines("", () => null);
    expect(await failureOf(openAt(mute, { timing: brief }))).toMatchObject(slow);
    await using dumb = await startLines("+OK\r\n", () => null);
    expect(await failureOf(openAt(dumb, { timing: brief }))).toMatchObject(slow);
  });

  test("does not hold up who was told to stop", async () => {
    await using server = await startLines("+OK\r\n", (line) =>
      line === "CAPA" ? pipelining : line === "STAT" ? null : "+OK\r\n",
    );
    const connection = await openAt(server);
    const stop = new AbortController();
    const asked = failureOf(connection.stat(stop.signal));
    stop.abort();
    expect(await asked).toMatchObject({ kind: "stopped" });
    expect(connection.usable).toBe(false);
    expect(await failureOf(connection.stat(stop.signal))).toMatchObject({ kind: "stopped" });
    expect(await failureOf(openAt(server, { signal: stop.signal }))).toMatchObject({ kind: "stopped" });
  });
});

describe("commands", () => {
  test("are one line each, whoever made them", async () => {
    await using server = await lineServer({});
    const wire = await wireTo(server);
    for (const line of ["DELE 1\r\nDELE 2\r\n", "DELE 1\nDELE 2\r\n", "DELE\0 1\r\n", "DELE 1", "DELE 1\r\r\n"])
      await expect(wire.ask(line, { body: "none" }, 1000), JSON.stringify(line)).rejects.toBeInstanceOf(InvariantError);
    await wire.ask("NOOP\r\n", { body: "none" }, 1000);
    expect(server.chunks.join("")).toBe("NOOP\r\n");
    wire.destroy();
  });

  test("leave nothing behind when the socket is given back for TLS", async () => {
    await using server = await lineServer({ HALF: "+OK\r\n+O", WHOLE: "+OK\r\n" });
    const half = await wireTo(server);
    await half.ask("HALF\r\n", { body: "none" }, 1000);
    expect(() => half.detach()).toThrow(expect.objectContaining({ code: "STARTTLS_INJECTION" }));
    half.destroy();
    const asking = await wireTo(server);
    const asked = asking.ask("WHOLE\r\n", { body: "none" }, 1000);
    expect(() => asking.detach()).toThrow(expect.objectContaining({ code: "STARTTLS_INJECTION" }));
    await asked;
    const socket = asking.detach();
    expect(asking.alive).toBe(false);
    socket.destroy();
  });

  test("take numbers only", async () => {
    await using server = await lineServer({ CAPA: capa });
    const connection = await openAt(server);
    for (const number of [-1, 1.5, NaN, "1\r\nDELE 2" as unknown as number])
      expect(await failureOf(connection.dele(number, forever))).toMatchObject({ kind: "bug" });
    expect(server.chunks.join("")).not.toContain("DELE");
    connection.close();
  });

  test("go one at a time where the server does not offer more, else up to the window", async () => {
    for (const [offer, most] of [
      [capa, 1],
      [pipelining, 256],
    ] as const) {
      let unanswered = 0;
      let seen = 0;
      await using server = await startLines("+OK\r\n", (line, socket) => {
        if (line === "CAPA") return offer;
        if (!line.startsWith("TOP")) return "+OK\r\n";
        unanswered += 1;
        seen = Math.max(seen, unanswered);
        setImmediate(() => {
          unanswered -= 1;
          socket.write("+OK\r\nx\r\n.\r\n");
        });
        return null;
      });
      const connection = await openAt(server);
      const numbers = Array.from({ length: 600 }, (_, at) => ({ number: at + 1, size: null }));
      const stats = [connection.noop(forever), connection.noop(forever)];
      const read: number[] = [];
      for await (const { number } of connection.topMany(numbers, 0, forever)) read.push(number);
      await Promise.all(stats);
      expect(read).toEqual(numbers.map(({ number }) => number));
      if (most === 1) expect(seen).toBe(1);
      else expect(seen > 8 && seen <= most, `${seen} under way`).toBe(true);
      expect(await connection.quit(forever)).toBe(true);
    }
  });

  test("are not sent for more than a bounded number of messages ahead of the consumer, and all are answered to", async () => {
    await using server = await startLines("+OK\r\n", (line) =>
      line === "CAPA" ? pipelining : line.startsWith("RETR") ? "+OK\r\nx\r\n.\r\n" : "+OK\r\n",
    );
    const connection = await openAt(server);
    const small = Array.from({ length: 1000 }, (_, at) => ({ number: at + 1, size: 3 }));
    for await (const { number, octets } of connection.retrMany(small, forever)) {
      await octets?.dispose();
      if (number === 3) break;
    }
    expect((await connection.stat(forever)).count).toBe(null);
    expect(server.chunks.join("").match(/RETR/g)?.length).toBeLessThanOrEqual(515);
    const large = small.map(({ number }) => ({ number, size: 5_000_000 }));
    const before = server.chunks.join("").match(/RETR/g)?.length ?? 0;
    for await (const { octets } of connection.retrMany(large, forever)) {
      await octets?.dispose();
      break;
    }
    await connection.noop(forever);
    expect((server.chunks.join("").match(/RETR/g)?.length ?? 0) - before).toBe(1);
    connection.close();
  });
});

describe("a server that speaks something else", () => {
  test.each(["* OK IMAP4rev1 ready\r\n", "220 smtp.example.org\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "\xff\0\x15\x03\r\n"])(
    "is given up at its greeting: %j",
    async (greeting) => {
      await using server = await lineServer({}, greeting);
      expect(await failureOf(openAt(server))).toMatchObject(broken);
      expect(server.chunks).toEqual([]);
    },
  );

  test("later on is given up too, and what it sends without an end is not kept", async () => {
    await using server = await lineServer({ CAPA: capa, RETR: "what?\r\n", STAT: Buffer.alloc(100_000, "+") });
    const reading = await openAt(server);
    expect(await failureOf(reading.retr(one, forever))).toMatchObject(broken);
    const asking = await openAt(server);
    expect(await failureOf(asking.stat(forever))).toMatchObject({ ...broken, code: "endpoint_limit_exceeded" });
  });
});
