/** Making, renaming and removing mailboxes: the part of the writer that touches no message. */
import type { Doomed, MailboxOutcome, MailboxRename, Refused } from "../endpoint.ts";
import type { Answer } from "./asking.ts";
import { mailboxArguments } from "./bulk-codec.ts";
import { refusalOf, refused } from "./refusals.ts";
import { uint32Of } from "./tokens.ts";

/** How the writer asks: plainly, and by the name of a mailbox that a server may keep outside the encoding. */
export interface Speaker {
  readonly ask: (command: string) => Promise<Answer>;
  readonly named: (path: string, command: (name: string) => string) => Promise<Answer>;
}

/** A new name is always written as the protocol wants it. */
const encoded = (path: string): string => mailboxArguments(path)[0] ?? "";

/** RFC 2342 §5: what the names of a person's own mailboxes begin with. */
export const rootPrefix = async ({ ask }: Speaker): Promise<string> => {
  const { untagged } = await ask("NAMESPACE");
  const line = untagged.find(({ text }) => /^\* NAMESPACE /i.test(text))?.text ?? "";
  return /^\* NAMESPACE \(\("([^"\\]*)"/i.exec(line)?.[1] ?? "";
};

/** Servers without response codes say it in words (observed: Courier, Cyrus). */
const saysExists = ({ status, code, text }: Answer): boolean =>
  status === "NO" && (code?.[0] === "ALREADYEXISTS" || (code === null && /already exists/i.test(text)));

const outcomeOf = (answer: Answer): MailboxOutcome | Refused => {
  if (answer.status === "OK") return { kind: "done" };
  return saysExists(answer) ? { kind: "exists" } : refusalOf(answer);
};

/** Many devices show only what is subscribed; a server without subscriptions has nothing against it. */
export const subscribe = async ({ named }: Speaker, path: string, on: boolean): Promise<void> => {
  await named(path, (name) => (on ? `SUBSCRIBE ${name}` : `UNSUBSCRIBE ${name}`));
};

export const create = async (speaker: Speaker, path: string): Promise<MailboxOutcome | Refused> => {
  const outcome = outcomeOf(await speaker.ask(`CREATE ${encoded(path)}`));
  if (outcome.kind !== "refused") await subscribe(speaker, path, true);
  return outcome;
};

export const rename = async ({ named }: Speaker, { from, to }: MailboxRename): Promise<MailboxOutcome | Refused> =>
  outcomeOf(await named(from, (name) => `RENAME ${name} ${encoded(to)}`));

/** Anything below it? A wildcard in its own name may show too much, which only keeps it. */
const hasChildren = async ({ named }: Speaker, { path, delimiter }: Doomed): Promise<boolean> => {
  if (delimiter === null) return false;
  const { untagged } = await named(`${path}${delimiter}%`, (pattern) => `LIST "" ${pattern}`);
  return untagged.some(({ text }) => /^\* LIST /i.test(text));
};

/** D8: only what was just seen to be empty, and to be the one that was meant. */
export const remove = async (speaker: Speaker, doomed: Doomed): Promise<MailboxOutcome | Refused> => {
  const { named } = speaker;
  const looked = await named(doomed.path, (name) => `STATUS ${name} (MESSAGES UIDVALIDITY)`);
  if (looked.status !== "OK") return refusalOf(looked);
  const line = looked.untagged.findLast(({ text }) => /^\* STATUS /i.test(text))?.text ?? "";
  const told = (item: string): number | null => uint32Of(new RegExp(String.raw`\b${item} (\d+)`, "i").exec(line)?.[1] ?? "");
  if (doomed.uidValidity !== null && told("UIDVALIDITY") !== doomed.uidValidity) return refused("epoch");
  if (told("MESSAGES") !== 0 || (await hasChildren(speaker, doomed))) return { kind: "occupied" };
  const outcome = outcomeOf(await named(doomed.path, (name) => `DELETE ${name}`));
  if (outcome.kind === "done") await subscribe(speaker, doomed.path, false);
  return outcome;
};
