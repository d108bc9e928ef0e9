/**
 * From nothing to a logged-in connection for bulk reads: TCP, TLS, greeting, capabilities, login. Nothing that came before
 * TLS is believed, and no secret leaves before it where the endpoint asks for it (RFC 8314 §3, RFC 9051 §11.1).
 */
import type { Socket } from "node:net";
import type { Credentials, EndpointSettings } from "../../model/endpoint.ts";
import { SyncError } from "../../model/failure.ts";
import { withDeadline } from "../deadline.ts";
import { dial, opened, protect } from "../dial.ts";
import { ProtocolFault } from "../protocol-fault.ts";
import { isSendable, saslOauthbearer, saslPlain, saslXoauth2, unsendable } from "../sasl.ts";
import { loginPieces, type Response, responseCodeOf } from "./bulk-codec.ts";
import { BulkWire, type WireListener } from "./bulk-wire.ts";
import { classify } from "./classify.ts";

export interface BulkTarget {
  readonly settings: EndpointSettings;
  readonly credentials: Credentials;
  /** The vetted address of `settings.host`. */
  readonly address: string;
  readonly spoolDir: string;
  readonly connectMs: number;
  readonly loginMs: number;
}

/** A NO or BAD as `classify` reads it. */
export const refusalOf = (text: string): Error => {
  const [, status = "BAD"] = text.split(" ", 2);
  return Object.assign(new Error("the server refused a command"), {
    responseStatus: status.toUpperCase() === "NO" ? "NO" : "BAD",
    serverResponseCode: responseCodeOf(text)?.[0] ?? "",
    responseText: text,
  });
};

/** More lines than any login takes; a server that sends them without end is not waited for. */
const maxWaiting = 1000;

/** Responses one by one, for the few turns of a login. */
class Dialogue implements WireListener {
  readonly #arrived: Response[] = [];
  #ended: Error | null = null;
  #bye: string | null = null;
  #wake: () => void = () => undefined;

  get waiting(): number {
    return this.#arrived.length;
  }

  planBody(): "skip" {
    return "skip";
  }

  onResponse(response: Response): void {
    if (this.#arrived.length >= maxWaiting) throw new ProtocolFault("ResponseTooLarge", "more lines than a login takes");
    if (/^\* BYE\b/i.test(response.text)) this.#bye = response.text;
    this.#arrived.push(response);
    this.#wake();
  }

  onEnd(error: Error): void {
    this.#ended = this.#bye === null ? error : Object.assign(error, { reason: this.#bye });
    this.#wake();
  }

  async next(): Promise<string> {
    for (;;) {
      const response = this.#arrived.shift();
      if (response !== undefined) return response.text;
      if (this.#ended !== null) throw this.#ended;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

class Opening {
  readonly #target: BulkTarget;
  #dialogue = new Dialogue();
  #socket: Socket | null = null;
  #wire: BulkWire | null = null;
  #capabilities: ReadonlySet<string> | null = null;
  #tag = 0;

  constructor(target: BulkTarget) {
    this.#target = target;
  }

  /** Until the server may be spoken to as the endpoint's settings ask. */
  async connect(): Promise<void> {
    const { settings } = this.#target;
    await this.#open(dial(this.#target), settings.security === "tls" ? "secureConnect" : "connect");
    await this.#greeting();
    if (settings.security === "starttls") await this.#startTls();
  }

  async login(): Promise<BulkWire> {
    if (this.#wire === null) throw new ProtocolFault("ResponseProcessingFailed", "no connection");
    await this.#authenticate();
    return this.#wire;
  }

  destroy(): void {
    this.#wire?.destroy();
    this.#socket?.destroy();
  }

  async #open(socket: Socket, ready: "connect" | "secureConnect"): Promise<void> {
    this.#socket = socket;
    await opened(socket, ready);
    this.#dialogue = new Dialogue();
    this.#wire = new BulkWire(socket, this.#dialogue, this.#target.spoolDir);
  }

  async #greeting(): Promise<void> {
    const text = await this.#dialogue.next();
    const status = /^\* (OK|PREAUTH|BYE)\b/i.exec(text)?.[1]?.toUpperCase();
    if (status === undefined) throw new ProtocolFault("ResponseProcessingFailed", "the greeting is not that of an IMAP server");
    if (status === "BYE") throw Object.assign(new Error("the server said BYE"), { code: "EConnectionClosed", reason: text });
    // Whose mail would that be? And before STARTTLS it may be somebody in between who says so.
    if (status === "PREAUTH") throw nobodyAsked(this.#target.settings.host);
    const code = responseCodeOf(text);
    if (code?.[0] === "CAPABILITY") this.#capabilities = capabilitiesOf(code[1]);
  }

  async #startTls(): Promise<void> {
    const { text } = await this.#ask((tag) => [`${tag} STARTTLS\r\n`]);
    if (!isOk(text)) throw noEncryption();
    if (this.#dialogue.waiting > 0)
      throw new ProtocolFault("STARTTLS_INJECTION", "something was sent before the connection was protected");
    if (this.#wire === null) throw new ProtocolFault("ResponseProcessingFailed", "no connection");
    const plain = this.#wire.detach();
    this.#wire = null;
    this.#capabilities = null;
    await this.#open(protect(plain, this.#target), "secureConnect");
  }

  async #authenticate(): Promise<void> {
    const { credentials } = this.#target;
    const secret = credentials.type === "password" ? credentials.password : credentials.accessToken;
    if (!isSendable(credentials.user) || !isSendable(secret)) throw unsendable();
    const can = this.#capabilities ?? (await this.#askCapabilities());
    const { text } = await this.#ask((tag) => this.#loginCommand(tag, can));
    if (!isOk(text)) throw refusalOf(text);
  }

  async #askCapabilities(): Promise<ReadonlySet<string>> {
    const { text, untagged } = await this.#ask((tag) => [`${tag} CAPABILITY\r\n`]);
    if (!isOk(text)) throw refusalOf(text);
    const line = untagged.findLast((response) => /^\* CAPABILITY /i.test(response)) ?? "";
    return capabilitiesOf(line.slice("* CAPABILITY ".length));
  }

  /** In pieces: each but the first is sent when the server asks for more. */
  #loginCommand(tag: string, can: ReadonlySet<string>): readonly string[] {
    const { credentials, settings } = this.#target;
    const sasl = (mechanism: string, message: string, onRefusal: string): readonly string[] =>
      can.has("SASL-IR")
        ? [`${tag} AUTHENTICATE ${mechanism} ${message}\r\n`, `${onRefusal}\r\n`]
        : [`${tag} AUTHENTICATE ${mechanism}\r\n`, `${message}\r\n`, `${onRefusal}\r\n`];
    const { user } = credentials;
    if (credentials.type === "oauth2") {
      const token = credentials.accessToken;
      // A refusal comes as a challenge first, to be answered with a dummy (RFC 7628 §3.2.3) or with nothing (Google).
      if (can.has("AUTH=OAUTHBEARER"))
        return sasl("OAUTHBEARER", saslOauthbearer({ user, token, host: settings.host, port: settings.port }), "AQ==");
      if (can.has("AUTH=XOAUTH2")) return sasl("XOAUTH2", saslXoauth2(user, token), "");
      throw new Error("No matching authentication method");
    }
    if (can.has("AUTH=PLAIN")) return sasl("PLAIN", saslPlain(user, credentials.password), "*");
    if (can.has("LOGINDISABLED")) throw new Error("Login is disabled");
    return loginPieces(tag, user, credentials.password);
  }

  async #ask(piecesFor: (tag: string) => readonly string[]): Promise<{ text: string; untagged: readonly string[] }> {
    this.#tag += 1;
    const tag = `a${this.#tag}`;
    const pieces = [...piecesFor(tag)];
    const untagged: string[] = [];
    this.#wire?.send(pieces.shift() ?? "");
    for (;;) {
      const text = await this.#dialogue.next();
      if (text.startsWith(`${tag} `)) return { text, untagged };
      if (text.startsWith("* ")) {
        untagged.push(text);
        continue;
      }
      const piece = text.startsWith("+") ? pieces.shift() : undefined;
      if (piece === undefined) throw new ProtocolFault("ResponseProcessingFailed", "an answer to nothing that was asked");
      this.#wire?.send(piece);
    }
  }
}

const isOk = (tagged: string): boolean => /^\S+ OK\b/i.test(tagged);

const capabilitiesOf = (list: string): ReadonlySet<string> => new Set(list.toUpperCase().split(" "));

/** `tlsFailed` is how imapflow marks the same, and what `classify` looks for. */
const noEncryption = (): Error => Object.assign(new Error("the server offers no STARTTLS"), { tlsFailed: true });

const nobodyAsked = (host: string): SyncError =>
  new SyncError("config", "endpoint", {
    code: "endpoint_refused",
    message: `${host} let us in without asking who we are, so whose mail it shows is not known.`,
    action: "Check host and port of the endpoint.",
  });

/** @throws SyncError/endpoint of every kind, `stopped` included. The connection is gone then. */
export const openBulkWire = async (target: BulkTarget, signal: AbortSignal): Promise<BulkWire> => {
  const opening = new Opening(target);
  const destroy = (): void => opening.destroy();
  try {
    await withDeadline(() => opening.connect(), target.connectMs, signal, destroy);
    return await withDeadline(() => opening.login(), target.loginMs, signal, destroy);
  } catch (error) {
    destroy();
    throw classify(error, { during: "login", host: target.settings.host, user: target.credentials.user });
  }
};
