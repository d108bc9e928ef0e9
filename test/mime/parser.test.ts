import { afterEach, describe, expect, it } from "vitest";
import { openParser, type Parser, type ParserOptions } from "../../src/mime/parser.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { eventually } from "../support/eventually.ts";
import { nest, siblingBomb } from "../support/hostile-mail.ts";

let parser: Parser | undefined;

const open = (options: Partial<ParserOptions> = {}): Parser =>
  (parser = openParser({ threads: 1, timeoutMs: 20_000, maxHeapMb: 256, log: createLogger({ level: "silent" }), ...options }));

afterEach(async () => {
  await parser?.[Symbol.asyncDispose]();
  parser = undefined;
});

const plain = Buffer.from("Subject: s\r\n\r\nhello\r\n");
const parsedPlain = { status: "parsed", preview: "hello", attachments: [], searchText: "hello" };
/** Sanitising this takes over a minute of a thread and much of its heap. */
const openTags = Buffer.from(`Content-Type: text/html\r\n\r\n${"<div>".repeat(400_000)}`);

/** A message whose octets are read part by part, and never where `gate` is not open. */
const streamed = (parts: readonly Buffer[], gate: Promise<unknown> = Promise.resolve()) => ({
  size: parts.reduce((sum, { length }) => sum + length, 0),
  sha256: Buffer.alloc(32),
  head: parts[0] ?? Buffer.alloc(0),
  dispose: () => Promise.resolve(),
  async *parts() {
    for (const part of parts) {
      await gate;
      yield part;
    }
  },
});
const mebibyte = Buffer.from("Content-Type: application/pdf\r\nContent-Transfer-Encoding: 8bit\r\n\r\n".padEnd(1024 * 1024, "x"));

describe("the parser", () => {
  it("has no thread before the first message, and none when it was idle for a while", async () => {
    open({ idleMs: 20 });
    expect(parser?.threads).toBe(0);
    expect(await parser?.parse(plain)).toEqual(parsedPlain);
    await eventually("the thread has ended", () => parser?.threads === 0);
  });

  it("parses many messages side by side with no more threads than allowed", async () => {
    const two = open({ threads: 2 });
    const messages = Array.from({ length: 100 }, (_, at) => Buffer.from(`Subject: s\r\n\r\nnumber ${at}`));
    const parsed = await Promise.all(messages.map((message) => two.parse(message)));
    expect(parsed.map((one) => one.status === "parsed" && one.preview)).toEqual(messages.map((_, at) => `number ${at}`));
    expect(two.threads).toBeLessThanOrEqual(2);
  });

  it("leaves the octets it was given as they were", async () => {
    const copy = Buffer.from(plain);
    await open().parse(copy);
    expect(copy).toEqual(plain);
  });

  it("reads a large message part by part, and gives its attachment whole", async () => {
    const message = streamed([mebibyte, mebibyte, mebibyte]);
    expect(await open().parse(message)).toMatchObject({ status: "parsed", attachments: [{ partId: "1" }] });
    const part = await parser?.part(message, "1");
    if (part?.status !== "found") throw new Error("no part");
    const chunks: Buffer[] = [];
    for await (const chunk of part.chunks()) chunks.push(chunk);
    const whole = Buffer.concat([mebibyte, mebibyte, mebibyte]);
    expect(Buffer.concat(chunks).equals(whole.subarray(whole.indexOf("\r\n\r\n") + 4))).toBe(true);
    expect(Math.max(...chunks.map(({ length }) => length))).toBeLessThanOrEqual(64 * 1024);
  });

  it("says that a part is not there", async () => {
    expect(await open().part(plain, "2")).toBeNull();
  });
});

describe("a message that is out to hurt", () => {
  it("fails by its time, and the next one is parsed by a new thread", async () => {
    open({ timeoutMs: 500 });
    const started = performance.now();
    expect(await parser?.body(openTags)).toEqual({ status: "failed", reason: "timeout" });
    expect(performance.now() - started).toBeLessThan(10_000);
    expect(await eventually("parsed again", async () => (await parser?.parse(plain))?.status === "parsed")).toBe(true);
  });

  it("fails by the heap it wants, and the next one is parsed by a new thread", async () => {
    open({ maxHeapMb: 16, timeoutMs: 25_000 });
    expect(await parser?.body(openTags)).toEqual({ status: "failed", reason: "out_of_memory" });
    expect(await parser?.parse(plain)).toEqual(parsedPlain);
  });

  it.each([
    ["200,000 empty siblings", siblingBomb(200_000), "too_many_parts"],
    ["a nest of 5,000", nest(5000), "too_deep"],
  ])("with %s fails at once while the main thread stays free", async (_, raw, reason) => {
    let turns = 0;
    const ticking = setInterval(() => (turns += 1), 1);
    const started = performance.now();
    expect(await open().parse(raw)).toEqual({ status: "failed", reason });
    expect(await parser?.body(raw)).toEqual({ status: "failed", reason });
    expect(await parser?.part(raw, "1")).toEqual({ status: "failed", reason });
    clearInterval(ticking);
    expect(performance.now() - started).toBeLessThan(5000);
    expect(turns).toBeGreaterThan(0);
  });

  it("does not take others with it", async () => {
    open({ threads: 2, timeoutMs: 5000 });
    const [bad, ...good] = await Promise.all([parser?.body(openTags), ...Array.from({ length: 20 }, () => parser?.parse(plain))]);
    expect(bad).toEqual({ status: "failed", reason: "timeout" });
    expect(good).toEqual(good.map(() => parsedPlain));
  });
});

describe("stopping", () => {
  it("by a signal ends the work at once and leaves the parser usable", async () => {
    const stop = new AbortController();
    const work = open().body(openTags, stop.signal);
    const settled = expect(work).rejects.toMatchObject({ kind: "stopped" });
    await eventually("a thread runs", () => parser?.threads === 1);
    stop.abort();
    await settled;
    expect(await parser?.parse(plain)).toEqual(parsedPlain);
  });

  it("before the beginning does no work", async () => {
    await expect(open().parse(plain, AbortSignal.abort())).rejects.toMatchObject({ kind: "stopped" });
    expect(parser?.threads).toBe(0);
  });

  it("by disposing rejects what is in work and what waits, and ends the threads", async () => {
    const closing = open();
    const work = [closing.body(openTags), closing.parse(plain), closing.parse(plain)];
    const settled = Promise.allSettled(work);
    await eventually("a thread runs", () => closing.threads === 1);
    await closing[Symbol.asyncDispose]();
    expect((await settled).map((one) => one.status === "rejected" && one.reason.kind)).toEqual(["stopped", "stopped", "stopped"]);
    expect(closing.threads).toBe(0);
    await expect(closing.parse(plain)).rejects.toMatchObject({ kind: "stopped" });
    await closing[Symbol.asyncDispose]();
  });
});

describe("octets that cannot be read", () => {
  const broken = new Error("the database went");

  it.each([
    ["small", 1],
    ["large", 3],
  ])("are not the fault of a %s message", async (_, count) => {
    // Its size is told by its decoded octets, so all of them have to be read.
    const encoded = Buffer.from(mebibyte.toString().replace("8bit", "base64"));
    const parts = count === 1 ? [plain] : [encoded, mebibyte, mebibyte];
    const message = {
      ...streamed(parts),
      async *parts() {
        yield* parts.slice(0, -1);
        throw broken;
      },
    };
    await expect(open().parse(message)).rejects.toBe(broken);
    expect(await parser?.parse(plain)).toEqual(parsedPlain);
  });

  it("in time do not count against the message's own", async () => {
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => (release = resolve));
    open({ timeoutMs: 300 });
    await parser?.parse(plain);
    const work = parser?.parse(streamed([mebibyte, mebibyte], gate));
    setTimeout(release, 1000);
    expect(await work).toMatchObject({ status: "parsed" });
  });
});
