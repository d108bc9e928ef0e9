/**
 * One request to a receiver of webhooks. The address is a tenant's to name, so the same walls stand here as before mail
 * servers: the address really connected to is vetted, TLS is checked against the name, no redirect is followed, and neither
 * time nor what is answered is without bounds.
 */
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { isIP } from "node:net";
import { Webhook as Signer } from "standardwebhooks";
import { resolveHost, type VettedAddress } from "../endpoints/egress.ts";
import { SyncError } from "../model/failure.ts";
import type { DeliveryResult } from "../model/webhook.ts";

/** From the look-up of the name to the last octet of the answer, in ms. */
const usualDeadlineMs = 15_000;
/** Octets of an answer that are read, and not looked at, to keep the connection; a longer answer costs it. */
const mostAnswerBytes = 64 * 1024;
const mostRetryAfterMs = 24 * 3_600_000;

export interface ReceiverRules {
  /** Also lets receivers be at any port. */
  readonly allowPrivateHosts: boolean;
  readonly allowCleartext: boolean;
}

export interface Message {
  /** The same at each attempt; holds no dot. */
  readonly id: string;
  readonly body: string;
}

export interface Outcome {
  readonly result: DeliveryResult;
  readonly status: number | null;
  /** What the receiver asked for, in ms. */
  readonly retryAfterMs: number;
  readonly durationMs: number;
}

/** Where to connect to; null: nothing may be sent there. */
const receiverOf = (
  url: string,
  rules: ReceiverRules,
): { readonly secure: boolean; readonly port: number; readonly to: URL } | null => {
  const to = new URL(url);
  const secure = to.protocol === "https:";
  if (!secure && !(to.protocol === "http:" && rules.allowCleartext)) return null;
  const usual = secure ? 443 : 80;
  const port = to.port === "" ? usual : Number(to.port);
  return port === usual || rules.allowPrivateHosts ? { secure, port, to } : null;
};

const retryAfterOf = (header: string | undefined): number => {
  if (header === undefined) return 0;
  const ms = /^\d{1,9}$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return ms > 0 ? Math.min(ms, mostRetryAfterMs) : 0;
};

const resultOf = (status: number): DeliveryResult => {
  if (status === 410) return "gone";
  // What comes before an answer, in its place: nothing says that the message was taken.
  if (status < 200) return "unreachable";
  if (status < 300) return "2xx";
  return status < 400 ? "3xx" : status < 500 ? "4xx" : "5xx";
};

const resultOfError = (error: unknown, late: boolean): DeliveryResult => {
  if (late) return "timeout";
  return error instanceof SyncError && error.code === "host_not_allowed" ? "blocked" : "unreachable";
};

/** How long an address that was looked up is used. */
const foundForMs = 5_000;

/** Messages to one receiver, one behind the other over one connection. */
export class Receiver implements Disposable {
  readonly #url: string;
  readonly #secrets: readonly string[];
  readonly #rules: ReceiverRules;
  readonly #deadlineMs: number;
  #agent: HttpAgent | null = null;
  #found: { readonly at: VettedAddress; readonly until: number } | null = null;

  constructor(options: {
    readonly url: string;
    readonly secrets: readonly string[];
    readonly rules: ReceiverRules;
    readonly deadlineMs?: number;
  }) {
    this.#url = options.url;
    this.#secrets = options.secrets;
    this.#rules = options.rules;
    this.#deadlineMs = options.deadlineMs ?? usualDeadlineMs;
  }

  [Symbol.dispose](): void {
    this.#agent?.destroy();
  }

  /** Never rejects but when `signal` aborts: then it is not known what became of it. */
  async send(message: Message, signal: AbortSignal): Promise<Outcome> {
    const began = performance.now();
    const deadline = AbortSignal.timeout(this.#deadlineMs);
    const bound = AbortSignal.any([signal, deadline]);
    const outcome = (result: DeliveryResult, status: number | null, retryAfterMs: number): Outcome => ({
      result,
      status,
      retryAfterMs,
      durationMs: Math.round(performance.now() - began),
    });
    try {
      const receiver = receiverOf(this.#url, this.#rules);
      if (receiver === null) return outcome("blocked", null, 0);
      const { status, retryAfter } = await this.#post(receiver, message, bound);
      return outcome(resultOf(status), status, retryAfterOf(retryAfter));
    } catch (error) {
      signal.throwIfAborted();
      return outcome(resultOfError(error, deadline.aborted), null, 0);
    }
  }

  /** Looked up and vetted again every few seconds; the connection kept goes to an address that was allowed, too. */
  async #find(name: string, signal: AbortSignal): Promise<VettedAddress> {
    if (this.#found !== null && Date.now() < this.#found.until) return this.#found.at;
    const at = await resolveHost(name, this.#rules, signal);
    this.#found = { at, until: Date.now() + foundForMs };
    return at;
  }

  async #post(
    { secure, port, to }: { readonly secure: boolean; readonly port: number; readonly to: URL },
    { id, body }: Message,
    signal: AbortSignal,
  ): Promise<{ readonly status: number; readonly retryAfter: string | undefined }> {
    const name = to.hostname.replaceAll(/^\[|\]$/g, "");
    const { address } = await this.#find(name, signal);
    const agent = (this.#agent ??= secure
      ? new HttpsAgent({ keepAlive: true, maxSockets: 1 })
      : new HttpAgent({ keepAlive: true, maxSockets: 1 }));
    const now = new Date();
    const { promise, resolve, reject } = Promise.withResolvers<{ status: number; retryAfter: string | undefined }>();
    const request = (secure ? httpsRequest : httpRequest)({
      agent,
      host: address,
      port,
      // An address has no SNI; its certificate is checked against the address.
      ...(secure && isIP(name) === 0 && { servername: name }),
      minVersion: "TLSv1.2",
      method: "POST",
      path: `${to.pathname}${to.search}`,
      signal,
      headers: {
        host: to.host,
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
        "user-agent": "Samebox",
        "webhook-id": id,
        "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
        "webhook-signature": this.#secrets.map((secret) => new Signer(secret).sign(id, now, body)).join(" "),
      },
    });
    request.on("error", reject);
    // All there is where the receiver wants to speak another protocol; after an answer it says nothing new.
    request.on("close", () => reject(new Error("closed without an answer")));
    request.on("response", (response) => {
      const answer = { status: response.statusCode ?? 0, retryAfter: response.headers["retry-after"] };
      let read = 0;
      response.on("data", (chunk: Buffer) => {
        read += chunk.length;
        if (read <= mostAnswerBytes) return;
        // It was answered; what else it has to say is nobody's business.
        resolve(answer);
        request.destroy();
      });
      response.on("end", () => resolve(answer));
      response.on("error", reject);
    });
    request.end(body);
    return promise;
  }
}
