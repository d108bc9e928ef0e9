/** A server that is done with octets long after the line they came over is gone. */
import { expect, it } from "vitest";
import { dovecotAccount, liveAccount, startDaemon } from "../support/daemon.ts";
import { queryOnce } from "../support/database-server.ts";
import { startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { commandsOf } from "../support/owed-writes.ts";
import { drain } from "../support/pop3-account.ts";
import { freshDatabase } from "../support/postgres.ts";

it("C3: what is put back and shown only after the first look for it is there once", { timeout: 360_000 }, async () => {
  const server = await startDovecot({ users: 1 });
  const fresh = await freshDatabase();
  const daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
  try {
    await using lossy = await startFaultProxy({ port: server.imapPort });
    const [one = "", stays = ""] = ["one", "stays"].map((name) => `Subject: ${name}\r\n\r\nbody of ${name}\r\n`);
    await server.deliver({ user: server.account(1).user, mailbox: "INBOX", messages: [Buffer.from(one), Buffer.from(stays)] });
    const { endpoints, ...rest } = dovecotAccount(server, 1);
    const over = endpoints.map((endpoint) => ({ ...endpoint, port: lossy.port, security: "none" }));
    const policy = { pop3Devices: "declared", onPop3Drain: "restore" };
    const accountId = await liveAccount(daemon, { ...rest, endpoints: over, policy });
    const hasLookedOnce = async (): Promise<boolean> =>
      (await queryOnce(fresh.url, `select 1 from commands where (fence->>'looks')::int = 1`)).length > 0;
    let sent = 0;
    let hasArrived = false;
    lossy.change({
      toServer: {
        before: async (piece) => {
          if (piece.includes(" APPEND ") && (sent += 1) === 1) return lossy.resetAll();
          if (hasArrived || !piece.includes("EXAMINE") || !piece.includes("Archive") || !(await hasLookedOnce())) return;
          hasArrived = true;
          await server.deliver({ user: server.account(1).user, mailbox: "Archive", messages: [Buffer.from(one)] });
        },
      },
    });
    await drain(server, 1, 1);
    await eventually(
      "it is put back",
      async () => (await commandsOf(fresh.url, accountId)).some(({ status }) => status === "confirmed"),
      { timeoutMs: 90_000 },
    );
    expect([hasArrived, sent]).toEqual([true, 1]);
    await using device = await server.device(1);
    expect((await device.select("Archive")).exists).toBe(1);
  } finally {
    await daemon.stop();
    await fresh.drop();
    await server.stop();
  }
});
