import { describe, expect, test } from "vitest";
import type { Pop3Connection } from "../../../src/endpoints/pop3/connection.ts";
import { SyncError } from "../../../src/model/failure.ts";
import { loadQuirks } from "../../support/quirks.ts";
import { startScripted } from "../../support/scripted-server.ts";
import { forever, openAt, wholeOf } from "./connection-fixture.ts";

const quirks = loadQuirks().filter(({ protocol }) => protocol === "pop3");
const timing = { connectMs: 5000, loginMs: 5000, commandMs: 10_000, silenceMs: 2000 };

/** A whole visit; each step tells what it gave, or the kind and scope of its error. */
const visit = async (connection: Pop3Connection): Promise<Record<string, unknown>> => {
  const told = async (step: Promise<unknown>): Promise<unknown> => {
    try {
      return await step;
    } catch (error) {
      expect(error).toBeInstanceOf(SyncError);
      const { kind, scope, code } = error as SyncError;
      return `${kind}/${scope} ${code}`;
    }
  };
  const read = (number: number) =>
    connection.retr({ number, size: null }, forever).then(async (octets) => (await wholeOf(octets)).toString("latin1"));
  return {
    stat: await told(connection.stat(forever)),
    list: await told(connection.list(forever).then(({ messages }) => messages.length)),
    uidl: await told(connection.uidl(forever).then((listing) => listing?.messages.length ?? null)),
    top: await told(
      connection
        .top({ number: 1, size: null }, 0, forever)
        .then(wholeOf)
        .then(({ length }) => length > 0),
    ),
    second: await told(read(2)),
    third: await told(read(3)),
    quit: await connection.quit(forever),
  };
};

const lost = "transient/endpoint endpoint_closed";
const slow = "transient/endpoint endpoint_timeout";

/** What must come of it, where it is not just a visit like any other. */
const outcomes: Readonly<Record<string, object>> = {
  "pop3-stat-malformed-3": { stat: { count: 7, octets: null } },
  "pop3-uidl-unsupported": { uidl: null, quit: true },
  "pop3-uidl-100000": { list: 100_000, uidl: 100_000 },
  "pop3-retr-no-final-dot": { second: lost, quit: false },
  "pop3-retr-dot-without-newline": { second: slow, quit: false },
  "pop3-retr-dots-not-stuffed": { second: "bug/endpoint endpoint_protocol_error", quit: false },
  "pop3-retr-bare-lf": { second: "Subject: a\n\nbody\n", quit: true },
  "pop3-retr-lf-dot-crlf": { second: "Subject: a\r\n\r\na\n.\r\nb\r\n\n.\nc\r\n", quit: true },
  "pop3-retr-err-sys-temp": { second: "transient/endpoint endpoint_unavailable", quit: false },
  "pop3-retr-empty-message": { second: "", quit: true },
  "pop3-session-quit-err": { quit: false },
};

describe.runIf(quirks.length > 0)("what servers in the field do", () => {
  test.each(quirks.map((quirk) => [quirk.id, quirk] as const))("ends well or in an error: %s", async (id, { script }) => {
    await using server = await startScripted(script);
    try {
      const seen = await visit(await openAt(server, { timing }));
      expect(seen).toMatchObject(outcomes[id] ?? {});
      if (!(id in outcomes)) expect(seen).not.toMatchObject({ second: expect.stringMatching(/^bug/) });
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      // Only these let nobody in.
      expect(id).toMatch(/^pop3-(auth-resp|greeting-not-pop3|auth-user-ok)/);
    }
  });
});
