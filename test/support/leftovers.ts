/** Runs in every test file: who starts a server also ends it. The end of the process would, but a file may be long. */
import { afterAll, expect } from "vitest";
import { serversLeft } from "./guarded-process.ts";

afterAll(() => {
  expect(serversLeft(), "servers this file started and did not stop").toEqual([]);
});
