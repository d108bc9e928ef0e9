/** The server model is held against a real Dovecot: the same script, looked at through the real drivers and through the model's. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MaildropSession, Session } from "../../src/endpoints/endpoint.ts";
import { pop3Driver } from "../../src/endpoints/pop3/driver.ts";
import type { MailboxCursor, MailboxObservation } from "../../src/model/observation.ts";
import { forever, limits, openDovecot, quietLog } from "../endpoints/imap/session-fixture.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import type { ImapDevice } from "../support/imap-device.ts";
import { octetsOf } from "./devices.ts";
import { observeModel } from "./imap-seam.ts";
import { Pop3Model } from "./pop3-model.ts";
import { noQuirks } from "./quirks.ts";
import { ServerModel } from "./server-model.ts";

const paths = ["INBOX", "Archive", "Trash"] as const;
const scripts = Number(process.env["SIM_DIFFERENTIAL"] ?? 12);

const small = fc.nat({ max: 4 });
const box = fc.constantFrom(...paths);
const flag = fc.constantFrom("\\Seen", "\\Flagged", "urgent");
const stepArbitrary = fc.oneof(
  fc.record({ do: fc.constant("deliver" as const), box, content: small, flags: fc.subarray(["\\Seen", "\\Flagged"]) }),
  fc.record({ do: fc.constant("deliver" as const), box: fc.constant("INBOX" as const), content: small, flags: fc.constant([]) }),
  fc.record({ do: fc.constant("store" as const), box, item: small, flag, set: fc.boolean() }),
  fc.record({ do: fc.constantFrom("move" as const, "copy" as const), box, item: small, to: box }),
  fc.record({ do: fc.constant("delete" as const), box, item: small }),
  fc.record({ do: fc.constantFrom("retrieve" as const, "drain" as const), most: small }),
  fc.constant({ do: "look" as const }),
);
type Step = typeof stepArbitrary extends fc.Arbitrary<infer T> ? T : never;

let dovecot: Dovecot;
let user = 0;
beforeAll(async () => {
  dovecot = await startDovecot({ users: 3000 });
});
afterAll(() => dovecot.stop());

const cursorOf = ({ uidValidity, uidNext, highestModseq }: MailboxObservation): MailboxCursor => ({
  uidValidity,
  uidNext,
  highestModseq,
});

/** What both must agree on; UIDVALIDITY and the first mod-sequence are each server's own. */
const comparable = (seen: MailboxObservation) => ({
  exists: seen.exists,
  uidNext: seen.uidNext,
  method: seen.method,
  vanished: seen.vanished,
  present: seen.present,
  flags: seen.flags.map(
    ({ uid, flags }) =>
      `${uid} ${flags
        .filter((one) => one !== "\\Recent")
        .toSorted()
        .join()}`,
  ),
});

const stepsOf = (seen: MailboxObservation, before: MailboxCursor): number =>
  Number((seen.highestModseq ?? 0n) - (before.highestModseq ?? 0n));

/** One account on both servers. */
class Pair {
  readonly model = new ServerModel(noQuirks);
  readonly #n: number;
  readonly #device: ImapDevice;
  readonly #session: Session;
  readonly #cursors = new Map<string, { model: MailboxCursor; real: MailboxCursor; bound: number }>();

  private constructor(n: number, device: ImapDevice, session: Session) {
    this.#n = n;
    this.#device = device;
    this.#session = session;
    for (const path of paths) this.model.create(path, path === "INBOX" ? "inbox" : null);
  }

  static async open(): Promise<Pair> {
    user += 1;
    const device = await dovecot.device(user);
    for (const path of paths.slice(1)) await device.create(path);
    return new Pair(user, device, await openDovecot(dovecot, user));
  }

  async close(): Promise<void> {
    await this.#session.close();
    await this.#device.close();
  }

  async take(step: Step): Promise<void> {
    switch (step.do) {
      case "look":
        return this.look();
      case "deliver": {
        const mail = { content: `mail ${step.content}`, octets: octetsOf(step.content), flags: step.flags };
        const date = new Date(Date.UTC(2026, 10, 2));
        this.model.append(step.box, { ...mail, date, by: "delivery" });
        await this.#device.append(step.box, { raw: mail.octets, flags: [...step.flags], internalDate: date });
        return;
      }
      case "retrieve":
      case "drain":
        return this.#pop(step);
      default:
        return this.#onItem(step);
    }
  }

  /** Both servers, looked at since the last look. */
  async look(): Promise<void> {
    for (const path of paths) {
      const last = this.#cursors.get(path);
      const ask = (since: MailboxCursor | undefined) => ({ path, since: since ?? null, boundCount: last?.bound ?? null });
      const model = observeModel(this.model, ask(last?.model), false);
      const real = await this.#session.observe(ask(last?.real), forever);
      expect(comparable(real)).toEqual(comparable(model));
      // A keyword that is new to a mailbox costs Dovecot a step of its own; fewer steps than changes there never are (4.3).
      if (last !== undefined) expect(stepsOf(real, last.real)).toBeGreaterThanOrEqual(stepsOf(model, last.model));
      this.#cursors.set(path, { model: cursorOf(model), real: cursorOf(real), bound: model.exists });
    }
  }

  async #onItem(step: Extract<Step, { item: number }>): Promise<void> {
    const { items } = this.model.at(step.box);
    const item = items[step.item % Math.max(1, items.length)];
    if (item === undefined) return;
    const { uid } = item;
    if ("to" in step && step.to === step.box) return;
    await this.#device.select(step.box);
    switch (step.do) {
      case "store":
        this.model.store(step.box, [uid], { [step.set ? "add" : "remove"]: [step.flag], by: "imap" });
        return this.#device.store(uid, step.set ? "+" : "-", [step.flag]);
      case "delete":
        this.model.store(step.box, [uid], { add: ["\\Deleted"], by: "imap" });
        this.model.expunge(step.box, [uid], "imap");
        return this.#device.expunge(uid);
      case "move":
        this.model.move(step.box, [uid], step.to, "imap");
        return this.#device.move(uid, step.to);
      case "copy":
        this.model.copy(step.box, [uid], step.to, "imap");
        return this.#device.copy(uid, step.to);
    }
  }

  async #pop({ do: what, most }: Extract<Step, { most: number }>): Promise<void> {
    const { host, pop3Port: port } = dovecot;
    const settings = { protocol: "pop3", host, port, security: "none", tls: { caPem: null, rejectUnauthorized: true } } as const;
    const credentials = { type: "password", ...dovecot.account(this.#n) } as const;
    const request = { settings, credentials, profile: { wholeBy: "retr" }, log: quietLog } as const;
    const model = new Pop3Model(this.model);
    if (what === "drain") {
      const session = await pop3Driver(limits).openRemoval(request, forever);
      const { items } = await session.list(forever);
      expect(items.map(({ size }) => size)).toEqual(model.entries.map(({ size }) => size));
      await session.mark(items.slice(0, most), forever);
      await session.commit(forever);
      for (const { number } of model.entries.slice(0, most)) model.dele(number);
    } else await this.#retrieve(await pop3Driver(limits).open(request, forever), model, most);
    model.quit("pop3");
  }

  async #retrieve(session: MaildropSession, model: Pop3Model, most: number): Promise<void> {
    const { items } = await session.list(forever);
    // Eight hex digits of the UID come first, in Dovecot's default format.
    expect(items.map(({ uidl }) => uidl.slice(0, 8).toLowerCase())).toEqual(
      model.entries.map(({ uidl }) => uidl.slice(0, 8).toLowerCase()),
    );
    for await (const { item, octets } of session.octets(items.slice(0, most), { mayMark: true }, forever)) {
      const parts: Buffer[] = [];
      for await (const part of octets?.parts() ?? []) parts.push(part);
      expect(Buffer.concat(parts)).toEqual(model.retr(item.number));
    }
    await session.close();
  }
}

describe("the server model", () => {
  it("shows what a Dovecot shows, whatever is done to both", { timeout: 0 }, () =>
    fc.assert(
      fc.asyncProperty(fc.array(stepArbitrary, { minLength: 5, maxLength: 25 }), async (script) => {
        const pair = await Pair.open();
        try {
          await pair.look();
          for (const step of script) await pair.take(step);
          await pair.look();
        } finally {
          await pair.close();
        }
      }),
      { numRuns: scripts, ...(process.env["SIM_SEED"] !== undefined && { seed: Number(process.env["SIM_SEED"]) }) },
    ),
  );
});
