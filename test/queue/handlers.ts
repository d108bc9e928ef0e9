/** Handlers to hang on a bell in tests: they write down what they were asked and wait for the test's word. */
import type { Because } from "../../src/model/account.ts";
import type { AccountId } from "../../src/model/ids.ts";
import type { Handle, Hint, Verdict } from "../../src/queue/bell.ts";
import { eventually } from "../support/eventually.ts";

export const account = (number: number): AccountId => `0192f3a1-0000-7000-8000-${String(number).padStart(12, "0")}` as AccountId;
export const hint = (number: number, because: Because = "push"): Hint => ({ accountId: account(number), because });

/** One call of a handler, open until the test ends it. */
export class Run {
  readonly hint: Hint;
  readonly signal: AbortSignal;
  readonly ended: Promise<Verdict>;
  readonly #settle: { readonly resolve: (verdict: Verdict) => void; readonly reject: (error: Error) => void };

  constructor(asked: Hint, signal: AbortSignal) {
    this.hint = asked;
    this.signal = signal;
    const { promise, resolve, reject } = Promise.withResolvers<Verdict>();
    this.ended = promise;
    this.#settle = { resolve, reject };
  }

  end(verdict: Verdict = "done"): void {
    this.#settle.resolve(verdict);
  }

  fail(error: Error): void {
    this.#settle.reject(error);
  }
}

/** A handler whose runs the test ends, one by one. */
export class Steps {
  readonly runs: Run[] = [];
  #taken = 0;

  readonly handle: Handle = (asked, signal) => {
    const run = new Run(asked, signal);
    this.runs.push(run);
    return run.ended;
  };

  /** The next run in the order in which they began. */
  async next(timeoutMs = 10_000): Promise<Run> {
    const run = await eventually(`run ${this.#taken + 1} begins`, () => this.runs[this.#taken], { timeoutMs, everyMs: 5 });
    this.#taken += 1;
    return run;
  }

  get untaken(): number {
    return this.runs.length - this.#taken;
  }
}

/** A handler that does as told for as long as told, and watches that no account is run twice at once. */
export class Counted {
  readonly runs = new Map<AccountId, number>();
  most = 0;
  twiceAtOnce = 0;
  readonly #now = new Set<AccountId>();
  readonly #work: (asked: Hint) => Promise<unknown>;

  constructor(work: (asked: Hint) => Promise<unknown>) {
    this.#work = work;
  }

  readonly handle: Handle = async (asked) => {
    if (this.#now.has(asked.accountId)) this.twiceAtOnce += 1;
    this.#now.add(asked.accountId);
    this.most = Math.max(this.most, this.#now.size);
    this.runs.set(asked.accountId, (this.runs.get(asked.accountId) ?? 0) + 1);
    await this.#work(asked);
    this.#now.delete(asked.accountId);
    return "done";
  };

  get total(): number {
    return [...this.runs.values()].reduce((sum, count) => sum + count, 0);
  }
}
