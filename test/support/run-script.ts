/** Scripts of the project, run as their users run them. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { testSecretKey } from "./daemon.ts";

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** `scripts/<name>.ts` with the settings of a daemon on this database. */
export const startScript = (
  name: string,
  url: string,
  ...words: readonly string[]
): { readonly kill: (signal: NodeJS.Signals) => void; readonly ended: Promise<Ended> } => {
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
  const ended = once(child, "close").then(([code]) => ({ code: code as number, ...said }));
  return { kill: (signal) => void child.kill(signal), ended };
};

export const runScript = (...request: Parameters<typeof startScript>): Promise<Ended> => startScript(...request).ended;
