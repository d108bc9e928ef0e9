/**
 * How many connections this process holds at one login (host and user), idle ones included. Providers count them all, and
 * one that says "too many" is believed at once: the ceiling goes down by one, never below one.
 */
import { setTimeout as pause } from "node:timers/promises";

export interface Lease {
  /** Harmless when called twice. */
  release(): void;
}

/** One for news, one for work (reliability 5.1). */
export const defaultConnections = 2;

const lookAgainMs = 100;

export class ConnectionBudget {
  readonly #held = new Map<string, number>();
  /** Only for logins that were told off; where a session profile says less, the profile counts. */
  readonly #ceilings = new Map<string, number>();

  /** A place under `max` for one more connection, or null when there is none now. */
  tryAcquire(key: string, max: number): Lease | null {
    const held = this.#held.get(key) ?? 0;
    if (held >= this.#ceiling(key, max)) return null;
    this.#held.set(key, held + 1);
    let released = false;
    return {
      release: () => {
        if (released) return;
        released = true;
        const left = (this.#held.get(key) ?? 1) - 1;
        if (left === 0) this.#held.delete(key);
        else this.#held.set(key, left);
      },
    };
  }

  /** Waits up to `waitMs` milliseconds for a place (a predecessor may still be saying goodbye); null when none came free. */
  async acquire(key: string, max: number, wait: { readonly ms: number; readonly signal: AbortSignal }): Promise<Lease | null> {
    const until = performance.now() + wait.ms;
    for (;;) {
      const lease = this.tryAcquire(key, max);
      if (lease !== null || performance.now() >= until) return lease;
      await pause(lookAgainMs, undefined, { signal: wait.signal }).catch(() => undefined);
      if (wait.signal.aborted) return null;
    }
  }

  /** The server said "too many". @returns what may be held from now on. */
  lower(key: string, max: number): number {
    const ceiling = Math.max(1, this.#ceiling(key, max) - 1);
    this.#ceilings.set(key, ceiling);
    return ceiling;
  }

  #ceiling(key: string, max: number): number {
    return Math.max(1, Math.min(max, this.#ceilings.get(key) ?? max));
  }
}

/** The one of this process. */
export const connectionBudget = new ConnectionBudget();

export const budgetKey = (host: string, user: string): string => `${host.toLowerCase()}\0${user}`;
