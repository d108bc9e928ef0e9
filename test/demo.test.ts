/** The demonstration plays to its end, as the README shows it, and leaves nothing behind. */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";

it("npm run demo: every step is told with its reason, and no message is lost", { timeout: 900_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "samebox-test-demo-"));
  const { stdout } = await promisify(execFile)(process.execPath, ["demo/demo.ts", "--messages", "200"], {
    env: { ...process.env, TMPDIR: folder },
  });
  expect(stdout).toMatch(/^208 of the 208 messages the server ever had are readable here, byte for byte\.$/m);
  expect(stdout).toContain("7 × message.kept: pop3_drain");
  expect(await readdir(folder)).toEqual([]);
  await rm(folder, { recursive: true });
});
