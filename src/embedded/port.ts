import { randomInt } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PortTaken } from "./server-process.ts";

/** Below 32768, where Linux begins to lend ports to outgoing connections: such a port may be gone at the next start. */
const lowest = 15_000;
const highest = 32_767;
const attempts = 20;

const keptPort = async (path: string): Promise<number | null> => {
  const port = Number.parseInt(await readFile(path, "utf8").catch(() => ""), 10);
  return port >= 1024 && port <= 65_535 ? port : null;
};

/**
 * Calls `launch` with the port of the last start, and with others when that is taken; keeps the one that served.
 * @throws what `launch` throws; `PortTaken` only when no free port was found.
 */
export const launchOnKeptPort = async <T>(
  dataDir: string,
  launch: (port: number) => Promise<T>,
): Promise<{ readonly port: number; readonly launched: T }> => {
  const path = join(dataDir, "postgres-port");
  const kept = await keptPort(path);
  let port = kept ?? randomInt(lowest, highest);
  for (let attempt = 1; ; attempt += 1) {
    try {
      const launched = await launch(port);
      if (port !== kept) await writeFile(path, `${port}\n`);
      return { port, launched };
    } catch (error) {
      if (!(error instanceof PortTaken) || attempt === attempts) throw error;
      port = randomInt(lowest, highest);
    }
  }
};
