/** Somebody changes or removes an endpoint while its account is looked at. */
import { expect, it } from "vitest";
import { type Daemon, dovecotAccount, liveAccount, waitLive } from "../support/daemon.ts";
import { queryOnce } from "../support/database-server.ts";
import type { Dovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { useGround } from "../support/ground.ts";
import { pop3Endpoint } from "../support/pop3-account.ts";
import type { FreshDatabase } from "../support/postgres.ts";

let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;

useGround({ users: 3 }, (ground) => {
  ({ server, fresh, daemon } = ground);
});

const idOf = (accountId: string): string => accountId.replace(/^acc_/, "");

interface Health extends Record<string, unknown> {
  readonly sync_state: string;
  readonly attempts: number;
}

const healthOf = async (accountId: string, protocol: string): Promise<Health | undefined> =>
  (
    await queryOnce<Health>(fresh.url, `select sync_state, attempts from endpoints where account_id = $1 and protocol = $2`, [
      idOf(accountId),
      protocol,
    ])
  )[0];

const changePop3 = (accountId: string, set: string): Promise<unknown> =>
  queryOnce(fresh.url, `update endpoints set ${set} where account_id = $1 and protocol = 'pop3'`, [idOf(accountId)]);

const bothAccount = (n: number) => {
  const { endpoints, ...rest } = dovecotAccount(server, n);
  return { ...rest, endpoints: [...endpoints, pop3Endpoint(server, n)] };
};

it("a login that was refused after the password was mended does not park the account", { timeout: 180_000 }, async () => {
  await using proxy = await startFaultProxy({ port: server.imapPort });
  const { endpoints, ...rest } = dovecotAccount(server, 1);
  const old = { ...endpoints[0], port: proxy.port, auth: { type: "password", user: server.account(1).user, password: "wrong" } };
  const { body } = await daemon.call<{ id: string; endpoints: { id: string }[] }>("POST", "/v1/accounts", {
    ...rest,
    endpoints: [old],
  });
  await eventually("it is refused", async () => (await healthOf(body.id, "imap"))?.attempts === 1);
  const gate = Promise.withResolvers<void>();
  let isHeld = false;
  proxy.change({
    toServer: {
      before: () => {
        isHeld = true;
        return gate.promise;
      },
    },
  });
  await daemon.call("POST", `/v1/accounts/${body.id}/sync`);
  await eventually("it is under way again", () => isHeld);
  const auth = { type: "password", ...server.account(1) };
  const patched = await daemon.call("PATCH", `/v1/accounts/${body.id}`, { endpoints: [{ id: body.endpoints[0]?.id, auth }] });
  expect(patched.status).toBe(200);
  // The hint of the change gives way to this one.
  await daemon.call("POST", `/v1/accounts/${body.id}/sync`);
  gate.resolve();
  await waitLive(daemon, body.id);
});

it("a maildrop that waits after a failure is read as it was mended, whatever the look is for", { timeout: 180_000 }, async () => {
  const accountId = await liveAccount(daemon, bothAccount(2));
  // Nobody rings for what the database says: IMAP's looks go on.
  await changePop3(accountId, "security = 'tls'");
  await eventually("it fails", async () => (await healthOf(accountId, "pop3"))?.sync_state === "needs_attention");
  await changePop3(
    accountId,
    "security = 'none', attempts = 0, next_attempt_at = null, sync_state = 'connecting', last_error = null",
  );
  await eventually("it is read", async () => (await healthOf(accountId, "pop3"))?.sync_state === "live");
});

it("what an endpoint that went still wrote is forgotten, though that failed once", { timeout: 180_000 }, async () => {
  await server.deliver({ user: server.account(3).user, mailbox: "INBOX", messages: [Buffer.from("Subject: a\r\n\r\nb\r\n")] });
  const accountId = await liveAccount(daemon, bothAccount(3));
  const bound = async (): Promise<number> =>
    (
      await queryOnce(
        fresh.url,
        `select from bindings b where account_id = $1 and not exists (select from endpoints e where e.account_id = $1 and e.id = b.endpoint_id
           and e.protocol = 'imap')`,
        [idOf(accountId)],
      )
    ).length;
  await eventually("both show it", async () => (await bound()) === 1);
  await queryOnce(
    fresh.url,
    `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not now'; end $$;
     create trigger refuse before delete on bindings for each row execute function refuse()`,
  );
  const failures = (): number => daemon.lines.filter(({ msg }) => msg === "account could not be loaded").length;
  const before = failures();
  await queryOnce(fresh.url, `delete from endpoints where account_id = '${idOf(accountId)}' and protocol = 'pop3'`);
  await eventually("it could not be forgotten", () => failures() > before);
  await queryOnce(fresh.url, `drop trigger refuse on bindings; drop function refuse`);
  await daemon.call("POST", `/v1/accounts/${accountId}/sync`);
  await eventually("it is forgotten", async () => (await bound()) === 0);
});
