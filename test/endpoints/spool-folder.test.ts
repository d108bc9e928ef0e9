import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openSpoolFolder } from "../../src/endpoints/spool-folder.ts";

let root: string;

beforeEach(async () => {
  root = join(await mkdtemp(join(tmpdir(), "samebox-spools-")), "spool");
});

afterEach(async () => {
  await rm(join(root, ".."), { recursive: true, force: true });
});

const left = async (name: string): Promise<string> => {
  await mkdir(join(root, name), { recursive: true });
  await writeFile(join(root, name, "message.octets"), "octets");
  return name;
};

const age = (name: string, ms: number): Promise<void> => {
  const then = new Date(Date.now() - ms);
  return utimes(join(root, name), then, then);
};

describe("a spool folder", () => {
  it("is made with its root and goes when it is closed", async () => {
    const spool = await openSpoolFolder(root);
    await writeFile(join(spool.dir, "message.octets"), "octets");
    await spool.remove();
    expect(await readdir(root)).toEqual([]);
  });

  it("that nobody touched for an hour is removed by the next one", async () => {
    await age(await left("process-abcdef"), 61 * 60_000);
    const spool = await openSpoolFolder(root);
    expect((await readdir(root)).map((name) => join(root, name))).toEqual([spool.dir]);
    await spool.remove();
  });

  it("of another daemon that lives, and what is none, is let be", async () => {
    const kept = [await left("notes"), await left("process-abcdef")];
    await age("notes", 61 * 60_000);
    await age("process-abcdef", 59 * 60_000);
    const spool = await openSpoolFolder(root);
    await spool.remove();
    expect((await readdir(root)).toSorted()).toEqual(kept);
    for (const name of kept) expect(await readdir(join(root, name))).toEqual(["message.octets"]);
  });

  it("stays another daemon's while that one is at work", async () => {
    const first = await openSpoolFolder(root);
    const second = await openSpoolFolder(root);
    await second.remove();
    expect((await readdir(root)).map((name) => join(root, name))).toEqual([first.dir]);
    await first.remove();
  });
});
