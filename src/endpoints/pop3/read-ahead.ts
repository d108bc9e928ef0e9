/** Messages one after the other, asked for before they are wanted: a round trip for each would be most of the time. */
import type { SyncError } from "../../model/failure.ts";
import type { Octets } from "../../model/octets.ts";

export interface WantedMessage {
  /** As this session counts. */
  readonly number: number;
  /** In bytes, as LIST said; null where it is not known. */
  readonly size: number | null;
}

export type ReadMessage =
  | { readonly number: number; readonly octets: Octets; readonly error: null }
  | { readonly number: number; readonly octets: null; readonly error: SyncError };

/** Not taken by the consumer yet: so many messages of so many bytes, or one larger one. */
const mostMessages = 512;
const mostBytes = 8 * 1024 * 1024;
/** Assumed where no size is known. */
const usualBytes = 32 * 1024;

interface Asked {
  readonly bytes: number;
  readonly answer: Promise<ReadMessage>;
}

/**
 * Reads what is wanted, in order, with `read`, whose own queue says how many may be under way. Octets that the consumer was
 * not given are disposed when the iteration ends. @throws what `read` rejects with, which ends the iteration
 */
export async function* readAhead(
  wanted: Iterable<WantedMessage>,
  read: (message: WantedMessage) => Promise<ReadMessage>,
): AsyncGenerator<ReadMessage> {
  const coming = wanted[Symbol.iterator]();
  const asked: Asked[] = [];
  let bytes = 0;
  let next = coming.next();
  const fill = (): void => {
    while (next.done !== true && asked.length < mostMessages) {
      const size = next.value.size ?? usualBytes;
      if (asked.length > 0 && bytes + size > mostBytes) return;
      const answer = read(next.value);
      // It is looked at when its turn comes, which may be after it failed.
      answer.catch(() => undefined);
      asked.push({ bytes: size, answer });
      bytes += size;
      next = coming.next();
    }
  };
  try {
    for (;;) {
      fill();
      const first = asked.shift();
      if (first === undefined) return;
      const message = await first.answer;
      bytes -= first.bytes;
      yield message;
    }
  } finally {
    for (const { answer } of asked) answer.then(({ octets }) => octets?.dispose()).catch(() => undefined);
  }
}
