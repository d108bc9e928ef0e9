/** A receiver of webhooks over real HTTP: keeps what came, and answers as it is told. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { Webhook } from "standardwebhooks";
import type { Certificates } from "./certificates.ts";

export interface Received {
  readonly id: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly event: {
    readonly type: string;
    readonly data: { readonly seq: number; readonly accountId: string; readonly hash: string };
  };
}

export type Answering = (message: Received, response: ServerResponse) => void;

export interface WebhookReceiver extends AsyncDisposable {
  readonly url: string;
  readonly received: readonly Received[];
  /** Numbers of the changes that came, in the order they came in. */
  seqs(): number[];
  /** From now on; `null` takes everything. */
  answer(how: Answering | null): void;
}

export const status =
  (code: number, headers: Record<string, string> = {}): Answering =>
  (_, response) =>
    void response.writeHead(code, headers).end();

/** Is the message signed with this secret, and fresh? */
export const isSigned = ({ body, headers }: Received, secret: string): boolean => {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch {
    return false;
  }
};

/** Over TLS with these certificates, at `localhost`; else in the clear. */
export const startReceiver = async (tls: Certificates | null = null): Promise<WebhookReceiver> => {
  const received: Received[] = [];
  let answering: Answering = status(204);
  const take = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await text(request);
    const headers = request.headers as Record<string, string>;
    const message = { id: headers["webhook-id"] ?? "", headers, body, event: JSON.parse(body) as Received["event"] };
    received.push(message);
    answering(message, response);
  };
  const listener = (request: IncomingMessage, response: ServerResponse): void => void take(request, response);
  const server = tls === null ? createServer(listener) : createSecureServer({ cert: tls.certPem, key: tls.keyPem }, listener);
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  return {
    url: `${tls === null ? "http://127.0.0.1" : "https://localhost"}:${(server.address() as AddressInfo).port}/hook?of=samebox`,
    received,
    seqs: () => received.map(({ event }) => event.data.seq),
    answer: (how) => void (answering = how ?? status(204)),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => void server.close(resolve));
    },
  };
};
