/** What a look at an IMAP endpoint tells of a real server, and of some that contradict themselves. */
import { describe, expect, test } from "vitest";
import { examinerFor } from "../../../src/endpoints/registry.ts";
import type { Diagnosis } from "../../../src/model/diagnosis.ts";
import type { EndpointSettings } from "../../../src/model/endpoint.ts";
import { type Dovecot, type DovecotOptions, startDovecot } from "../../support/dovecot.ts";
import { makeMessages } from "../../support/messages.ts";
import type { Script } from "../../support/script.ts";
import { startScripted } from "../../support/scripted-server.ts";
import { forever, limits, someone } from "../pop3/connection-fixture.ts";

const examine = examinerFor(limits);

const codes = ({ advice }: Diagnosis): readonly string[] => advice.map(({ code }) => code);

const atDovecot = (server: Dovecot, rest: Partial<EndpointSettings> = {}, password?: string): Promise<Diagnosis> => {
  const account = server.account(1);
  const settings: EndpointSettings = {
    protocol: "imap",
    host: "localhost",
    port: server.imapsPort,
    security: "tls",
    tls: { caPem: server.caPem, rejectUnauthorized: true },
    ...rest,
  };
  const credentials = { type: "password", user: account.user, password: password ?? account.password } as const;
  return examine({ settings, credentials }, forever);
};

const withMail = async (options: DovecotOptions = {}): Promise<Dovecot> => {
  const server = await startDovecot({ users: 1, ...options });
  await server.deliver({ user: "user1", mailbox: "INBOX", messages: makeMessages({ count: 5, seed: 7 }) });
  return server;
};

const scripted = async (script: Script): Promise<Diagnosis> => {
  await using server = await startScripted(script);
  const settings: EndpointSettings = {
    protocol: "imap",
    host: server.host,
    port: server.port,
    security: "none",
    tls: { caPem: null, rejectUnauthorized: true },
  };
  return await examine({ settings, credentials: someone }, forever); // Before the server is disposed.
};

describe("a look at Dovecot", () => {
  test("tells how it is protected, what it offers, and that its mod-sequences hold", async () => {
    await using server = await withMail();
    const diagnosis = await atDovecot(server);
    expect(diagnosis).toMatchObject({
      reachable: true,
      failed: null,
      login: "accepted",
      server: { kind: "dovecot", name: "Dovecot" },
      tls: {
        mode: "implicit",
        version: "TLSv1.3",
        certificate: { valid: true, names: ["localhost", "127.0.0.1", expect.anything()] },
      },
      imap: {
        changeDetection: "qresync",
        condstore: { verdict: "honest" },
        push: "notify",
        listStatus: true,
        specialUse: true,
        roles: ["archive", "drafts", "inbox", "junk", "sent", "trash"],
        mailboxes: 6,
        inboxMessages: 5,
      },
      pop3: null,
    });
    expect(diagnosis.imap?.condstore.evidence).toHaveLength(4);
    expect(diagnosis.capabilities.beforeLogin).toContain("AUTH=PLAIN");
    expect(diagnosis.capabilities.beforeLogin).not.toContain("QRESYNC");
    expect(diagnosis.capabilities.afterLogin).toContain("QRESYNC");
    expect(codes(diagnosis)).toEqual(["change_detection", "push_all"]);
  });

  test("an empty INBOX proves nothing", async () => {
    await using server = await startDovecot({ users: 1 });
    const { imap } = await atDovecot(server);
    expect(imap).toMatchObject({ inboxMessages: 0, condstore: { verdict: "unproven" } });
  });

  test("without mod-sequences and news, and not by their names the roles are told", async () => {
    await using server = await withMail({
      withoutCapabilities: ["CONDSTORE", "QRESYNC", "NOTIFY", "IDLE", "SPECIAL-USE", "LIST-STATUS"],
    });
    const diagnosis = await atDovecot(server);
    expect(diagnosis).toMatchObject({
      failed: null,
      imap: { changeDetection: "full", condstore: { verdict: "absent" }, push: "poll", listStatus: false },
    });
    expect(codes(diagnosis)).toEqual(expect.arrayContaining(["modseq_absent", "push_none"]));
  });

  test("by STARTTLS, and in the clear", async () => {
    await using server = await withMail();
    const protectedBy = await atDovecot(server, { port: server.imapPort, security: "starttls" });
    expect(protectedBy).toMatchObject({ failed: null, tls: { mode: "starttls", certificate: { valid: true } } });
    const clear = await atDovecot(server, { port: server.imapPort, security: "none" });
    expect(clear).toMatchObject({ failed: null, tls: null });
    expect(codes(clear)).toContain("cleartext");
  });

  test("is over at a wrong password, at a stranger's certificate and at a name it is not good for", async () => {
    await using server = await withMail();
    const password = "not-the-password-4711";
    const refused = await atDovecot(server, {}, password);
    expect(refused).toMatchObject({
      reachable: true,
      login: "refused",
      failed: { step: "login", code: "endpoint_auth_failed" },
      imap: null,
    });
    expect(JSON.stringify(refused)).not.toContain(password);
    const stranger = await atDovecot(server, { tls: { caPem: null, rejectUnauthorized: true } });
    expect(stranger).toMatchObject({
      failed: { step: "tls" },
      login: "not_tried",
      tls: { certificate: { problem: "incomplete_chain" } },
    });
    // Another spelling of 127.0.0.1, which the certificate does not have.
    const misnamed = await atDovecot(server, { host: "127.1" });
    expect(misnamed).toMatchObject({ failed: { step: "tls" }, tls: { certificate: { problem: "name_mismatch" } } });
    expect(misnamed.failed?.message).toContain("good for localhost");
  });
});

describe("a look at a scripted server", () => {
  const capability = "IMAP4rev1 CONDSTORE UIDPLUS";
  const examined = (mark: string): Script["rules"] => [
    {
      on: /^STATUS .*HIGHESTMODSEQ/i,
      reply: ["* STATUS INBOX (MESSAGES 3 UIDNEXT 104 UIDVALIDITY 1717488672 UNSEEN 3 HIGHESTMODSEQ 90)\r\n{ok}"],
    },
    {
      on: /^EXAMINE/i,
      reply: ["* 3 EXISTS\r\n* OK [UIDVALIDITY 1717488672] .\r\n* OK [UIDNEXT 104] .\r\n", `* OK [${mark}] .\r\n{ok}`],
    },
  ];

  test("whose EXAMINE lies below its STATUS is not to be believed", async () => {
    const diagnosis = await scripted({
      capability,
      rules: [
        ...(examined("HIGHESTMODSEQ 80") ?? []),
        { on: /^UID FETCH \*/i, reply: ["* 3 FETCH (UID 103 FLAGS () MODSEQ (80))\r\n{ok}"] },
        { on: /^UID FETCH .*CHANGEDSINCE/i, reply: ["{ok}"] },
      ],
    });
    expect(diagnosis).toMatchObject({ failed: null, imap: { condstore: { verdict: "dishonest" } } });
    expect(codes(diagnosis)).toContain("modseq_dishonest");
  });

  test("that ignores CHANGEDSINCE is not to be believed", async () => {
    const diagnosis = await scripted({
      capability,
      rules: [
        ...(examined("HIGHESTMODSEQ 90") ?? []),
        { on: /^UID FETCH \*/i, reply: ["* 3 FETCH (UID 103 FLAGS () MODSEQ (80))\r\n{ok}"] },
        {
          on: /^UID FETCH .*CHANGEDSINCE/i,
          reply: ["* 1 FETCH (UID 101 FLAGS () MODSEQ (70))\r\n* 2 FETCH (UID 102 FLAGS () MODSEQ (75))\r\n{ok}"],
        },
      ],
    });
    expect(diagnosis.imap?.condstore).toMatchObject({
      verdict: "dishonest",
      evidence: expect.arrayContaining([expect.stringMatching(/^2 messages/)]),
    });
  });

  test("that keeps none for INBOX proves nothing", async () => {
    const diagnosis = await scripted({ capability, rules: examined("NOMODSEQ") ?? [] });
    expect(diagnosis.imap?.condstore.verdict).toBe("unproven");
  });

  test("is asked for nothing that changes anything", async () => {
    await using server = await startScripted({ capability });
    const settings = {
      protocol: "imap",
      host: server.host,
      port: server.port,
      security: "none",
      tls: { caPem: null, rejectUnauthorized: true },
    } as const;
    await examine({ settings, credentials: someone }, forever);
    const said = server.received.map(({ line }) => line.replace(/^\S+ /, "").split(" ", 2).join(" ").toUpperCase());
    expect(said).toEqual(expect.arrayContaining([expect.stringMatching(/^EXAMINE/)]));
    expect(
      said.filter((line) =>
        /^(?:SELECT|(?:UID )?(?:STORE|MOVE|COPY|EXPUNGE)|APPEND|CREATE|DELETE|RENAME|SUBSCRIBE|CLOSE)/.test(line),
      ),
    ).toEqual([]);
  });

  test("that turns everybody away, or lets everybody in", async () => {
    const away = await scripted({ greeting: "* BYE too many connections\r\n" });
    expect(away).toMatchObject({ reachable: false, failed: { step: "greeting", code: "endpoint_throttled" } });
    const open = await scripted({ greeting: "* PREAUTH come in\r\n" });
    expect(open).toMatchObject({ reachable: true, failed: { step: "login", code: "endpoint_refused" } });
  });
});
