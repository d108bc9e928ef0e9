/** What most files of scenarios stand on. */
import { afterAll, beforeAll } from "vitest";
import { type Daemon, startDaemon } from "./daemon.ts";
import { type Dovecot, startDovecot } from "./dovecot.ts";
import { type FreshDatabase, freshDatabase } from "./postgres.ts";

export interface Ground {
  readonly server: Dovecot;
  readonly fresh: FreshDatabase;
  /** Looks every second. */
  readonly daemon: Daemon;
}

/** One mail server, one database and one daemon for the tests around it, taken before the first of them and ended after the last. */
export const useGround = (dovecot: Parameters<typeof startDovecot>[0], take: (ground: Ground) => void): void => {
  const ending = new AsyncDisposableStack();

  beforeAll(async () => {
    const server = await startDovecot(dovecot);
    ending.defer(() => server.stop());
    const fresh = await freshDatabase();
    ending.defer(() => fresh.drop());
    const daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
    ending.defer(() => daemon.stop());
    take({ server, fresh, daemon });
  });

  afterAll(() => ending.disposeAsync());
};
