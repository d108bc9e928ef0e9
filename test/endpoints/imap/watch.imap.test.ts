import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Session } from "../../../src/endpoints/endpoint.ts";
import { type Dovecot, startDovecot } from "../../support/dovecot.ts";
import { eventually } from "../../support/eventually.ts";
import { startScripted } from "../../support/scripted-server.ts";
import { fetchAll, forever, Heard, openAt, openDovecot } from "./session-fixture.ts";

const mail = (subject: string): Buffer => Buffer.from(`Subject: ${subject}\r\n\r\n${subject}\r\n`);
const look = (session: Session, path: string) => session.observe({ path, since: null, boundCount: null }, forever);

describe.each([
  { push: "notify" as const, withoutCapabilities: [] },
  { push: "idle" as const, withoutCapabilities: ["NOTIFY"] },
])("watching with $push", ({ push, withoutCapabilities }) => {
  let dovecot: Dovecot;
  beforeAll(async () => {
    dovecot = await startDovecot({ withoutCapabilities });
  });
  afterAll(() => dovecot.stop());

  test("brings news of INBOX as soon as another listener has them", async () => {
    await dovecot.deliver({ user: "user1", mailbox: "INBOX", messages: [mail("one")] });
    const session = await openDovecot(dovecot, 1);
    await session.survey(forever);
    const heard = new Heard();
    const { watching } = await session.watch(heard, forever);
    expect(watching).toEqual(push === "notify" ? ["*"] : ["INBOX"]);
    expect(session.profile.push).toBe(push);

    await using rival = await dovecot.device(1);
    await rival.select("INBOX");
    const idle = await rival.idle();
    await using device = await dovecot.device(1);
    await device.select("INBOX");
    await device.store(1, "+", ["\\Flagged"]);
    const flagged = await heard.of("INBOX");
    const rivalFlagged = await idle.next(/FETCH/);
    expect(flagged.at - rivalFlagged.at).toBeLessThan(100);

    const before = heard.news.length;
    await device.append("INBOX", mail("two"));
    const arrived = await heard.of("INBOX", before);
    const rivalArrived = await idle.next(/2 EXISTS/);
    expect(arrived.at - rivalArrived.at).toBeLessThan(100);
    await idle.done();
    await session.close();
    expect(heard.lost).toEqual([]);
  });

  test("goes on listening after every verb, also for what happened meanwhile", async () => {
    await dovecot.deliver({ user: "user2", mailbox: "INBOX", messages: [mail("one")] });
    await dovecot.deliver({ user: "user2", mailbox: "Sent", messages: [mail("two")] });
    const session = await openDovecot(dovecot, 2, { timing: { lingerMs: 5 } });
    const heard = new Heard();
    await session.survey(forever);
    await session.watch(heard, forever);
    await using device = await dovecot.device(2);
    for (let round = 0; round < 3; round++) {
      await session.survey(forever);
      const seen = await look(session, "Sent");
      await fetchAll(session, { path: "Sent", uidValidity: seen.uidValidity, ranges: [{ from: 1, to: 1 }] });
      const before = heard.news.length;
      await device.append("INBOX", mail(`round ${round}`));
      await heard.of("INBOX", before);
      expect((await look(session, "INBOX")).exists).toBe(2 + round);
    }
    await session.close();
  });

  test("is quiet when nothing happens and its own verbs are no news", async () => {
    await dovecot.deliver({ user: "user3", mailbox: "INBOX", messages: [mail("one")] });
    const session = await openDovecot(dovecot, 3, { timing: { lingerMs: 5 } });
    const heard = new Heard();
    await session.survey(forever);
    await session.watch(heard, forever);
    await using device = await dovecot.device(3);
    await session.survey(forever);
    const seen = await look(session, "INBOX");
    await fetchAll(session, { path: "INBOX", uidValidity: seen.uidValidity, ranges: [{ from: 1, to: 1 }] });
    await look(session, "Sent");
    await look(session, "INBOX");
    const before = heard.news.length;
    // The server tells in order: once this is heard, anything older would have been.
    await device.append("INBOX", mail("two"));
    await heard.of("INBOX", before);
    expect(heard.news.slice(before).map(({ path }) => path)).toEqual(["INBOX"]);
    expect(before).toBe(0);
    await session.close();
  });

  test("tells once that the connection is lost", async () => {
    const own = await startDovecot({ withoutCapabilities });
    const session = await openDovecot(own, 1);
    const heard = new Heard();
    await session.watch(heard, forever);
    await own.stop();
    await eventually("the loss is told", () => heard.lost.length > 0);
    await session.close();
    expect(heard.lost).toHaveLength(1);
    expect(heard.lost[0]).toMatchObject({ name: "SyncError", kind: "transient", scope: "endpoint" });
    expect(session.usable).toBe(false);
  });
});

describe("watching with notify", () => {
  test("brings news of every mailbox, and of mailboxes made and removed", async () => {
    await using dovecot = await startDovecot();
    const session = await openDovecot(dovecot, 1);
    await session.survey(forever);
    const heard = new Heard();
    await session.watch(heard, forever);
    await using device = await dovecot.device(1);
    await device.append("Sent", mail("one"));
    await heard.of("Sent");
    await device.select("Sent");
    let before = heard.news.length;
    await device.store(1, "+", ["\\Seen"]);
    await heard.of("Sent", before);
    before = heard.news.length;
    await device.expunge(1);
    await heard.of("Sent", before);
    before = heard.news.length;
    await device.create("Projects");
    await heard.of(null, before);
    await session.close();
  });
});

describe("watching an odd server", () => {
  const notifying = "IMAP4rev1 NOTIFY UNSELECT IDLE";

  test("falls back from NOTIFY to IDLE, and from IDLE to polling, when they are refused", async () => {
    await using server = await startScripted({
      capability: notifying,
      rules: [{ on: /^NOTIFY/, reply: ["{tag} NO [BADEVENT (MessageNew)] no\r\n"] }],
    });
    const session = await openAt(server);
    expect((await session.watch(new Heard(), forever)).watching).toEqual(["INBOX"]);
    expect(server.received.filter(({ line }) => line.includes("NOTIFY"))).toHaveLength(2);
    await session.close();
    await using mute = await startScripted({ rules: [{ on: /^IDLE/, reply: ["{tag} BAD what?\r\n"] }] });
    const polled = await openAt(mute);
    expect((await polled.watch(new Heard(), forever)).watching).toEqual([]);
    expect(polled.profile.push).toBe("poll");
    expect((await look(polled, "INBOX")).exists).toBe(3);
    await polled.close();
  });

  test("asks anew and looks everywhere when the server gave up NOTIFY (RFC 5465)", async () => {
    await using server = await startScripted({
      capability: notifying,
      rules: [
        { on: /^NOTIFY/, nth: 1, reply: ["{tag} OK done\r\n* OK [NOTIFICATIONOVERFLOW] too much\r\n"] },
        { on: /^NOTIFY/, reply: ["{tag} OK done\r\n"] },
      ],
    });
    const session = await openAt(server, { timing: { lingerMs: 1 } });
    const heard = new Heard();
    await session.watch(heard, forever);
    await heard.of(null);
    await eventually(
      "NOTIFY is asked for again",
      () => server.received.filter(({ line }) => line.includes("NOTIFY")).length === 2,
    );
    await session.close();
  });

  test("tells a burst of a thousand lines in a few calls, the first of them at once", async () => {
    await using server = await startScripted({
      rules: [{ on: /^IDLE/, nth: 1, reply: ["+ idling\r\n{lines:* %d FETCH (FLAGS (\\Seen)):1000}"] }],
    });
    const session = await openAt(server);
    const heard = new Heard();
    await session.watch(heard, forever);
    await heard.of("INBOX", 1);
    expect(heard.news.length).toBeLessThan(20);
    expect(new Set(heard.news.map(({ path }) => path))).toEqual(new Set(["INBOX"]));
    await session.close();
  });

  test("takes a server's small talk for no news", async () => {
    const talk =
      "* OK Still here\r\n* 0 RECENT\r\n* 3 EXISTS\r\n* OK [ALERT] hello\r\n* 0 EXPUNGE\r\n* 0 FETCH ()\r\n* 4 EXISTS\r\n";
    await using server = await startScripted({ rules: [{ on: /^IDLE/, nth: 1, reply: [`+ idling\r\n${talk}`] }] });
    const session = await openAt(server);
    const heard = new Heard();
    await session.watch(heard, forever);
    await heard.of("INBOX");
    expect(heard.news).toHaveLength(1);
    await session.close();
  });

  test("sees what happened to INBOX while another mailbox was open", async () => {
    await using server = await startScripted({
      rules: [
        {
          on: /^EXAMINE "INBOX"/,
          nth: 2,
          reply: ["* 4 EXISTS\r\n* OK [UIDVALIDITY 1717488672] ok\r\n* OK [UIDNEXT 105] ok\r\n{ok}"],
        },
      ],
    });
    const session = await openAt(server, { timing: { lingerMs: 1 } });
    const heard = new Heard();
    await session.watch(heard, forever);
    await look(session, "other");
    await heard.of("INBOX");
    await session.close();
  });

  test("finds a connection dead that no longer answers DONE or NOOP", async () => {
    for (const silent of [/^DONE/, /^NOOP/]) {
      await using server = await startScripted({ rules: [{ on: silent, reply: [], ending: "stall" }] });
      const session = await openAt(server, { timing: { probeMs: 1, tickMs: 10, doneMs: 100, noopMs: 100 } });
      const heard = new Heard();
      await session.watch(heard, forever);
      await eventually("the loss is told", () => heard.lost.length === 1);
      expect(session.usable).toBe(false);
      await session.close();
    }
  });

  test("asks a server that was silent whether it is there, before it asks for more", async () => {
    const deaf = { on: /^NOOP/, reply: [], ending: "stall" } as const;
    const list = { on: /^LIST .*\*/, reply: [], ending: "stall" } as const;
    await using server = await startScripted({ capability: "IMAP4rev1", rules: [deaf, list] });
    const session = await openAt(server, { timing: { quietMs: 0, doneMs: 100 } });
    await expect(session.survey(forever)).rejects.toMatchObject({ code: "endpoint_timeout", scope: "endpoint" });
    expect(server.received.some(({ line }) => line.includes("*"))).toBe(false);
    await session.close();
  });

  test("proves from time to time that its connection lives, and listens again after that", async () => {
    await using server = await startScripted();
    const session = await openAt(server, { timing: { probeMs: 1, tickMs: 10, lingerMs: 1 } });
    await session.watch(new Heard(), forever);
    await eventually("it probes and idles again", () => {
      const lines = server.received.map(({ line }) => line.replace(/^\S+ /, ""));
      return lines.filter((line) => line === "NOOP").length >= 2 && lines.filter((line) => line === "IDLE").length >= 3;
    });
    expect(session.usable).toBe(true);
    await session.close();
  });

  test("stops idling on a server that ends every IDLE at once", async () => {
    await using server = await startScripted({ rules: [{ on: /^IDLE/, reply: ["+ idling\r\n{tag} OK enough\r\n"] }] });
    const session = await openAt(server, { timing: { lingerMs: 1 } });
    await session.watch(new Heard(), forever);
    await eventually("it gives up", () => server.received.filter(({ line }) => line.endsWith(" IDLE")).length === 3);
    await look(session, "INBOX");
    await look(session, "INBOX");
    expect(server.received.filter(({ line }) => line.endsWith(" IDLE"))).toHaveLength(3);
    await session.close();
  });

  test("closes within moments even when the server does not answer", async () => {
    await using server = await startScripted({ rules: [{ on: /^(DONE|LOGOUT)/, reply: [], ending: "stall" }] });
    const session = await openAt(server, { timing: { byeMs: 100 } });
    const heard = new Heard();
    await session.watch(heard, forever);
    const began = performance.now();
    await session.close();
    await session.close();
    expect(performance.now() - began).toBeLessThan(2000);
    expect(heard.lost).toEqual([]);
  });
});
