/** One open stream of server-sent events (WHATWG HTML, "Server-sent events") and its client's pace. */
import type { ServerResponse } from "node:http";

/** How long a client may leave a full socket unread before it is cut off. It comes back and resumes. */
const patienceMs = 30_000;

/** Why waiting ended. */
export type Waited = "woken" | "timeout" | "closed";

export class EventStream {
  private readonly response: ServerResponse;
  private woken = false;
  private closed = false;
  private poke: () => void = () => undefined;

  constructor(response: ServerResponse) {
    this.response = response;
    const gone = (): void => this.close();
    response.once("close", gone);
    // A reset while we write is the client leaving, nothing else.
    response.once("error", gone);
  }

  get isOpen(): boolean {
    return !this.closed;
  }

  /** There may be something to read. Remembered until the next `wait`. */
  wake(): void {
    this.woken = true;
    this.poke();
  }

  /** Ends the stream; harmless when repeated. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.poke();
    this.response.end();
  }

  /** Until somebody wakes us, `ms` milliseconds have passed or the stream is closed. */
  async wait(ms: number): Promise<Waited> {
    let timedOut = false;
    if (!this.woken && !this.closed)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(() => {
          timedOut = true;
          resolve();
        }, ms);
        this.poke = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    this.poke = () => undefined;
    this.woken = false;
    if (this.closed) return "closed";
    return timedOut ? "timeout" : "woken";
  }

  /**
   * Hands `text` to the client, and returns when there is room for more, so that what a slow client has not read stays in
   * PostgreSQL. A client that makes no room in time is cut off.
   */
  async write(text: string): Promise<void> {
    if (this.closed || this.response.write(text)) return;
    await new Promise<void>((resolve) => {
      const cutOff = setTimeout(() => {
        this.response.destroy();
        this.close();
        done();
      }, patienceMs);
      const done = (): void => {
        clearTimeout(cutOff);
        this.response.off("drain", done).off("close", done);
        resolve();
      };
      this.response.once("drain", done).once("close", done);
    });
  }
}
