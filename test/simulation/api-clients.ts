/**
 * Clients of the API: each says what it wants of what it saw when it synced last, and may say it twice. What they say becomes part of
 * the true story of the server model, as far as it can be known of which occurrence it is said.
 */
import { isDeepStrictEqual } from "node:util";
import { memoryOctets } from "../../src/endpoints/octets.ts";
import type { AccountId, MailboxId, MessageId } from "../../src/model/ids.ts";
import type { IntentResult, MailOp } from "../../src/model/intent.ts";
import type { Written } from "../../src/model/writes.ts";
import type { Database, Tx } from "../../src/store/database.ts";
import { IntentWrites } from "../../src/workers/intents.ts";
import { defaultTenant } from "../support/shard-owner.ts";
import { ApiStory } from "./api-story.ts";
import { type Action, octetsOf } from "./devices.ts";
import type { ServerModel } from "./server-model.ts";
import { type Held, readHeld } from "./state.ts";

const devices = 2;

type ApiAction = Extract<Action, { device: number }>;
type Said = Exclude<ApiAction, { do: "api syncs" }>;
type Import = Extract<ApiAction, { do: "api imports" }>;

/** What is refused, and may be: others did something meanwhile. */
const refusals = new Set([
  "state_mismatch",
  "not_durable",
  "mailbox_held",
  "mailbox_renumbered",
  "not_found",
  "not_recoverable",
  "cannot_undo",
  "mailbox_not_found",
]);

/** The day on which imported mail says that it was received. */
const receivedAt = Date.UTC(2026, 9, 1);

export class ApiClients {
  readonly story: ApiStory;
  readonly #db: Database;
  readonly #accountId: AccountId;
  readonly #writes = new IntentWrites({ maxMessageBytes: 1_000_000, spoolDir: "/nonexistent" });
  /** The last change that each has seen. */
  readonly #bases = new Map<number, number>();
  #ops = 0;

  constructor(db: Database, accountId: AccountId, server: ServerModel) {
    this.#db = db;
    this.#accountId = accountId;
    this.story = new ApiStory(server);
  }

  /** @returns whether the daemon has to be told. */
  async act(action: ApiAction): Promise<boolean> {
    const held = await this.#read();
    const device = action.device % devices;
    if (action.do === "api syncs") {
      this.#bases.set(device, held.head);
      return false;
    }
    const base = this.#bases.get(device) ?? held.head;
    const op = action.do === "api imports" ? null : opOf(action, held, base);
    if (action.do !== "api imports" && op === null) return false;
    this.#ops += 1;
    const opId = `op ${this.#ops}`;
    const write = (): Promise<IntentResult> =>
      this.#db.transaction(async (tx) => {
        const request = { tenantId: defaultTenant, accountId: this.#accountId, deviceId: `phone ${device}` };
        const written =
          action.do === "api imports"
            ? await this.#bring(tx, { ...request, opId }, action, held)
            : await this.#writes.write(tx, { ...request, base: BigInt(base), intents: [{ opId, op: op as MailOp }] });
        const result = written?.results[0];
        if (result === undefined) throw new Error("an intent without a result");
        return result;
      });
    const result = await write();
    if (action.twice && !isDeepStrictEqual(await write(), result)) throw new Error("I7: another result the second time");
    if (result.status === "rejected" && !refusals.has(result.reason)) throw new Error(`rejected: ${result.reason}`);
    const stale = (id: string): boolean => held.log.some((entry) => entry.seq > base && entry.message_id === id);
    this.story.note({ action, op, result, before: held, after: await this.#read(), stale });
    return result.status !== "rejected";
  }

  #read(): Promise<Held> {
    return readHeld(this.#db, this.#accountId, 0);
  }

  #bring(
    tx: Tx,
    request: Omit<Parameters<IntentWrites["importMail"]>[1], "op" | "octets">,
    { content, to, keywords }: Import,
    { mailboxes }: Held,
  ): Promise<Written | null> {
    const mailboxId = (mailboxes[to % mailboxes.length]?.id ?? null) as MailboxId | null;
    const op = { mailboxId, keywords, receivedAt, replaces: null };
    return this.#writes.importMail(tx, { ...request, op, octets: memoryOctets(octetsOf(content)) });
  }
}

/** null: there is nothing that it could be said of. */
const opOf = (action: Exclude<Said, Import>, { log, placements, mailboxes }: Held, base: number): MailOp | null => {
  if (action.do === "api undoes") {
    const seen = log.filter(({ seq, message_id: id }) => id !== null && seq <= base);
    const change = seen.at(-1 - (action.change % Math.max(1, seen.length)));
    return change === undefined ? null : { op: "undo", messageId: change.message_id as MessageId, seq: change.seq };
  }
  const known = log.flatMap(({ seq, kind, message_id: id }) => (kind === "message.created" && seq <= base ? (id ?? []) : []));
  const messageId = known[action.message % Math.max(1, known.length)] as MessageId | undefined;
  if (messageId === undefined) return null;
  switch (action.do) {
    case "api marks":
      return { op: "patch", messageId, keywords: { [action.keyword]: action.set }, mailboxIds: {} };
    case "api throws away":
      return { op: action.how, messageId };
    case "api restores":
      return { op: "restore", messageId, mailboxId: idOf(mailboxes, action.to) };
    case "api moves": {
      const from = placements.find((one) => one.messageId === messageId && one.lifecycle === "live")?.mailboxId;
      const to = idOf(mailboxes, action.to);
      if (from === undefined || to === null || from === to) return null;
      return { op: "patch", messageId, keywords: {}, mailboxIds: { ...(!action.copies && { [from]: false }), [to]: true } };
    }
  }
};

const idOf = (mailboxes: Held["mailboxes"], index: number): MailboxId | null =>
  (mailboxes[index % mailboxes.length]?.id ?? null) as MailboxId | null;
