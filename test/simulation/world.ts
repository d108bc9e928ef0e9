/**
 * One account in a world of its own: the server model, the devices, and the real lane of the daemon on a real database. Who acts
 * next, and what goes wrong, is a list of numbers; time passes only when it says so.
 */
import { uuidv7 } from "uuidv7";
import { vi } from "vitest";
import { type Because, defaultPolicy, type Fence, type Policy } from "../../src/model/account.ts";
import type { AccountId, EndpointId } from "../../src/model/ids.ts";
import { factsReaderHere } from "../../src/mime/facts-reader.ts";
import { accountMade } from "../../src/store/account-writes.ts";
import type { Database } from "../../src/store/database.ts";
import { decideHold, listOpenHolds } from "../../src/store/hold-reads.ts";
import { ingestOwned } from "../../src/store/inputs.ts";
import { virtualShardOf } from "../../src/store/leases.ts";
import { watchSteps } from "../../src/telemetry/failpoint.ts";
import { AccountLane } from "../../src/workers/lane.ts";
import { defaultRetryTimes } from "../../src/workers/backoff.ts";
import { createLogger, type Logger } from "../../src/telemetry/log.ts";
import { defaultTenant } from "../support/shard-owner.ts";
import { ApiClients } from "./api-clients.ts";
import { type Action, Devices } from "./devices.ts";
import { modelImap } from "./imap-seam.ts";
import { Fate, type Fault, Life } from "./life.ts";
import { modelPop3 } from "./pop3-seam.ts";
import type { Quirks } from "./quirks.ts";
import { ServerModel } from "./server-model.ts";
import { modelWriter } from "./writer-seam.ts";

/** All that decides a run. */
export interface Plan {
  readonly quirks: Quirks;
  readonly policy: Partial<Policy>;
  readonly protocols: readonly ("imap" | "pop3")[];
  readonly script: readonly Action[];
  /** Who is next, wherever that is open; 0 when they are used up: the script goes on, and the daemon is not disturbed. */
  readonly schedule: readonly number[];
  readonly faults: readonly Fault[];
  /** Nobody acts in the middle of a pass, so that runs with different faults can be compared. */
  readonly undisturbed?: boolean;
}

const dayMs = 86_400_000;
const startOfTime = Date.UTC(2026, 10, 2, 10);
/** How long a turn of the daemon waits before it, in ms. */
const waits = [1_000, 5_000, 61_000, 200_000, 1_000_000] as const;
/** A lane that asks to be run again for ever is an error of its own. */
const mostRuns = 50;

export class World {
  readonly server: ServerModel;
  readonly devices: Devices;
  readonly clients: ApiClients;
  readonly db: Database;
  readonly plan: Plan;
  readonly accountId = uuidv7() as AccountId;
  readonly fate: Fate;
  /** Called after each pass of the daemon. */
  onPass: () => Promise<void> = () => Promise.resolve();
  readonly trace: string[] = [];
  /** Errors that the daemon has logged. */
  readonly errors: string[] = [];
  now = startOfTime;
  passes = 0;
  readonly #fence: Fence;
  readonly #script: Action[];
  readonly #schedule: number[];
  #life: Life;
  #lane: AccountLane;
  #rung: Because | null = "created";
  #tell: (path: string) => void = () => undefined;

  constructor(db: Database, fence: Fence, plan: Plan) {
    this.db = db;
    this.#fence = fence;
    this.plan = plan;
    this.#script = [...plan.script];
    this.#schedule = [...plan.schedule];
    this.server = new ServerModel(plan.quirks);
    this.server.create("INBOX", "inbox");
    this.server.create("Archive", "archive");
    this.server.create("Trash", "trash");
    this.devices = new Devices(this.server, () => this.now);
    this.clients = new ApiClients(db, this.accountId, this.server);
    this.fate = new Fate(plan.faults, () => {
      // In the middle of a pass somebody acts at about one call in six.
      if (plan.undisturbed !== true && this.#script.length > 0 && this.#next() % 6 === 5) this.#actWithin();
    });
    this.server.onChange = (path) => this.#tell(path);
    this.server.onRestart = () => this.#life.disconnect();
    this.#life = new Life(this.fate);
    this.#lane = this.#begin();
  }

  async open(): Promise<void> {
    const { accountId, plan } = this;
    vi.setSystemTime(this.now);
    const policy = { ...defaultPolicy, ...plan.policy };
    const owner = { tenantId: defaultTenant, accountId };
    const endpoints = plan.protocols.map(
      (protocol) =>
        ({
          id: uuidv7() as EndpointId,
          settings: {
            protocol,
            host: "mail.example.test",
            port: 993,
            security: "tls",
            tls: { caPem: null, rejectUnauthorized: true },
          } as const,
          authType: "password",
          authUser: "ana",
        }) as const,
    );
    const made = { name: "Ana", email: "ana@example.test", policy, endpoints };
    await this.db.transaction(async (tx) => {
      await tx.query({
        text: `insert into accounts (id, tenant_id, name, email, virtual_shard, policy) values ($1, $2, 'Ana', 'ana@example.test', $3, $4)`,
        values: [accountId, defaultTenant, virtualShardOf(accountId), JSON.stringify(policy)],
      });
      await ingestOwned(tx, owner, accountMade, made);
    });
  }

  /** Lets everybody act as the schedule says, until the script is at its end. */
  async play(): Promise<void> {
    while (this.#script.length > 0) {
      const choice = this.#next();
      if (choice % 3 < 2) await this.#act();
      else await this.tick(waits[Math.floor(choice / 3) % waits.length] ?? 1_000);
    }
    this.devices.finish();
  }

  /** Time passes; then the daemon does what is due. */
  async tick(ms: number): Promise<void> {
    this.now += ms;
    vi.setSystemTime(this.now);
    const due = this.#lane.claimDue(this.now);
    const because = this.#rung ?? (due ? "sweep" : null);
    this.#rung = null;
    if (because === null) return;
    this.passes += 1;
    this.trace.push(`pass: ${because} at +${(this.now - startOfTime) / 1000}s`);
    const life = this.#life;
    const seen = life.trace.length;
    watchSteps((name) => life.point(name));
    for (let runs = 0; (await this.#lane.run(because, new AbortController().signal)) === "again"; runs += 1) {
      if (life.crashed) break;
      if (runs > mostRuns) throw new Error("the lane asks to be run again for ever");
    }
    await life.buried();
    this.trace.push(
      `  ${life.trace
        .slice(seen)
        .filter((name) => !/^(?:begin|commit|committed|.*, answered|before .*|after .*)$/.test(name))
        .join(", ")}`,
    );
    if (life.crashed) await this.#restart();
    await this.onPass();
    // It is started again at once, and looks at everything.
    if (life.crashed) await this.tick(0);
  }

  /** Somebody decides what is held. */
  async decideHolds(): Promise<void> {
    const holds = await listOpenHolds(this.db, this.accountId, { after: null, limit: 100 });
    for (const { id } of holds)
      await this.db.transaction((tx) =>
        decideHold(tx, { tenantId: defaultTenant, accountId: this.accountId }, { id, decision: "approved", deviceId: "phone 0" }),
      );
    if (holds.length > 0) this.#rung = "api";
  }

  /** Nothing goes wrong any more. */
  calm(): void {
    this.fate.faults.length = 0;
  }

  async close(): Promise<void> {
    watchSteps(() => undefined);
    await this.#lane.stop();
  }

  async #act(): Promise<void> {
    const action = this.#script.shift();
    if (action === undefined) return;
    this.trace.push(JSON.stringify(action));
    if (action.do === "time passes") return this.tick(action.days * dayMs);
    if (!("device" in action)) return this.devices.act(action);
    if (await this.clients.act(action)) this.#rung = "api";
  }

  /** In the middle of a pass; a client of the API has to wait for its end. */
  #actWithin(): void {
    const [action] = this.#script;
    if (action === undefined || "device" in action || action.do === "time passes" || action.do === "swap numbers") return;
    this.#script.shift();
    this.trace.push(`  ${JSON.stringify(action)}`);
    this.devices.act(action);
  }

  #next(): number {
    return this.#schedule.shift() ?? 0;
  }

  #begin(): AccountLane {
    const life = this.#life;
    const imap = modelImap(this.server, life);
    this.#tell = (path) => imap.tell(path);
    return new AccountLane(this.accountId, this.#fence, {
      db: life.database(this.db),
      log: this.#listen(life),
      facts: factsReaderHere,
      drivers: { imap, imapWriter: modelWriter(this.server, life), pop3: modelPop3(this.server, life) },
      unseal: () => Promise.resolve({ type: "password", user: "ana", password: "secret" }),
      retryTimes: defaultRetryTimes,
      maxMessageBytes: 64 * 1024 * 1024,
      pollMs: 60_000,
      bulkTurn: (work) => work(),
      connectTurn: (work) => work(),
      ring: (_, because) => {
        if (!life.crashed) this.#rung = because;
      },
      onUnparsed: () => undefined,
    });
  }

  /** What the daemon itself calls an error is one, unless it has been killed. */
  #listen(life: Life): Logger {
    return createLogger({
      level: "error",
      destination: {
        write: (line) => {
          if (!life.crashed) this.errors.push(line);
        },
      },
    });
  }

  async #restart(): Promise<void> {
    await this.#life.buried();
    this.trace.push("the daemon starts again");
    this.#life = new Life(this.fate);
    this.#lane = this.#begin();
    this.#rung = "recovery";
  }
}
