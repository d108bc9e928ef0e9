/** A client of an event stream, as browsers are: it parses the stream, remembers the last id, and can be slow or leave. */
import { type IncomingMessage, request } from "node:http";
import { once } from "node:events";
import { eventually } from "./eventually.ts";

export interface StreamEvent {
  readonly id: string;
  readonly event: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- what a JSON answer holds is compared, not trusted
  readonly data: any;
  /** `performance.now()` when it was read. */
  readonly at: number;
}

export class EventClient {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly events: StreamEvent[] = [];
  readonly comments: string[] = [];
  /** What a browser would send as Last-Event-ID. */
  lastEventId = "";
  ended = false;
  private readonly response: IncomingMessage;
  private text = "";

  private constructor(response: IncomingMessage) {
    this.response = response;
    this.status = response.statusCode ?? 0;
    this.headers = response.headers;
    response.setEncoding("utf8");
    response.on("data", (chunk: string) => this.take(chunk));
    response.on("close", () => (this.ended = true));
    response.on("error", () => (this.ended = true));
  }

  /** Resolves when the head of the answer has come. */
  static async open(url: string, key: string, headers: Readonly<Record<string, string>> = {}): Promise<EventClient> {
    const sent = request(url, { headers: { authorization: `Bearer ${key}`, ...headers }, agent: false });
    sent.end();
    const [response] = (await once(sent, "response")) as [IncomingMessage];
    return new EventClient(response);
  }

  /** The whole body so far; for answers that are no stream. */
  get body(): string {
    return this.text;
  }

  reached(count: number): Promise<true> {
    return eventually(`${count} events`, () => this.events.length >= count, { timeoutMs: 20_000, everyMs: 2 });
  }

  /** Stops reading: the socket fills. */
  pause(): void {
    this.response.pause();
  }

  resume(): void {
    this.response.resume();
  }

  leave(): void {
    this.response.destroy();
  }

  private take(chunk: string): void {
    this.text += chunk;
    for (let end = this.text.indexOf("\n\n"); end >= 0; end = this.text.indexOf("\n\n")) {
      this.frame(this.text.slice(0, end));
      this.text = this.text.slice(end + 2);
    }
  }

  private frame(text: string): void {
    const fields = new Map<string, string>();
    for (const line of text.split("\n")) {
      const colon = line.indexOf(":");
      if (colon === 0) this.comments.push(line.slice(1).trim());
      else fields.set(line.slice(0, colon), line.slice(colon + 1).trimStart());
    }
    this.lastEventId = fields.get("id") ?? this.lastEventId;
    const data = fields.get("data");
    if (data !== undefined)
      this.events.push({
        id: this.lastEventId,
        event: fields.get("event") ?? "message",
        data: JSON.parse(data),
        at: performance.now(),
      });
  }
}
