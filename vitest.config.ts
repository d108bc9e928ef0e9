import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/global-setup.ts"],
    setupFiles: ["test/support/leftovers.ts"],
    // A process per file: native modules, open sockets and signal handlers of one file cannot reach another.
    pool: "forks",
    // The servers under test work in processes of their own, so few workers keep all cores busy.
    maxWorkers: 3,
    // A real server may have to start within a test or its set-up; shared machines were seen to be three times as slow as a quiet one.
    testTimeout: 90_000,
    hookTimeout: 180_000,
    teardownTimeout: 60_000,
    sequence: { hooks: "stack" },
    allowOnly: process.env["CI"] === undefined,
  },
});
