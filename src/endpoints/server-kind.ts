/** Which software answers, by what it says of itself. A guess that only advice rests on: servers may say anything. */
import type { ServerKind } from "../model/diagnosis.ts";

export interface SelfDescription {
  readonly greeting: string;
  /** By ID (RFC 2971) or IMPLEMENTATION (RFC 2449 §6.9). */
  readonly name: string | null;
  readonly capabilities: readonly string[];
}

const byWords: readonly (readonly [RegExp, ServerKind])[] = [
  [/\bwildduck|\bwdpop\b|\bwdimap\b/i, "wildduck"],
  [/\bstalwart\b/i, "stalwart"],
  [/\bproton\b|protonmail/i, "proton_bridge"],
  [/\bzimbra\b/i, "zimbra"],
  [/\bgpop\b|\bgimap\b|\bgmail\b/i, "gmail"],
  [/microsoft exchange|microsoft\.exchange/i, "exchange"],
  [/\bicloud\b|imap\.mail\.me\.com/i, "icloud"],
  [/\bjpop|\byahoo\b|\bymail\b/i, "yahoo"],
  [/\bcyrus\b/i, "cyrus"],
  [/\bcourier/i, "courier"],
  [/\bdovecot\b/i, "dovecot"],
];

/** Said by one kind of server only. */
const byCapability: Readonly<Record<string, ServerKind>> = { "X-GM-EXT-1": "gmail" };

export const serverKindOf = ({ greeting, name, capabilities }: SelfDescription): ServerKind => {
  for (const capability of capabilities) {
    const kind = byCapability[capability];
    if (kind !== undefined) return kind;
  }
  for (const text of [name ?? "", greeting]) {
    const kind = byWords.find(([pattern]) => pattern.test(text))?.[1];
    if (kind !== undefined) return kind;
  }
  // What Courier says to everybody who comes.
  return /^\+OK Hello there\.\s*$/.test(greeting) ? "courier" : "unknown";
};
