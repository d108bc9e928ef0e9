/**
 * From nothing to a maildrop: TCP, TLS, greeting, capabilities, login. Nothing that came before TLS is believed, and no
 * secret leaves before it where the endpoint asks for it (RFC 8314 §3, RFC 2595 §4).
 */
import { createHash } from "node:crypto";
import type { Socket } from "node:net";
import type { Credentials, EndpointSettings } from "../../model/endpoint.ts";
import { withDeadline } from "../deadline.ts";
import { dial, opened, protect } from "../dial.ts";
import { isSendable, saslOauthbearer, saslPlain, saslXoauth2, unsendable } from "../sasl.ts";
import { Capabilities } from "./capabilities.ts";
import { classify, NoMechanism, NoProtection, Refusal } from "./classify.ts";
import { Commands } from "./commands.ts";
import type { Expectation, Reply } from "./framing.ts";
import { Wire } from "./wire.ts";

export interface LoginTarget {
  readonly settings: EndpointSettings;
  readonly credentials: Credentials;
  /** The vetted address of `settings.host`. */
  readonly address: string;
  readonly spoolDir: string;
  /** Until the server may be spoken to, and until it has let us in; in milliseconds. */
  readonly connectMs: number;
  readonly loginMs: number;
  /** Most between two octets while an answer is due. */
  readonly silenceMs: number;
}

export interface LoggedIn {
  readonly wire: Wire;
  readonly capabilities: Capabilities;
}

/** Of a command with its line end (RFC 2449 §4). */
const maxCommandLine = 255;
const maxCapabilities = 64 * 1024;

/**
 * The challenge of a greeting that offers APOP (RFC 1939 §7); null: there is none. Only what can be a msg-id of RFC 5322 is
 * answered: other octets are how somebody in between learns a password from a few answers (CVE-2007-1558).
 */
export const apopChallenge = (greeting: string): string | null =>
  /<[\x21-\x3b\x3d\x3f-\x7e]+@[\x21-\x3b\x3d\x3f-\x7e]+>/.exec(greeting)?.[0] ?? null;

class Opening {
  readonly #target: LoginTarget;
  #socket: Socket | null = null;
  #wire: Wire | null = null;
  #challenge: string | null = null;
  capabilities = new Capabilities(null);

  constructor(target: LoginTarget) {
    this.#target = target;
  }

  /** Until the server may be spoken to as the endpoint's settings ask. */
  async connect(): Promise<void> {
    const { settings, connectMs } = this.#target;
    const wire = await this.#open(dial(this.#target), settings.security === "tls" ? "secureConnect" : "connect");
    const greeting = await wire.ask(null, { body: "none" }, connectMs);
    if (greeting.status !== "+OK") throw new Refusal(greeting.text);
    if (settings.security === "starttls") await this.#startTls(wire);
    // What came before TLS is not believed.
    else this.#challenge = apopChallenge(greeting.text);
  }

  async login(): Promise<LoggedIn> {
    const wire = this.#wire;
    if (wire === null) throw new Error("no connection");
    this.capabilities = await this.#askCapabilities(wire);
    await this.#authenticate(wire);
    // Some of it holds for this user only, and some is told after the login only (RFC 2449 §5).
    const since = this.capabilities.known ? await this.#askCapabilities(wire) : this.capabilities;
    return { wire, capabilities: since.known ? since : this.capabilities };
  }

  destroy(): void {
    this.#wire?.destroy();
    this.#socket?.destroy();
  }

  async #open(socket: Socket, ready: "connect" | "secureConnect"): Promise<Wire> {
    const { silenceMs, spoolDir } = this.#target;
    this.#socket = socket;
    await opened(socket, ready);
    this.#wire = new Wire(socket, { silenceMs, spoolDir });
    return this.#wire;
  }

  async #startTls(wire: Wire): Promise<void> {
    await new Commands(wire, 1).say(["STLS"], { body: "tls" }, this.#target.connectMs).catch((error: unknown) => {
      throw error instanceof Refusal ? new NoProtection("the server offers no STLS") : error;
    });
    const plain = wire.detach();
    this.#wire = null;
    await this.#open(protect(plain, this.#target), "secureConnect");
  }

  async #askCapabilities(wire: Wire): Promise<Capabilities> {
    try {
      const expected: Expectation = { body: "lines", limit: maxCapabilities };
      const { lines } = await new Commands(wire, 1).say(["CAPA"], expected, this.#target.loginMs);
      return new Capabilities(lines);
    } catch (error) {
      if (error instanceof Refusal) return new Capabilities(null);
      throw error;
    }
  }

  async #authenticate(wire: Wire): Promise<void> {
    const { credentials, settings } = this.#target;
    const { user } = credentials;
    const secret = credentials.type === "password" ? credentials.password : credentials.accessToken;
    if (!isSendable(user) || !isSendable(secret)) throw unsendable();
    const { capabilities } = this;
    if (credentials.type === "oauth2") {
      const { host, port } = settings;
      if (capabilities.hasMechanism("OAUTHBEARER"))
        return this.#sasl(wire, "OAUTHBEARER", saslOauthbearer({ user, token: secret, host, port }));
      // A server may take XOAUTH2 without telling; whoever has a token has no other way in.
      return this.#sasl(wire, "XOAUTH2", saslXoauth2(user, secret));
    }
    const hasPlain = capabilities.hasMechanism("PLAIN");
    const hasUser = capabilities.has("USER") || !capabilities.has("SASL");
    // Where anybody may listen the password is not sent as long as there is another way; and not after that was refused.
    if (this.#challenge !== null && (settings.security === "none" || !(hasPlain || hasUser)))
      return this.#say(wire, [
        `APOP ${user} ${createHash("md5")
          .update(this.#challenge + secret)
          .digest("hex")}`,
      ]);
    if (hasPlain) return this.#sasl(wire, "PLAIN", saslPlain(user, secret));
    if (!hasUser) throw new NoMechanism("neither PLAIN nor USER");
    // Not as one flight: a server that knows no such user need not be told the password.
    return this.#say(wire, [`USER ${user}`, `PASS ${secret}`]);
  }

  async #say(wire: Wire, lines: readonly string[]): Promise<void> {
    for (const line of lines) {
      if (Buffer.byteLength(line) + 2 > maxCommandLine) throw unsendable();
      accepted(await wire.ask(`${line}\r\n`, { body: "none" }, this.#target.loginMs));
    }
  }

  /** RFC 5034 §4: with the command where it fits into its line, else when the server asks for it. */
  async #sasl(wire: Wire, mechanism: keyof typeof onRefusal, message: string): Promise<void> {
    const say = (line: string): Promise<Reply> => wire.ask(`${line}\r\n`, { body: "challenge" }, this.#target.loginMs);
    const inOne = `AUTH ${mechanism} ${message}`;
    const fits = inOne.length + 2 <= maxCommandLine;
    let reply = await say(fits ? inOne : `AUTH ${mechanism}`);
    if (!fits && reply.status === "+") reply = await say(message);
    // A challenge now tells why it is refused; what has to be said to it differs (RFC 7628 §3.2.3, Google).
    if (reply.status === "+") reply = await say(onRefusal[mechanism]);
    accepted(reply);
  }
}

const onRefusal = { PLAIN: "*", OAUTHBEARER: "AQ==", XOAUTH2: "" } as const;

const accepted = (reply: Reply): void => {
  if (reply.status !== "+OK") throw new Refusal(reply.text);
};

/** @throws SyncError/endpoint of every kind, `stopped` included. The connection is gone then. */
export const logIn = async (target: LoginTarget, signal: AbortSignal): Promise<LoggedIn> => {
  const opening = new Opening(target);
  const destroy = (): void => opening.destroy();
  try {
    await withDeadline(() => opening.connect(), target.connectMs, signal, destroy);
    return await withDeadline(() => opening.login(), target.loginMs, signal, destroy);
  } catch (error) {
    destroy();
    const { host } = target.settings;
    const { loginDelayMs } = opening.capabilities;
    throw classify(error, { during: "login", host, user: target.credentials.user, loginDelayMs });
  }
};
