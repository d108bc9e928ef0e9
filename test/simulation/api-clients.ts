/** Clients of the API: each says what it wants of what it saw when it synced last, and may say it twice. */
import { isDeepStrictEqual } from "node:util";
import { flagOfKeyword } from "../../src/model/mail.ts";
import type { AccountId, MessageId } from "../../src/model/ids.ts";
import type { PatchOp } from "../../src/model/intent.ts";
import type { Database } from "../../src/store/database.ts";
import { IntentWrites } from "../../src/workers/intents.ts";
import { defaultTenant } from "../support/shard-owner.ts";
import type { Action } from "./devices.ts";
import { type Occurrence, say, type ServerModel } from "./server-model.ts";
import { type HeldPlacement, readHeld } from "./state.ts";

const devices = 2;

type ApiAction = Extract<Action, { device: number }>;

export class ApiClients {
  readonly #db: Database;
  readonly #accountId: AccountId;
  readonly #server: ServerModel;
  readonly #writes = new IntentWrites({ maxMessageBytes: 1_000_000, spoolDir: "/nonexistent" });
  /** The last change that each has seen. */
  readonly #bases = new Map<number, number>();
  #ops = 0;

  constructor(db: Database, accountId: AccountId, server: ServerModel) {
    this.#db = db;
    this.#accountId = accountId;
    this.#server = server;
  }

  /** @returns whether the daemon has to be told. */
  async act(action: ApiAction): Promise<boolean> {
    const held = await readHeld(this.#db, this.#accountId, 0);
    const device = action.device % devices;
    if (action.do === "api syncs") {
      this.#bases.set(device, held.head);
      return false;
    }
    const base = this.#bases.get(device) ?? held.head;
    const known = held.log.flatMap(({ seq, kind, message_id: id }) =>
      kind === "message.created" && seq <= base ? (id ?? []) : [],
    );
    const messageId = known[action.message % Math.max(1, known.length)];
    if (messageId === undefined) return false;
    this.#ops += 1;
    const { keyword, set } = action;
    const op: PatchOp = { op: "patch", messageId: messageId as MessageId, keywords: { [keyword]: set }, mailboxIds: {} };
    const request = { device, base, op, opId: `op ${this.#ops}` };
    const first = await this.#write(request);
    if (action.twice && !isDeepStrictEqual(await this.#write(request), first))
      throw new Error("I7: another result the second time");
    if (first?.status === "rejected") throw new Error(`rejected: ${first.reason}`);
    const stale = held.log.some(
      (entry) => entry.seq > base && entry.message_id === messageId && entry.kind === "message.keywords",
    );
    for (const placement of held.placements)
      if (placement.messageId === messageId && placement.lifecycle === "live") this.#note(placement, { keyword, set, stale });
    return true;
  }

  #write({ device, base, op, opId }: { device: number; base: number; op: PatchOp; opId: string }) {
    return this.#db.transaction(async (tx) => {
      const request = { tenantId: defaultTenant, accountId: this.#accountId, deviceId: `phone ${device}`, base: BigInt(base) };
      return (await this.#writes.write(tx, { ...request, intents: [{ opId, op }] }))?.results[0];
    });
  }

  /** Into the true story of the occurrence that the placement stands for. */
  #note(placement: HeldPlacement, { keyword, set, stale }: { keyword: string; set: boolean; stale: boolean }): void {
    const of = this.#occurrenceOf(placement);
    if (of === null) return;
    const flag = flagOfKeyword(keyword);
    const item = this.#itemOf(of);
    const shown = item?.flags.has(flag) ?? false;
    // Somebody has said something of it that the client cannot have seen.
    if (stale || shown !== placement.keywords.includes(keyword)) of.contested.add(flag);
    say(of, { flag, value: set, by: "api" });
    // Which of several copies it will be said to is not ours to tell.
    for (const other of this.#server.occurrences) if (other !== of && other.content === of.content) other.contested.add(flag);
    // Until the daemon has looked, whatever a device says was said without knowing of it, also where nothing is to be changed (S39).
    of.pending.set(flag, set);
  }

  #occurrenceOf({ boundPath, uid, content }: HeldPlacement): Occurrence | null {
    const item = this.#server.mailboxes.get(boundPath ?? "")?.items.find((one) => one.uid === uid && one.of.content === content);
    if (item !== undefined) return item.of;
    const alike = this.#server.occurrences.filter((one) => one.content === content);
    for (const of of alike) for (const flag of ["\\Seen", "\\Flagged", "\\Answered", "urgent"]) of.contested.add(flag);
    return null;
  }

  #itemOf(of: Occurrence) {
    return [...this.#server.mailboxes.values()].flatMap(({ items }) => items).find((item) => item.of === of);
  }
}
