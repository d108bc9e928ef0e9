/**
 * The hash chain over an account's log: each entry's hash covers the entry as its readers see it and the hash before it,
 * so that who keeps one hash can prove that nothing before it was left out, altered or put elsewhere.
 */
import { hash } from "node:crypto";
import type { Change } from "../model/change.ts";
import { toChangeFacts } from "../model/change-json.ts";

/** As text columns and jsonb store it: an escaped NUL is left out. Behind an odd backslash the same letters are just text. */
const escapedNul = /(?<!\\)((?:\\\\)*)\\u0000/g;

/** JSON in its one canonical spelling (RFC 8785): no white space, names in the order of their UTF-16 units. */
const canonicalOf = (value: unknown): string => {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  let text = "";
  if (Array.isArray(value)) {
    for (const inner of value) text += `${text === "" ? "" : ","}${canonicalOf(inner)}`;
    return `[${text}]`;
  }
  for (const name of Object.keys(value).sort()) {
    const inner = (value as Record<string, unknown>)[name];
    if (inner !== undefined) text += `${text === "" ? "" : ","}${JSON.stringify(name)}:${canonicalOf(inner)}`;
  }
  return `{${text}}`;
};

/** The same as `canonicalOf` says, with the names in place: every entry of a bulk passes here. */
const entryOf = (change: Omit<Change, "hash">): string => {
  const { cause, ...entry } = toChangeFacts(change);
  const parts = [
    `{"accountId":"${entry.accountId}","after":${canonicalOf(entry.after)},"at":"${entry.at}","before":${canonicalOf(entry.before)}`,
    `"cause":{"deviceId":${JSON.stringify(cause.deviceId)},"endpointId":${JSON.stringify(cause.endpointId)},"source":"${cause.source}"}`,
    `"confidence":${entry.confidence},"evidence":${canonicalOf(entry.evidence)},"kind":"${entry.kind}"`,
    `"mailboxId":${JSON.stringify(entry.mailboxId)},"messageId":${JSON.stringify(entry.messageId)}`,
    `"placementId":${JSON.stringify(entry.placementId)},"reason":${JSON.stringify(entry.reason)}`,
    `"rule":${JSON.stringify(entry.rule)},"seq":${entry.seq},"state":"${entry.state}"}`,
  ];
  const text = parts.join();
  return text.includes(String.raw`\u0000`) ? text.replaceAll(escapedNul, "$1") : text;
};

/** The hash of an entry: SHA-256, in hex, of the hash before it (empty at the first) and the entry's canonical JSON without `hash`. */
export const chainHash = (previous: string, change: Omit<Change, "hash">): string =>
  hash("sha256", previous + entryOf(change), "hex");
