import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
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
  await writeFile(join(root, name, "message.spool"), "octets");
  return name;
};

/** The number of a process that has ended. */
const endedPid = async (): Promise<number> => {
  const child = spawn(process.execPath, ["--eval", ""]);
  await once(child, "exit");
  return child.pid ?? 0;
};

describe("a spool folder", () => {
  it("is made with its root and goes when it is closed", async () => {
    const spool = await openSpoolFolder(root);
    await writeFile(join(spool.dir, "message.spool"), "octets");
    await spool.remove();
    expect(await readdir(root)).toEqual([]);
  });

  it("of a process that has ended, or had our number before us, is removed by the next one", async () => {
    await left(`${hostname()}_${await endedPid()}_abcdef`);
    await left(`${hostname()}_${process.pid}_abcdef`);
    const spool = await openSpoolFolder(root);
    expect((await readdir(root)).map((name) => join(root, name))).toEqual([spool.dir]);
  });

  it("of a living process, of another host, or of another make is let be", async () => {
    const kept = [await left(`${hostname()}_${process.ppid}_abcdef`), await left("elsewhere_4_abcdef"), await left("notes")];
    const spool = await openSpoolFolder(root);
    const rest = (await readdir(root)).filter((name) => join(root, name) !== spool.dir);
    expect(rest.toSorted()).toEqual(kept.toSorted());
    for (const name of kept) expect(await readdir(join(root, name))).toEqual(["message.spool"]);
  });

  it("of another host is removed when nobody touched it for more than a day", async () => {
    const name = await left("elsewhere_4_abcdef");
    const old = new Date(Date.now() - 25 * 3_600_000);
    await utimes(join(root, name), old, old);
    const spool = await openSpoolFolder(root);
    expect((await readdir(root)).map((entry) => join(root, entry))).toEqual([spool.dir]);
  });
});
