/** What a server says of itself in answer to CAPA (RFC 2449). */

const dayless = new Set(["NEVER", "USER"]);

export class Capabilities {
  /** As they came, in capitals, sorted; empty where the server knows no CAPA. */
  readonly lines: readonly string[];
  /** False where the server knows no CAPA: then nothing is known, and what is not listed may work. */
  readonly known: boolean;
  readonly #arguments: ReadonlyMap<string, readonly string[]>;

  /** `body`: lines with their ends; null where CAPA was refused. */
  constructor(body: Buffer | null) {
    const lines = (body ?? Buffer.alloc(0)).toString("latin1").split(/\r?\n/);
    this.lines = lines
      .map((line) => line.trim().toUpperCase())
      .filter((line) => line !== "")
      .sort();
    this.known = body !== null;
    this.#arguments = new Map(
      this.lines.map((line) => {
        const [name = "", ...rest] = line.split(/ +/);
        return [name, rest];
      }),
    );
  }

  /** By name, in capitals, e.g. `UIDL`. */
  has(name: string): boolean {
    return this.#arguments.has(name);
  }

  /** Does the server offer this SASL mechanism (RFC 5034)? */
  hasMechanism(name: string): boolean {
    return this.#arguments.get("SASL")?.includes(name) ?? false;
  }

  /** How long to stay away between two logins (RFC 2449 §6.5), in milliseconds; null when the server does not say. */
  get loginDelayMs(): number | null {
    const [seconds = ""] = this.#arguments.get("LOGIN-DELAY") ?? [];
    return /^\d{1,7}$/.test(seconds) ? Number(seconds) * 1000 : null;
  }

  /**
   * After how many days the server removes messages of its own accord (RFC 2449 §6.7); 0: once they are retrieved. Null:
   * never, or not said.
   */
  get expireDays(): number | null {
    const [days = "NEVER"] = this.#arguments.get("EXPIRE") ?? [];
    return !dayless.has(days) && /^\d{1,6}$/.test(days) ? Number(days) : null;
  }

  get implementation(): string | null {
    return this.#arguments.get("IMPLEMENTATION")?.join(" ") ?? null;
  }
}
