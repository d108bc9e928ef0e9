/** An SSE client of the daemon: the events of one account as they come. */
import { type Daemon, testAdminKey } from "./daemon.ts";

export interface SseEvent {
  readonly id: string;
  readonly event: string;
  readonly data: Record<string, unknown>;
}

export interface EventStream extends AsyncDisposable {
  readonly seen: readonly SseEvent[];
  /** The first event not yet given out that passes; waits at most `timeoutMs` (20 s). Events before it are given up. */
  next(test: (event: SseEvent) => boolean, timeoutMs?: number): Promise<SseEvent>;
  /** Resolves when the server ends the stream. */
  readonly ended: Promise<void>;
}

const parse = (block: string): SseEvent | null => {
  const fields = new Map<string, string>();
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1).trimStart());
  }
  const data = fields.get("data");
  return data === undefined
    ? null
    : { id: fields.get("id") ?? "", event: fields.get("event") ?? "message", data: JSON.parse(data) as Record<string, unknown> };
};

/** Opens the stream; it is live when this resolves. `since`: resume behind that state. */
export const openEvents = async (daemon: Pick<Daemon, "url">, accountId: string, since?: string): Promise<EventStream> => {
  const stop = new AbortController();
  const response = await fetch(`${daemon.url}/v1/accounts/${accountId}/events`, {
    headers: {
      authorization: `Bearer ${testAdminKey}`,
      accept: "text/event-stream",
      ...(since !== undefined && { "last-event-id": since }),
    },
    signal: stop.signal,
  });
  if (response.status !== 200 || response.body === null)
    throw new Error(`no stream: ${response.status} ${await response.text()}`);
  const seen: SseEvent[] = [];
  let given = 0;
  const waiting = new Set<() => void>();
  const read = async (body: ReadableStream<Uint8Array>): Promise<void> => {
    let rest = "";
    for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + chunk).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const event = parse(block);
        if (event !== null) seen.push(event);
      }
      for (const look of waiting) look();
    }
  };
  const ended = read(response.body).catch(() => undefined);
  return {
    seen,
    ended,
    next: (test, timeoutMs = 20_000) =>
      new Promise((resolve, reject) => {
        const finish = (settle: () => void): void => {
          clearTimeout(timer);
          waiting.delete(look);
          settle();
        };
        const look = (): void => {
          for (; given < seen.length; given += 1) {
            const event = seen[given];
            if (event === undefined || !test(event)) continue;
            given += 1;
            return finish(() => resolve(event));
          }
        };
        const timer = setTimeout(
          () => finish(() => reject(new Error(`no such event within ${timeoutMs} ms; seen ${seen.length}`))),
          timeoutMs,
        );
        waiting.add(look);
        look();
      }),
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await ended;
    },
  };
};
