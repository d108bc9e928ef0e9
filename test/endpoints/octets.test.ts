import { createHash } from "node:crypto";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { memoryOctets, startOctets } from "../../src/endpoints/octets.ts";
import { type Octets, partSize } from "../../src/model/octets.ts";

let spoolDir: string;
beforeEach(async () => {
  spoolDir = await mkdtemp(join(tmpdir(), "samebox-spool-"));
});
afterEach(() => rm(spoolDir, { recursive: true, force: true }));

const partsOf = async (octets: Octets): Promise<Buffer[]> => {
  const parts: Buffer[] = [];
  for await (const part of octets.parts()) parts.push(part);
  return parts;
};
const sha256 = (octets: Buffer) => createHash("sha256").update(octets).digest();
const pattern = (size: number): Buffer =>
  Buffer.from(Uint8Array.from({ length: size }, (_, index) => (index * 31 + (index >> 8)) & 255));

const take = async (octets: Buffer, options: { size: number | null; chunk: number }): Promise<Octets> => {
  const writer = startOctets({ size: options.size, spoolDir });
  for (let at = 0; at < octets.length; at += options.chunk) await writer.write(octets.subarray(at, at + options.chunk));
  return writer.finish();
};

describe("octets in memory", () => {
  it("are what was given, in exact parts, with their digest", async () => {
    const content = pattern(2 * partSize + 3);
    const octets = memoryOctets(content);
    const parts = await partsOf(octets);
    expect(parts.map((part) => part.length)).toEqual([partSize, partSize, 3]);
    expect(Buffer.concat(parts).equals(content)).toBe(true);
    expect(octets.sha256.equals(sha256(content))).toBe(true);
    expect(octets.size).toBe(content.length);
  });

  it("have no part when they are empty", async () => {
    const octets = memoryOctets(Buffer.alloc(0));
    expect(await partsOf(octets)).toEqual([]);
    expect(octets.head.length).toBe(0);
  });

  it.each([
    ["a: b\r\n\r\nbody\r\n\r\nmore", "a: b\r\n\r\n"],
    ["a: b\n\nbody\r\n\r\nmore", "a: b\n\n"],
    ["a: b\r\nc: d", "a: b\r\nc: d"],
    ["\r\nbody", "\r\n"],
    ["\nbody", "\n"],
  ])("give the header block of %j as head", (text, head) => {
    expect(memoryOctets(Buffer.from(text)).head.toString()).toBe(head);
  });

  it("give 256 KiB as head where no header block ends", () => {
    expect(memoryOctets(Buffer.alloc(partSize, "a")).head.length).toBe(256 * 1024);
  });
});

describe("octets that arrive in chunks", () => {
  it("are the same whether they are announced, surprising or small", async () => {
    const size = fc.oneof(
      fc.integer({ min: 0, max: 5000 }),
      fc.constantFrom(partSize - 1, partSize, partSize + 1, 3 * partSize, 2 * partSize + 77),
    );
    const announced = fc.constantFrom("exact", "unknown", "wrong");
    await fc.assert(
      fc.asyncProperty(size, announced, fc.integer({ min: 700, max: 900_000 }), async (length, how, chunk) => {
        const content = pattern(length);
        const octets = await take(content, { size: how === "exact" ? length : how === "unknown" ? null : 2 * partSize, chunk });
        const parts = await partsOf(octets);
        expect(Buffer.concat(parts).equals(content)).toBe(true);
        expect(parts.slice(0, -1).every((part) => part.length === partSize)).toBe(true);
        expect(octets.sha256.equals(sha256(content))).toBe(true);
        expect(octets.size).toBe(length);
        expect(octets.head.equals(memoryOctets(content).head)).toBe(true);
        await octets.dispose();
      }),
      { numRuns: 30 },
    );
    expect(await readdir(spoolDir)).toEqual([]);
  });

  it("lie in a file only the owner may read, until they are disposed of, and can be read twice", async () => {
    const content = pattern(partSize + 1);
    const octets = await take(content, { size: content.length, chunk: 65536 });
    const [name] = await readdir(spoolDir);
    expect((await stat(join(spoolDir, String(name)))).mode & 0o777).toBe(0o600);
    expect(Buffer.concat(await partsOf(octets)).equals(Buffer.concat(await partsOf(octets)))).toBe(true);
    await octets.dispose();
    await octets.dispose();
    expect(await readdir(spoolDir)).toEqual([]);
  });

  it("leave no file when they are given up, even while the disk is written", async () => {
    const writer = startOctets({ size: 4 * partSize, spoolDir });
    const written = writer.write(Buffer.alloc(partSize));
    await writer.abort();
    await written;
    await writer.abort();
    expect(await readdir(spoolDir)).toEqual([]);
  });

  it("say that the disk is the trouble when the spool cannot be written", async () => {
    const writer = startOctets({ size: 4 * partSize, spoolDir: join(spoolDir, "missing") });
    await expect(writer.write(Buffer.alloc(partSize))).rejects.toMatchObject({ kind: "transient", scope: "endpoint" });
    await writer.abort();
  });
});
