/**
 * Brings news to the listener at once, and a burst of it as two calls: the first line of a mailbox is told when it comes,
 * the rest once the burst is over, unless the mailbox was looked at meanwhile.
 */
import type { WatchListener } from "../endpoint.ts";
import type { NewsSink } from "./wire.ts";

const burstMs = 20;

export class NewsDesk implements NewsSink {
  readonly #listener: WatchListener;
  /** Mailboxes told within the burst; true when more came since. */
  #told = new Map<string | null, boolean>();
  #timer: NodeJS.Timeout | null = null;

  constructor(listener: WatchListener) {
    this.#listener = listener;
  }

  news(path: string | null): void {
    if (this.#told.has(path)) {
      this.#told.set(path, true);
      return;
    }
    this.#told.set(path, false);
    this.#timer ??= setTimeout(() => this.#burstOver(), burstMs);
    this.#listener.onNews(path);
  }

  /** The mailbox is opened anew now: what was said of it until here will be seen. */
  seen(path: string): void {
    if (this.#told.has(path)) this.#told.set(path, false);
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#told.clear();
  }

  #burstOver(): void {
    this.#timer = null;
    const told = this.#told;
    this.#told = new Map();
    for (const [path, more] of told) if (more) this.news(path);
  }
}
