/** Mail changed over the API, as an app does it, and what the server shows then. */
import { expect } from "vitest";
import { changesOf, mailboxesOf, messagesOf } from "./account-view.ts";
import type { Daemon } from "./daemon.ts";
import type { Dovecot } from "./dovecot.ts";
import { eventually } from "./eventually.ts";
import { commandsOf } from "./owed-writes.ts";

export const phone = { "x-device-id": "phone" };

interface Written {
  readonly status: string;
  readonly reason: string;
  readonly state: string;
}

/** One operation on the message of a subject. @throws where it is not applied. */
export const write = async (
  daemon: Daemon,
  accountId: string,
  subject: string,
  { method = "PATCH", suffix = "", body }: { readonly method?: string; readonly suffix?: string; readonly body?: unknown },
): Promise<Written> => {
  const { id = "none" } = (await messagesOf(daemon, accountId)).get(subject) ?? {};
  const answer = await daemon.call<Written>(method, `/v1/accounts/${accountId}/messages/${id}${suffix}`, body, phone);
  expect([answer.status, answer.body.status]).toEqual([200, "applied"]);
  return answer.body;
};

/** Out of all mailboxes that it is in, into one. */
export const moveTo = async (daemon: Daemon, accountId: string, subject: string, path: string): Promise<Written> => {
  const mailboxes = await mailboxesOf(daemon, accountId);
  const idOf = (name: string): string => mailboxes.get(name)?.id ?? name;
  const places = (await messagesOf(daemon, accountId)).get(subject)?.in ?? [];
  const mailboxIds = Object.fromEntries([...places.map((place) => [idOf(place), null] as const), [idOf(path), true] as const]);
  return write(daemon, accountId, subject, { body: { mailboxIds } });
};

/** What became of the commands, once none is open. */
export const settledCommands = (url: string, accountId: string, timeoutMs = 30_000) =>
  eventually(
    "commands end",
    async () => {
      const found = await commandsOf(url, accountId);
      if (found.some(({ status }) => ["planned", "sent", "unknown"].includes(status))) throw new Error(JSON.stringify(found));
      return found;
    },
    { timeoutMs, everyMs: 20 },
  );

/** What a device sees in a mailbox: subject and flags of each item, sorted. */
export const itemsIn = async (server: Dovecot, n: number, mailbox: string): Promise<readonly string[]> => {
  await using device = await server.device(n);
  await device.select(mailbox);
  const [octets, flags] = [await device.fetchRaw(), await device.flags()];
  return [...octets]
    .map(([uid, raw]) => {
      const subject = /^Subject: (.*?)\r?$/m.exec(raw.toString())?.[1] ?? "";
      const shown = (flags.get(uid) ?? []).filter((flag) => flag !== "\\Recent").toSorted();
      return [subject, ...shown].join(" ");
    })
    .toSorted();
};

/** Destroys the message of a subject, as who knows all that became of it. */
export const purge = async (daemon: Daemon, accountId: string, subject: string): Promise<void> => {
  const path = `/v1/accounts/${accountId}/messages/${(await messagesOf(daemon, accountId)).get(subject)?.id}`;
  const { headers } = await daemon.call("GET", path);
  const base = { "if-match": headers.get("etag") ?? "" };
  expect((await daemon.call("DELETE", `${path}?purge=true`, undefined, base)).status).toBe(200);
};

/** INBOX of a user has other numbers. */
export const numberAnew = (server: Dovecot, user: string): Promise<unknown> =>
  server.doveadm("mailbox", "update", "-u", user, "--uid-validity", "1234567", "INBOX");

/** Does what gives a mailbox other numbers, and waits until its account has seen that. */
export const renumber = async (daemon: Daemon, accountId: string, work: () => Promise<unknown>): Promise<void> => {
  await work();
  const isSeen = async () => (await changesOf(daemon, accountId)).some(({ kind }) => kind === "epoch.changed");
  await eventually("it is numbered anew", isSeen, { timeoutMs: 30_000 });
};
