/** Batches on their way into the store. */
import { describe, expect, test } from "vitest";
import { Commits } from "../../src/workers/commits.ts";

const megabyte = 1024 * 1024;

describe("batches that run ahead of their commits", () => {
  test("are committed in the order of reading, whichever is prepared first", async () => {
    const commits = new Commits<number>();
    const slow = Promise.withResolvers<number>();
    const seen: number[] = [];
    const commit = (batch: number): Promise<void> => Promise.resolve(void seen.push(batch));
    await commits.add(slow.promise, megabyte, { commit });
    await commits.add(Promise.resolve(2), megabyte, { commit });
    expect(seen).toEqual([]);
    slow.resolve(1);
    await commits.drain();
    expect(seen).toEqual([1, 2]);
  });

  test("wait while too much is on its way, though one larger batch is let through", async () => {
    const commits = new Commits<number>();
    const first = Promise.withResolvers<number>();
    const commit = (): Promise<void> => Promise.resolve();
    await commits.add(first.promise, 64 * megabyte, { commit });
    let added = false;
    const second = commits.add(Promise.resolve(2), megabyte, { commit }).then(() => (added = true));
    await new Promise(setImmediate);
    expect(added).toBe(false);
    first.resolve(1);
    await second;
    await commits.drain();
  });

  test.each(["prepare", "commit"])("let go of everything and commit nothing behind a failure to %s", async (where) => {
    const commits = new Commits<number>();
    const failure = new Error("no");
    const seen: number[] = [];
    const released: number[] = [];
    const add = (batch: number): Promise<void> => {
      const fails = batch === 2;
      const prepared = fails && where === "prepare" ? Promise.reject(failure) : Promise.resolve(batch);
      return commits.add(prepared, megabyte, {
        commit: () => (fails ? Promise.reject(failure) : Promise.resolve(void seen.push(batch))),
        release: () => Promise.resolve(void released.push(batch)),
      });
    };
    for (const batch of [1, 2, 3]) await add(batch);
    await expect(commits.drain()).rejects.toBe(failure);
    expect(seen).toEqual([1]);
    expect(released).toEqual([1, 2, 3]);
  });
});
