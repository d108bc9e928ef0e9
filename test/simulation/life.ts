/**
 * What stands between the daemon and the world in a simulation: each call to a server, each transaction and each step of the
 * daemon is a point where the seeded script may let something else happen first, break the connection, lose the answer, or end
 * the daemon. A life ends with its crash: what is left of it can then reach nothing.
 */
import { SyncError } from "../../src/model/failure.ts";
import type { Database, Tx } from "../../src/store/database.ts";

/**
 * `crash`: the process is gone. `drop`: the connection goes before the server was asked. `lost`: it goes after the server did as it
 * was asked; `unanswered`: so it goes after what nobody can ask for twice (C3). `cut`: a listing ends early, and says so as far as the driver can tell.
 */
export type FaultKind = "crash" | "drop" | "lost" | "unanswered" | "cut";

export interface Fault {
  /** Counted from the start of the run, over all lives; it strikes at the first point from there on that it fits. */
  readonly at: number;
  readonly kind: FaultKind;
}

/** The process was killed. */
class Crash extends Error {
  override readonly name = "Crash";
}

/** What of a run is decided beforehand. */
export class Fate {
  readonly faults: Fault[];
  /** Called at every call to a server, before and after it. */
  readonly between: () => void;
  points = 0;
  struck = 0;

  constructor(faults: readonly Fault[], between: () => void) {
    this.faults = [...faults].sort((a, b) => a.at - b.at);
    this.between = between;
  }

  /** Takes the next fault if its time has come and it is one of these. */
  strike(...kinds: readonly FaultKind[]): FaultKind | null {
    const [next] = this.faults;
    if (next === undefined || next.at > this.points || !kinds.includes(next.kind)) return null;
    this.faults.shift();
    this.struck += 1;
    return next.kind;
  }
}

export const gone = (): SyncError =>
  new SyncError("transient", "endpoint", {
    code: "endpoint_closed",
    message: "The connection was lost.",
    action: "Nothing; it is tried again by itself.",
  });

/** Does it something anew each time that it is asked? */
const isOnce = (name: string): boolean => /^(?:append|move) /.test(name);

interface Line {
  alive: boolean;
  readonly onGone: () => void;
}

export class Life {
  readonly fate: Fate;
  /** Names of the points that were passed; for a report. */
  readonly trace: string[] = [];
  #dead = false;
  readonly #open = new Set<Promise<unknown>>();
  readonly #lines = new Set<Line>();

  constructor(fate: Fate) {
    this.fate = fate;
  }

  get crashed(): boolean {
    return this.#dead;
  }

  /** A place where the daemon may end. @throws Crash */
  point(name: string): void {
    if (this.#dead) throw new Crash(name);
    this.fate.points += 1;
    this.trace.push(name);
    if (this.fate.strike("crash") === null) return;
    this.trace.push("CRASH");
    this.#dead = true;
    this.disconnect();
    throw new Crash(name);
  }

  /** Every server has gone. */
  disconnect(): void {
    for (const line of this.#lines) {
      if (line.alive) line.onGone();
      line.alive = false;
    }
  }

  /** A connection that ends with this life. `onGone`: it is lost. */
  connect(onGone: () => void = () => undefined): Line {
    const line = { alive: true, onGone };
    this.#lines.add(line);
    return line;
  }

  /** Asks a server: `work` is what it does, at once and as a whole. */
  ask<T>(name: string, line: Line, work: (cut: boolean) => T): Promise<T> {
    return Promise.resolve().then(() => {
      this.point(name);
      if (!line.alive) throw gone();
      this.fate.between();
      if (this.fate.strike("drop") !== null) this.#cutOff(line, `${name} DROPPED`);
      const cut = this.fate.strike("cut") !== null;
      const answer = work(cut);
      if (this.fate.strike("lost", ...(isOnce(name) ? (["unanswered"] as const) : [])) !== null)
        this.#cutOff(line, `${name} LOST`);
      this.fate.between();
      this.point(`${name}, answered${cut ? " CUT" : ""}`);
      return answer;
    });
  }

  /** The database as this life reaches it. */
  database(db: Database): Database {
    return {
      url: db.url,
      prisma: db.prisma,
      close: () => Promise.resolve(),
      query: (statement) => {
        if (this.#dead) return Promise.reject(new Crash("query"));
        return db.query(statement);
      },
      transaction: (work) => this.#transact(db, work),
      transactionFrom: (begin, work) => this.#transact({ ...db, transaction: (all) => db.transactionFrom(begin, all) }, work),
    };
  }

  /** Waits until nothing of this life is under way in the database: what was, has been committed or not. */
  async buried(): Promise<void> {
    while (this.#open.size > 0) await Promise.allSettled(this.#open);
  }

  #cutOff(line: Line, how: string): never {
    this.trace.push(how);
    line.alive = false;
    this.#lines.delete(line);
    line.onGone();
    throw gone();
  }

  async #transact<T>(db: Database, work: (tx: Tx) => Promise<T>): Promise<T> {
    this.point("begin");
    const running = db.transaction(async (tx) => {
      const result = await work(this.#watched(tx));
      this.point("commit");
      return result;
    });
    this.#open.add(running);
    try {
      const result = await running;
      this.point("committed");
      return result;
    } finally {
      this.#open.delete(running);
    }
  }

  #watched(tx: Tx): Tx {
    const unlessDead = <T>(run: () => Promise<T>): Promise<T> => (this.#dead ? Promise.reject(new Crash("statement")) : run());
    return {
      query: <Row>(statement: Parameters<Tx["query"]>[0]) => unlessDead(() => tx.query<Row>(statement)),
      copy: (...args: Parameters<Tx["copy"]>) => unlessDead(() => tx.copy(...args)),
    } as unknown as Tx;
  }
}
