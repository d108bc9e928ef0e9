/** Semantics C6: a connection for reading cannot change anything, though the server would let it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { resolveHost } from "../../../src/endpoints/egress.ts";
import { connect } from "../../../src/endpoints/imap/connect.ts";
import type { Wire } from "../../../src/endpoints/imap/wire.ts";
import { type Dovecot, startDovecot } from "../../support/dovecot.ts";
import { forever, limits } from "./session-fixture.ts";

let server: Dovecot;

beforeAll(async () => {
  server = await startDovecot({ users: 2 });
  for (const n of [1, 2]) {
    await using device = await server.device(n);
    await device.append("INBOX", Buffer.from("Subject: m\r\n\r\nm\r\n"));
    await device.create("Work");
  }
});

afterAll(() => server.stop());

const itemsOf = async (n: number): Promise<readonly number[]> => {
  await using device = await server.device(n);
  return [(await device.select("INBOX")).exists, (await device.select("Work")).exists];
};

const open = async (n: number): Promise<Wire> => {
  const tls = { caPem: server.caPem, rejectUnauthorized: true };
  const settings = { protocol: "imap", host: "localhost", port: server.imapsPort, security: "tls", tls } as const;
  const credentials = { type: "password", ...server.account(n) } as const;
  const address = await resolveHost(settings.host, limits, forever);
  return connect({ settings, credentials, address, limits }, forever);
};

const options = { ms: 5_000, signal: forever };
const atom = (value: string) => ({ type: "ATOM", value });

describe("a mailbox that was opened by EXAMINE", () => {
  it("S138: lets mail be moved out of it, so that it is no barrier", async () => {
    await using device = await server.device(1);
    await device.command("EXAMINE INBOX");
    await device.command("UID MOVE 1 Work");
    expect(await itemsOf(1)).toEqual([0, 1]);
  });

  it("S138: is not changed by a connection for reading, whatever is asked of it", async () => {
    const wire = await open(2);
    await wire.command("EXAMINE", ["INBOX"], options);
    const said: readonly (readonly [string, readonly unknown[]])[] = [
      ["UID MOVE", [atom("1"), "Work"]],
      ["MOVE", [atom("1"), "Work"]],
      ["UID COPY", [atom("1"), "Work"]],
      ["UID STORE", [atom("1"), atom("+FLAGS"), [atom("\\Deleted")]]],
      ["uid expunge", [atom("1")]],
      ["EXPUNGE", []],
      ["CLOSE", []],
      ["SELECT", ["INBOX"]],
      ["DELETE", ["Work"]],
      ["APPEND", ["Work", "x"]],
    ];
    for (const [command, attributes] of said)
      await expect(wire.command(command, attributes, options), command).rejects.toThrow(`does not say ${command}`);
    // By the library's own ways, too.
    expect(await wire.client.mailboxDelete("Work").catch(() => "refused")).toBe("refused");
    const { whole } = await wire.command("UID FETCH", [atom("1"), [atom("UID")]], options);
    expect(whole).toBe(true);
    wire.client.close();
    expect(await itemsOf(2)).toEqual([1, 0]);
  });
});
