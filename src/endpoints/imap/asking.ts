/**
 * A connection on which one command is asked at a time and heard out, with the octets of a message streamed behind it. Whatever
 * goes wrong in between ends the connection: half a command can only be misread.
 */
import type { Octets } from "../../model/octets.ts";
import { withDeadline } from "../deadline.ts";
import { ProtocolFault } from "../protocol-fault.ts";
import { disposeLiterals, type Response, responseCodeOf } from "./bulk-codec.ts";
import type { BulkWire, WireListener } from "./bulk-wire.ts";

/** Of one answer; more than all items of one command and what others do meanwhile. */
const maxUntagged = 100_000;

export interface Answer {
  readonly status: "OK" | "NO" | "BAD";
  readonly text: string;
  readonly code: readonly [name: string, rest: string] | null;
  readonly untagged: readonly Response[];
}

interface Question {
  readonly tag: string;
  readonly untagged: Response[];
  readonly answered: PromiseWithResolvers<Answer>;
  /** May the octets be sent? */
  readonly goAhead: PromiseWithResolvers<boolean>;
}

export class Asking implements WireListener {
  readonly #wire: BulkWire;
  #question: Question | null = null;
  #ended: Error | null = null;
  #bye: string | null = null;
  #tag = 0;
  onGone: () => void = () => undefined;

  constructor(wire: BulkWire) {
    this.#wire = wire;
    wire.listener = this;
  }

  get alive(): boolean {
    return this.#ended === null;
  }

  /**
   * Asks, and waits for the tagged answer at most `ms` milliseconds.
   * @throws SyncError `stopped` or `endpoint_timeout`; why the connection ended; what reading `octets` throws. It is gone then.
   */
  async ask(
    command: string,
    options: { readonly octets?: Octets; readonly ms: number; readonly signal: AbortSignal },
  ): Promise<Answer> {
    const destroy = (): void => this.#wire.destroy();
    try {
      return await withDeadline(() => this.#ask(command, options.octets ?? null), options.ms, options.signal, destroy);
    } catch (error) {
      destroy();
      throw error;
    } finally {
      this.#question = null;
    }
  }

  end(): void {
    this.#wire.destroy();
  }

  planBody(): "skip" {
    return "skip";
  }

  onResponse(response: Response): void {
    const { text } = response;
    disposeLiterals(response.literals);
    const question = this.#question;
    if (/^\* BYE\b/i.test(text)) this.#bye = text;
    else if (question === null) return;
    else if (text.startsWith("+")) question.goAhead.resolve(true);
    else if (text.startsWith(`${question.tag} `)) question.answered.resolve(answerOf(question, text));
    else if (question.untagged.push(response) > maxUntagged)
      throw new ProtocolFault("ResponseTooLarge", "the answer to one command does not end");
  }

  onEnd(error: Error): void {
    this.#ended = this.#bye === null ? error : Object.assign(error, { reason: this.#bye });
    this.#question?.answered.reject(this.#ended);
    this.#question?.goAhead.resolve(false);
    this.onGone();
  }

  async #ask(command: string, octets: Octets | null): Promise<Answer> {
    if (this.#ended !== null) throw this.#ended;
    const answered = Promise.withResolvers<Answer>();
    const goAhead = Promise.withResolvers<boolean>();
    // Somebody may still be sending when it is answered.
    answered.promise.catch(() => undefined);
    const tag = `w${(this.#tag += 1)}`;
    this.#question = { tag, untagged: [], answered, goAhead };
    this.#wire.send(`${tag} ${command}${octets === null ? "" : ` {${octets.size}}`}\r\n`);
    void answered.promise.then(
      () => goAhead.resolve(false),
      () => undefined,
    );
    if (octets !== null && (await goAhead.promise)) {
      for await (const part of octets.parts()) await this.#wire.write(part);
      this.#wire.send("\r\n");
    }
    return answered.promise;
  }
}

const answerOf = ({ untagged }: Question, text: string): Answer => {
  const status = /^\S+ (OK|NO|BAD)\b/i.exec(text)?.[1]?.toUpperCase();
  if (status !== "OK" && status !== "NO" && status !== "BAD")
    throw new ProtocolFault("ResponseProcessingFailed", "an answer is neither OK, NO nor BAD");
  return { status, text, code: responseCodeOf(text), untagged };
};
