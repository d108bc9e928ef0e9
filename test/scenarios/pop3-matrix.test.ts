/** The ways in which one real server does POP3, each with a device that keeps its mail there and one that takes it away. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { forever, openDovecot } from "../endpoints/pop3/connection-fixture.ts";
import { changesOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon } from "../support/daemon.ts";
import type { DovecotPop3 } from "../support/dovecot-config.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { drain, type ListedMail, mailOf, pop3Endpoint, rawOf, staysQuiet, upstreamOf } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

interface Variant {
  readonly name: string;
  readonly pop3: DovecotPop3;
}

const variants: readonly Variant[] = [
  { name: "as Dovecot comes", pop3: {} },
  { name: "RETR marks nothing", pop3: { noFlagUpdates: true } },
  { name: "DELE hides", pop3: { deletedFlag: "$POP3Deleted" } },
  { name: "UIDVALIDITY.UID", pop3: { uidlFormat: "%v.%u" } },
  { name: "UID alone, one session at a time", pop3: { uidlFormat: "%u", lockSession: true } },
  { name: "object ids", pop3: { uidlFormat: "%g" } },
  { name: "file names, one session at a time", pop3: { uidlFormat: "%f", lockSession: true } },
  {
    name: "ids like Courier's, RETR marks nothing, DELE hides",
    pop3: { uidlFormat: "UID%u-%v", noFlagUpdates: true, deletedFlag: "$gone" },
  },
];

let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;

const mail = (subject: string, body: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@matrix.test>\r\n\r\n${body}`);

const messages: readonly Buffer[] = [
  ...Array.from({ length: 26 }, (_, at) => mail(`m${at}`, `${"x".repeat(20_000)}\r\n`)),
  mail("twin", "same\r\n"),
  mail("twin", "same\r\n"),
  mail("id of another", "no end").fill("m00", 47, 50),
  Buffer.from("Subject: no id\r\n\r\n.\r\n"),
];

beforeAll(async () => {
  const pop3Of = Object.fromEntries(variants.map(({ pop3 }, at) => [at + 1, pop3]));
  server = await startDovecot({ users: variants.length, pop3Of });
  for (const at of variants.keys()) await server.deliver({ user: server.account(at + 1).user, mailbox: "INBOX", messages });
  fresh = await freshDatabase();
  daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
});

afterAll(async () => {
  await daemon.stop();
  await fresh.drop();
  await server.stop();
});

const placesOf = (found: readonly ListedMail[], subject: string) =>
  found.find((message) => message.subject === subject)?.placements[0];

/** What this server's POP3 sessions of one account did, summed up from its log. */
const sessionsOf = async (n: number): Promise<{ tops: number; retrs: number; octets: number }> => {
  const sums = { tops: 0, retrs: 0, octets: 0 };
  for (const [, tops, topped, retrs, retrieved] of (await server.log()).matchAll(
    new RegExp(String.raw`pop3\(user${n}\).*top=(\d+)/(\d+), retr=(\d+)/(\d+)`, "g"),
  )) {
    sums.tops += Number(tops);
    sums.retrs += Number(retrs);
    sums.octets += Number(topped) + Number(retrieved);
  }
  return sums;
};

describe("an account over IMAP and POP3, whatever the server's ways", () => {
  it.concurrent.each(variants.map((variant, at) => [variant.name, variant.pop3, at + 1] as const))(
    "S01 S11 S29 S31: %s",
    { timeout: 360_000 },
    async (_, pop3, n) => {
      await upstreamOf(server, n); // The first SELECT of all takes \\Recent away.
      const before = await upstreamOf(server, n);
      const { endpoints, ...rest } = dovecotAccount(server, n);
      const body = { ...rest, endpoints: [...endpoints, pop3Endpoint(server, n)], policy: { pop3Devices: "declared" } };
      const accountId = await liveAccount(daemon, body);
      const waitFor = (what: string, probe: (found: readonly ListedMail[]) => unknown): Promise<readonly ListedMail[]> =>
        eventually(
          what,
          async () => {
            const found = await mailOf(daemon, accountId);
            probe(found);
            return found;
          },
          { timeoutMs: 60_000, everyMs: 200 },
        );
      const protocolsOf = (found: readonly ListedMail[]): string[] =>
        found.flatMap(({ placements }) =>
          placements.map(({ bindings }) =>
            bindings
              .map(({ protocol }) => protocol)
              .toSorted()
              .join("+"),
          ),
        );
      await waitFor("all are bound to both views", (found) =>
        expect(protocolsOf(found)).toEqual(Array.from({ length: messages.length }, () => "imap+pop3")),
      );
      const own = await sessionsOf(n);
      expect(own.retrs).toBe(0);
      expect(own.octets, "no body was read over POP3").toBeLessThan(20_000);
      expect(await upstreamOf(server, n)).toEqual(before);
      // A device that leaves on the server what it has downloaded; the arrival is seen after the marks it may have made.
      const connection = await openDovecot(server, n);
      for (let number = 1; number <= 5; number += 1) await (await connection.retr({ number, size: null }, forever)).dispose();
      await connection.quit(forever);
      if (pop3.noFlagUpdates === true) expect(await upstreamOf(server, n)).toEqual(before);
      await server.deliver({ user: server.account(n).user, mailbox: "INBOX", messages: [mail("later", "\r\n")] });
      const unread = await waitFor("the next mail is there", (found) =>
        expect(placesOf(found, "later")?.bindings).toHaveLength(2),
      );
      expect(unread.flatMap(({ placements }) => placements.flatMap(({ keywords }) => Object.keys(keywords)))).toEqual([]);
      await drain(server, n, 3);
      const hides = pop3.deletedFlag?.toLowerCase();
      const taken = ["m0", "m1", "m2"];
      const after = await waitFor("what was taken is decided about", (found) => {
        for (const subject of taken)
          expect(placesOf(found, subject)).toMatchObject(
            hides === undefined
              ? { state: "kept", reason: "pop3_drain", keywords: {}, bindings: [] }
              : { state: "live", keywords: { [hides]: true }, bindings: [{ protocol: "imap" }] },
          );
      });
      for (const subject of taken) {
        const { id = "" } = after.find((message) => message.subject === subject) ?? {};
        expect(await rawOf(daemon, accountId, id)).toEqual(messages[Number(subject.slice(1))]);
      }
      const kinds = (await changesOf(daemon, accountId)).filter(({ kind }) => kind.startsWith("message."));
      const counts: Record<string, number> = {};
      for (const { kind, reason } of kinds) counts[`${kind} ${reason}`] = (counts[`${kind} ${reason}`] ?? 0) + 1;
      expect(counts).toEqual({
        "message.created backfilled": messages.length - 1,
        "message.created copied": 1, // The twin.
        "message.created delivered": 1,
        ...(pop3.noFlagUpdates !== true && { "message.keywords weak_seen": 5 }),
        ...(hides === undefined ? { "message.kept pop3_drain": 3 } : { "message.keywords upstream_flags": 3 }),
      });
      expect(protocolsOf(after).filter((protocols) => protocols === "imap+pop3")).toHaveLength(messages.length + 1 - 3);
    },
  );

  it("then is quiet", { timeout: 180_000 }, async () => {
    const { body } = await daemon.call<{ items: { id: string }[] }>("GET", "/v1/accounts");
    expect(await staysQuiet(daemon, body.items[0]?.id ?? "", fresh.url, 2)).toBe(0n);
  });
});
