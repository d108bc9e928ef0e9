/** Webhooks through real daemons, to the receiver that the README shows. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { changesOf } from "../support/account-view.ts";
import { dovecotAccount, startDaemon } from "../support/daemon.ts";
import { startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { freePorts } from "../support/ports.ts";
import { freshDatabase } from "../support/postgres.ts";
import { makeServerFolder } from "../support/run-folder.ts";

const repository = new URL("../../", import.meta.url);

/** The README's receiver, as it stands there. */
const startShownReceiver = async (port: number, secret: string): Promise<{ child: ChildProcess; lines: string[] }> => {
  const readme = await readFile(new URL("README.md", repository), "utf8");
  const [, code = ""] = /^## Webhooks\n[\s\S]*?^```js\n([\s\S]*?)^```$/m.exec(readme) ?? [];
  const folder = await makeServerFolder("receiver");
  await symlink(fileURLToPath(new URL("node_modules", repository)), join(folder, "node_modules"));
  await writeFile(join(folder, "receiver.mjs"), code);
  const child = spawn(process.execPath, ["receiver.mjs"], {
    cwd: folder,
    env: { PORT: String(port), WEBHOOK_SECRET: secret },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(line));
  return { child, lines };
};

const mails = (from: number, count: number): Buffer[] =>
  Array.from({ length: count }, (_, n) =>
    Buffer.from(`Subject: m${from + n}\r\nMessage-ID: <m${from + n}@hooks.test>\r\n\r\nbody\r\n`),
  );

it(
  "the README's receiver gets all that the feed has, in order, with a receiver that was away and a daemon that was killed",
  { timeout: 540_000 },
  async () => {
    await using server = await startDovecot({ users: 1 });
    const fresh = await freshDatabase();
    const env = { DATABASE_URL: fresh.url, SAMEBOX_LEASE_SECONDS: "3", SAMEBOX_POLL_SECONDS: "1", SAMEBOX_SHARDS: "1" };
    const { user } = server.account(1);
    const deliver = (from: number, count: number): Promise<number> =>
      server.deliver({ user, mailbox: "INBOX", messages: mails(from, count) });
    const first = await startDaemon({ env });
    try {
      const [port = 0] = await freePorts(1);
      const url = `http://127.0.0.1:${port}/samebox`;
      const webhook = await first.call<{ id: string; secret: string }>("POST", "/v1/webhooks", { url });
      expect(webhook.status).toBe(201);
      await deliver(0, 100);
      const account = await first.call<{ id: string }>("POST", "/v1/accounts", dovecotAccount(server, 1));
      const failed = (): Promise<boolean> =>
        first
          .call<{ items: { result: string }[] }>("GET", `/v1/webhooks/${webhook.body.id}/deliveries`)
          .then(({ body }) => body.items.some(({ result }) => result === "unreachable"));
      await eventually("nobody was there", failed, { timeoutMs: 60_000 });
      const { child, lines } = await startShownReceiver(port, webhook.body.secret);
      await using second = await startDaemon({ env });
      try {
        await eventually("some came", () => lines.length > 20, { timeoutMs: 60_000, everyMs: 1 });
        first.kill("SIGKILL");
        await first.exited;
        await deliver(100, 20);
        const told = (changes: Awaited<ReturnType<typeof changesOf>>): string[] =>
          changes.map(({ kind, seq, hash }) => `${kind} 0.${seq} ${hash}`);
        const all = async (): Promise<readonly string[] | false> => {
          const changes = await changesOf(second, account.body.id, 500);
          const made = changes.filter(({ kind }) => kind === "message.created").length;
          return made === 120 && lines.length >= changes.length && told(changes);
        };
        expect(lines).toEqual(await eventually("all came", all, { timeoutMs: 90_000, everyMs: 200 }));
      } finally {
        child.kill();
        await once(child, "exit");
      }
    } finally {
      await first.stop();
      await fresh.drop();
    }
  },
);
