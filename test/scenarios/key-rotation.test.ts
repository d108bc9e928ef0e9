/** Another SAMEBOX_SECRET_KEY under way: accounts are synced and webhooks served all the while, and in the end the old key is of no use. */
import { randomBytes, randomUUID } from "node:crypto";
import { expect, it } from "vitest";
import { type Answer, type Daemon, dovecotAccount, liveAccount, startDaemon, waitLive } from "../support/daemon.ts";
import { startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { freshDatabase } from "../support/postgres.ts";
import { isSigned, startReceiver } from "../support/webhook-receiver.ts";

const soon = { timeoutMs: 90_000, everyMs: 50 };

it(
  "the key is changed daemon by daemon; mail and webhooks go on, repeated requests are known, and the old key may go",
  {
    timeout: 720_000,
  },
  async () => {
    await using server = await startDovecot({ users: 1 });
    await using receiver = await startReceiver();
    const fresh = await freshDatabase();
    const [oldKey, newKey] = [randomBytes(32), randomBytes(32)].map((key) => key.toString("base64")) as [string, string];
    const start = (today: string, others: string | null): Promise<Daemon> =>
      startDaemon({
        env: {
          DATABASE_URL: fresh.url,
          SAMEBOX_LEASE_SECONDS: "3",
          SAMEBOX_POLL_SECONDS: "1",
          SAMEBOX_SHARDS: "1",
          SAMEBOX_SECRET_KEY: today,
          ...(others !== null && { SAMEBOX_OTHER_SECRET_KEYS: others }),
        },
      });
    const daemons: Daemon[] = [];
    const next = async (today: string, others: string | null): Promise<Daemon> => {
      const daemon = await start(today, others);
      daemons.push(daemon);
      await daemons.at(-2)?.stop();
      return daemon;
    };
    const { user } = server.account(1);
    /** What is delivered comes to the receiver, under the one secret that it has. */
    const mailComes = async (subject: string): Promise<void> => {
      const before = receiver.received.length;
      const message = Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@rotation.test>\r\n\r\nbody\r\n`);
      await server.deliver({ user, mailbox: "INBOX", messages: [message] });
      const made = (): boolean => receiver.received.slice(before).some(({ event }) => event.type === "message.created");
      await eventually(`${subject} comes`, made, soon);
      expect(receiver.received.every((one) => isSigned(one, secret))).toBe(true);
    };
    const left = async (daemon: Daemon): Promise<number> =>
      (await daemon.call<{ underOtherKeys: number }>("GET", "/v1/status")).body.underOtherKeys;
    const key = randomUUID();
    const makeKey = (daemon: Daemon, name = "k"): Promise<Answer> =>
      daemon.call("POST", "/v1/keys", { name, scopes: ["ops"] }, { "idempotency-key": key });
    let secret = "";
    try {
      const first = await next(oldKey, newKey);
      const webhook = await first.call<{ secret: string }>("POST", "/v1/webhooks", { url: receiver.url });
      secret = webhook.body.secret;
      const accountId = await liveAccount(first, dovecotAccount(server, 1));
      const made = await makeKey(first);
      await mailComes("m1");
      expect(await left(first)).toBe(0);

      const both = await next(newKey, oldKey);
      await mailComes("m2");
      expect((await makeKey(both)).body).toEqual(made.body);
      await eventually("all is sealed under the new key", async () => (await left(both)) === 0, soon);
      await mailComes("m3");

      const last = await next(newKey, null);
      await waitLive(last, accountId);
      await mailComes("m4");
      // The first answer cannot be read any more: said, and nothing is done twice.
      for (const name of ["k", "another"])
        expect(await makeKey(last, name)).toMatchObject({ status: 409, body: { code: "idempotency_answer_lost" } });
      const keys = await last.call<{ items: unknown[] }>("GET", "/v1/keys");
      expect(keys.body.items).toHaveLength(1);
      const levels = daemons.flatMap(({ lines }) => lines).filter(({ level }) => level === "error" || level === "fatal");
      expect(levels).toEqual([]);
      const seqs = receiver.seqs();
      expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
      expect([...new Set(seqs)]).toEqual(Array.from({ length: seqs.at(-1) ?? 0 }, (_, n) => n + 1));
    } finally {
      await daemons.at(-1)?.stop();
      await fresh.drop();
    }
  },
);
