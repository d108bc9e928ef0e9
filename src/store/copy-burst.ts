/**
 * Several `copy … from stdin` in one round trip: all statements and all their rows are sent at once, closed by one Sync.
 * Source: PostgreSQL documentation, "Message Flow" (extended query, COPY): data may follow without waiting for
 * CopyInResponse, and after an error the server drops everything up to the Sync.
 */
import type { Submittable } from "pg";

export interface Copy {
  /** `copy … from stdin (format binary)`. */
  readonly text: string;
  /** Header and trailer included. */
  readonly chunks: readonly Buffer[];
}

/** What of pg's connection is used here; its types name only a part. */
interface Wire {
  readonly stream: { cork?(): void; uncork?(): void };
  parse(query: { text: string; name: string; types: readonly number[] }): void;
  bind(config: Record<string, never>): void;
  execute(config: Record<string, never>): void;
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
  sync(): void;
}

/** Handed to a client's `query`, which calls the methods below as the answers come. */
export class CopyBurst implements Submittable {
  /** Settles when the server is ready for the next statement, or with its error. */
  readonly done: Promise<void>;
  /** pg puts its query timeout here. */
  callback: (error: Error | null) => void = () => undefined;
  private readonly copies: readonly Copy[];
  private readonly settle: { resolve: () => void; reject: (error: Error) => void };

  constructor(copies: readonly Copy[]) {
    this.copies = copies;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.done = promise;
    this.settle = { resolve, reject };
  }

  submit(connection: unknown): void {
    const wire = connection as Wire;
    wire.stream.cork?.();
    for (const { text, chunks } of this.copies) {
      wire.parse({ text, name: "", types: [] });
      wire.bind({});
      wire.execute({});
      for (const chunk of chunks) wire.sendCopyFromChunk(chunk);
      wire.endCopyFrom();
    }
    wire.sync();
    wire.stream.uncork?.();
  }

  handleCopyInResponse(): void {
    // The rows are on their way already.
  }

  handleCommandComplete(): void {
    // Counted by nobody; the next one is under way.
  }

  handleReadyForQuery(): void {
    this.settle.resolve();
    this.callback(null);
  }

  handleError(error: Error): void {
    this.settle.reject(error);
    this.callback(error);
  }
}
