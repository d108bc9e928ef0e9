/** The description of the API is good enough for the tools that others point at it. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as samebox from "../../client/samebox.ts";
import { accountInput, adminKey, openTestApi, type TestApi } from "../support/api.ts";
import { clientSource } from "../support/client-source.ts";

let api: TestApi;
let folder: string;
let document: Parameters<typeof clientSource>[0];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "samebox-description-"));
  api = await openTestApi();
  document = (await api.request("/openapi.json", { key: null })).body;
});
afterAll(async () => {
  await api.close();
  await rm(folder, { recursive: true, force: true });
});

/** Of Redocly's linter with its recommended rules, warnings counting as errors. @returns what it found. */
const lint = async (text: string): Promise<string> => {
  const file = join(folder, "openapi.json");
  await writeFile(file, text);
  const linter = join(import.meta.dirname, "../../node_modules/@redocly/cli/bin/cli.js");
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [linter, "lint", file, "--extends", "recommended", "--format", "json"],
    {
      cwd: folder,
      env: { ...process.env, REDOCLY_TELEMETRY: "off", REDOCLY_SUPPRESS_UPDATE_NOTICE: "true" },
    },
  ).catch((error: unknown) => error as { stdout: string });
  const { problems } = JSON.parse(stdout) as {
    problems: { ruleId: string; message: string; location: { pointer?: string }[] }[];
  };
  return problems.map(({ ruleId, message, location }) => `${ruleId} ${location[0]?.pointer}: ${message}`).join("\n");
};

describe("the linter", () => {
  test("finds nothing", async () => {
    expect(await lint(JSON.stringify(document))).toBe("");
  });

  test("would find an operation without a name and a path parameter that is not described", async () => {
    const path = document.paths["/v1/accounts/{accountId}"]?.["get"];
    const broken = {
      ...document,
      paths: { "/v1/accounts/{accountId}": { get: { ...path, operationId: undefined, parameters: [] } } },
    };
    expect(await lint(JSON.stringify(broken))).toMatch(
      /operation-operationId.*\n?.*path-parameters-defined|path-parameters-defined/s,
    );
  });
});

describe("the typed client", () => {
  const opts = () => ({ baseUrl: api.url, headers: { authorization: `Bearer ${adminKey}` } });

  test("is what the description says; after a change of the API: npm run client", async () => {
    await expect(await clientSource(document)).toMatchFileSnapshot("../../client/samebox.ts");
  });

  test("creates an account, follows its changes, and tells a failure by its code", async () => {
    const created = await samebox.createAccount({ accountInput: accountInput() as samebox.AccountInputWrite }, opts());
    if (created.status !== 201) throw new Error(created.data.detail);
    const { id, policy } = created.data;
    expect(policy.onPop3Drain).toBe("keep");
    const changes = await samebox.listChanges({ accountId: id, since: "0.0" }, opts());
    if (changes.status !== 200) throw new Error(changes.data.detail);
    expect(changes.data.items.map(({ seq, accountId }) => ({ seq, accountId }))).toEqual(
      changes.data.items.map((_, index) => ({ seq: index + 1, accountId: id })),
    );
    const missing = await samebox.getMessage({ accountId: id, messageId: `msg_${"0".repeat(32)}` }, opts());
    expect(missing).toMatchObject({ status: 404, data: { code: "not_found" } });
  });
});
