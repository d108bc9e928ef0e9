/** Scripts of the project, run as their users run them. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { testSecretKey } from "./daemon.ts";

/** `scripts/<name>.ts` with the settings of a daemon on this database. */
export const runScript = async (
  name: string,
  url: string,
  ...words: readonly string[]
): Promise<{ readonly code: number; readonly out: string; readonly err: string }> => {
  const script = fileURLToPath(new URL(`../../scripts/${name}.ts`, import.meta.url));
  const child = spawn(process.execPath, [script, ...words], {
    env: {
      PATH: process.env["PATH"],
      DATABASE_URL: url,
      SAMEBOX_SECRET_KEY: testSecretKey,
      SAMEBOX_DATA_DIR: tmpdir(),
      SAMEBOX_ALLOW_PRIVATE_HOSTS: "true",
      SAMEBOX_ALLOW_CLEARTEXT: "true",
    },
  });
  const said = { out: "", err: "" };
  child.stdout.on("data", (chunk: Buffer) => (said.out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (said.err += chunk.toString()));
  const [code] = (await once(child, "close")) as [number];
  return { code, ...said };
};
