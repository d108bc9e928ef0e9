/** A small file of somebody's web server, read with the same walls as mail servers have. */
import type { IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { isIP } from "node:net";
import { type EgressRules, resolveHost } from "../egress.ts";

/** Octets; what is longer is no configuration of a mail program. */
const mostBytes = 64 * 1024;
const mostRedirects = 2;

export interface PageRules extends EgressRules {
  /** The only authority that is believed, in PEM; absent: the usual ones. */
  readonly caPem?: string;
}

const ask = async (url: URL, { caPem, ...rules }: PageRules, signal: AbortSignal): Promise<IncomingMessage> => {
  const name = url.hostname.replaceAll(/^\[|\]$/g, "");
  const { address } = await resolveHost(name, rules, signal);
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const asked = httpsRequest({
    agent: false,
    host: address,
    port: url.port === "" ? 443 : Number(url.port),
    // An address has no SNI; its certificate is checked against the address.
    ...(isIP(name) === 0 && { servername: name }),
    ...(caPem !== undefined && { ca: caPem }),
    minVersion: "TLSv1.2",
    path: `${url.pathname}${url.search}`,
    headers: { host: url.host, accept: "text/xml, application/xml", "user-agent": "Samebox" },
    signal,
  });
  asked.on("error", reject);
  // All there is where the server wants to speak another protocol; after an answer it says nothing new.
  asked.on("close", () => reject(new Error("closed without an answer")));
  asked.on("response", resolve);
  asked.end();
  return promise;
};

const bodyOf = async (answer: IncomingMessage): Promise<string | null> => {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > mostBytes) return null;
  }
  return Buffer.concat(chunks).toString();
};

/** Where a tenant may send us: over TLS to the usual port, save where the operator lets tenants reach anything. */
const mayAsk = ({ protocol, port, username }: URL, { allowPrivateHosts }: PageRules): boolean =>
  protocol === "https:" && username === "" && (port === "" || allowPrivateHosts);

/**
 * What a GET of `from` answers with 200; null for any other answer and what is too long. A redirect is a new request, with the same walls.
 * @throws whatever keeps it from being asked: SyncError, or an Error of the kernel or of TLS.
 */
export const readPage = async (from: string, rules: PageRules, signal: AbortSignal): Promise<string | null> => {
  let url = new URL(from);
  for (let redirects = 0; redirects <= mostRedirects; redirects += 1) {
    if (!mayAsk(url, rules)) return null;
    const answer = await ask(url, rules, signal);
    try {
      const { statusCode = 0, headers } = answer;
      if (statusCode === 200) return await bodyOf(answer);
      const to = headers.location;
      if (statusCode < 300 || statusCode > 399 || to === undefined || !URL.canParse(to, url.href)) return null;
      url = new URL(to, url);
    } finally {
      answer.destroy();
    }
  }
  return null;
};
