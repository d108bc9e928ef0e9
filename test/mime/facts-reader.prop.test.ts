/** What is read in the thread is what is read without it. A failure names its seed and path; SEED plays one again. */
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { memoryOctets } from "../../src/endpoints/octets.ts";
import { factsReaderHere, openFactsReader } from "../../src/mime/facts-reader.ts";
import { createLogger } from "../../src/telemetry/log.ts";

const seed = Number(process.env["SEED"] ?? Date.now() % 2 ** 31);
console.info(`seed ${seed}`);
const lines: string[] = [];
const log = createLogger({ level: "debug", destination: { write: (line: string) => void lines.push(line) } });
const reader = openFactsReader(log);
afterAll(() => reader[Symbol.asyncDispose]());

const text = fc.string({ maxLength: 60, unit: "binary" });
const lineEnd = fc.constantFrom("\r\n", "\n", "\r");
const field = fc.tuple(
  fc.constantFrom("Subject", "From", "To", "Date", "Message-ID", "Received", "Status", "X-Odd", "no field"),
  fc.oneof(
    text,
    fc.constant("from a by b; Fri, 27 Nov 2026 09:00:00 +0100"),
    fc.constant("Thu, 26 Nov 2026 10:11:12 -0500"),
    fc.constant("=?utf-8?Q?caf=C3=A9?= <ana@example.test>"),
  ),
);
/** Of some of these, a batch does not fit into one hand-over. */
const long = fc.nat(300_000).map((length) => "a line of mail\r\n".repeat(length / 16));
const mail = fc
  .tuple(fc.array(field, { maxLength: 8 }), lineEnd, fc.oneof(text, long))
  .map(([fields, end, body]) =>
    Buffer.from(`${fields.map(([name, value]) => `${name}: ${value}${end}`).join("")}${end}${body}`, "utf8"),
  );
const octets = fc.oneof({ weight: 8, arbitrary: mail }, fc.uint8Array({ maxLength: 400 }).map(Buffer.from));
const wanted = fc.record({ receivedAt: fc.boolean(), print: fc.boolean() });

test("a batch is told the same with and without the thread", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(octets, { minLength: 50, maxLength: 90 }), wanted, async (batch, wants) => {
      const messages = batch.map(memoryOctets);
      expect(await reader.read(messages, wants)).toEqual(await factsReaderHere.read(messages, wants));
    }),
    { seed, numRuns: 15 },
  );
  // It was the thread that read them, where there is one.
  expect(lines.filter((line) => line.includes("read without a thread"))).toEqual([]);
}, 120_000);

test("what was under way when the reader ends is read all the same", async () => {
  const ending = openFactsReader(log);
  const messages = Array.from({ length: 200 }, (_, at) => memoryOctets(Buffer.from(`Subject: ${at}\r\n\r\n`)));
  const reading = ending.read(messages, { receivedAt: false, print: true });
  await ending[Symbol.asyncDispose]();
  expect((await reading).map(({ headers }) => headers.subject)).toEqual(messages.map((_, at) => `${at}`));
});
