import { mkdir, open, stat } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

// Below 32768, where Linux begins to hand out ports to outgoing connections: a port found free here stays free.
const lowest = 12_000;
const highest = 32_000;

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });

const claims = join(tmpdir(), "samebox-test-ports");
/** Longer than any run takes. */
const claimedMs = 2 * 3_600_000;

/** A server that starts again finds its port as it left it, whichever process has looked for ports meanwhile. */
const claim = async (port: number): Promise<boolean> => {
  await mkdir(claims, { recursive: true });
  const path = join(claims, String(port));
  const { mtimeMs } = (await stat(path).catch(() => null)) ?? { mtimeMs: 0 };
  if (Date.now() - mtimeMs < claimedMs) return false;
  const file = await open(path, mtimeMs === 0 ? "wx" : "w").catch(() => null);
  await file?.utimes(new Date(), new Date());
  await file?.close();
  return file !== null;
};

/** Distinct ports nobody listens on at 127.0.0.1. Another process may still be quicker: who starts a server tries again. */
export const freePorts = async (count: number): Promise<number[]> => {
  const found = new Set<number>();
  while (found.size < count) {
    const port = lowest + Math.floor(Math.random() * (highest - lowest));
    if (!found.has(port) && (await isFree(port)) && (await claim(port))) found.add(port);
  }
  return [...found];
};
