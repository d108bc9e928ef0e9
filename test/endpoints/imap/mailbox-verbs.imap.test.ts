/** Mailboxes made, renamed and removed on a real Dovecot, with either delimiter. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MailboxWriter } from "../../../src/endpoints/endpoint.ts";
import { imapWriterDriver } from "../../../src/endpoints/imap/writer.ts";
import { type Dovecot, startDovecot } from "../../support/dovecot.ts";
import { byPath, forever, limits, openDovecot, quietLog } from "./session-fixture.ts";

const underInbox = `
namespace inbox {
  separator = .
  prefix = INBOX.
}`;

describe.each([
  { delimiter: "/", prefix: "", extraConfig: "" },
  { delimiter: ".", prefix: "INBOX.", extraConfig: underInbox },
])("mailboxes of a server with $delimiter between levels", ({ delimiter, prefix, extraConfig }) => {
  let server: Dovecot;
  let writer: MailboxWriter;

  beforeAll(async () => {
    server = await startDovecot({ users: 1, extraConfig });
    const tls = { caPem: server.caPem, rejectUnauthorized: true };
    const settings = { protocol: "imap", host: "localhost", port: server.imapsPort, security: "tls", tls } as const;
    const credentials = { type: "password", ...server.account(1) } as const;
    writer = await imapWriterDriver(limits).open({ settings, credentials, profile: {}, log: quietLog }, forever);
  });

  afterAll(async () => {
    await writer.close();
    await server.stop();
  });

  const at = (...names: readonly string[]): string => prefix + names.join(delimiter);

  const look = async () => {
    const session = await openDovecot(server, 1);
    try {
      return (await session.survey(forever)).mailboxes;
    } finally {
      await session.close();
    }
  };

  const fill = async (path: string): Promise<void> => {
    await using device = await server.device(1);
    await device.appendAll(path, [{ raw: Buffer.from("Subject: one\r\n\r\none\r\n"), flags: [] }]);
  };

  const doomed = async (path: string) => ({
    path,
    delimiter,
    uidValidity: byPath(await look(), path).status?.uidValidity ?? null,
  });

  it("begin where the server says", async () => {
    expect(await writer.rootPrefix(forever)).toBe(prefix);
  });

  it("are made under any name, and shown to devices", async () => {
    for (const name of ["Steuer & Bücher", "日本", 'a "b" c', "100% *"]) {
      expect(await writer.create(at(name), forever)).toEqual({ kind: "done" });
      expect(byPath(await look(), at(name))).toMatchObject({ subscribed: true, selectable: true });
    }
  });

  it("D11: are not made twice, and what differs in case is another one", async () => {
    expect(await writer.create(at("Proj"), forever)).toEqual({ kind: "done" });
    expect(await writer.create(at("Proj"), forever)).toEqual({ kind: "exists" });
    expect(await writer.create(at("proj"), forever)).toEqual({ kind: "done" });
    expect(await writer.create("inbox", forever)).toEqual({ kind: "exists" });
  });

  it("are renamed with what lies below them, and nothing else changes", async () => {
    await writer.create(at("Ältere"), forever);
    await writer.create(at("Ältere", "Äpfel"), forever);
    await fill(at("Ältere", "Äpfel"));
    const before = byPath(await look(), at("Ältere", "Äpfel")).status;
    expect(await writer.rename({ from: at("Ältere"), to: at("Ländlich") }, forever)).toEqual({ kind: "done" });
    expect(byPath(await look(), at("Ländlich", "Äpfel")).status).toEqual(before);
    await writer.create(at("Taken"), forever);
    expect(await writer.rename({ from: at("Ländlich"), to: at("Taken") }, forever)).toEqual({ kind: "exists" });
    expect(await writer.rename({ from: at("Nowhere"), to: at("Else") }, forever)).toEqual({ kind: "refused", why: "no_mailbox" });
  });

  it("are shown to devices, or not, as often as they are told", async () => {
    await writer.create(at("Shown"), forever);
    for (const shown of [false, false, true, true]) {
      await writer.subscribe(at("Shown"), shown, forever);
      expect(byPath(await look(), at("Shown")).subscribed).toBe(shown);
    }
    await writer.subscribe(at("Nowhere"), true, forever);
    await writer.subscribe(at("Nowhere"), false, forever);
  });

  it("D8: are removed only when they are empty, and are the ones that were meant", async () => {
    await writer.create(at("Full", "Empty"), forever);
    await writer.create(at("Full"), forever);
    const full = await doomed(at("Full"));
    expect(await writer.remove(full, forever)).toEqual({ kind: "occupied" });
    const empty = await doomed(at("Full", "Empty"));
    expect(await writer.remove({ ...empty, uidValidity: 1 }, forever)).toEqual({ kind: "refused", why: "epoch" });
    expect(await writer.remove(empty, forever)).toEqual({ kind: "done" });
    await fill(at("Full"));
    expect(await writer.remove(full, forever)).toEqual({ kind: "occupied" });
    await using device = await server.device(1);
    await device.select(at("Full"));
    await device.expunge("1:*");
    expect(await writer.remove(full, forever)).toEqual({ kind: "done" });
    expect((await look()).filter(({ path }) => path.startsWith(at("Full")))).toEqual([]);
    expect(await writer.remove(full, forever)).toEqual({ kind: "refused", why: "no_mailbox" });
  });

  it("D12: INBOX stays", async () => {
    await using device = await server.device(1);
    await device.select("INBOX");
    expect(await writer.remove({ path: "INBOX", delimiter, uidValidity: null }, forever)).not.toEqual({ kind: "done" });
    expect((await look()).some(({ path }) => path === "INBOX")).toBe(true);
  });
});
