/** Which devices an account seems to have, by what was seen of them, and what its owner can do about them. */
import { type Static, Type } from "typebox";
import { type Pop3Evidence, type Pop3Sign, pop3Signs } from "../model/pop3-devices.ts";
import type { Suspicion } from "../store/account-status.ts";
import { Time, Words } from "./schemas.ts";

const signs = [...pop3Signs, "read_like_retrieved"] as const;
type Sign = (typeof signs)[number];

export const SuspectedDevice = Type.Object({
  protocol: Words(["pop3"]),
  sign: Words(signs),
  count: Type.Integer({ description: "How often it was seen; of messages that were read so, how many." }),
  lastAt: Time,
  certain: Type.Boolean({ description: "Seen often enough to be acted on." }),
  message: Type.String(),
  action: Type.String(),
});
type SuspectedDevice = Static<typeof SuspectedDevice>;

const times = (count: number): string => (count === 1 ? "Once" : `${count} times`);

const words: Record<Sign, readonly [message: (count: number) => string, action: string]> = {
  maildrop_in_use: [
    (count) => `${times(count)} another client was in the maildrop when it was looked at.`,
    "Find the device that fetches over POP3; let it use IMAP, or leave copies on the server and fetch every few minutes at most.",
  ],
  drained: [
    (count) => `${times(count)} mail left INBOX as if a POP3 device had downloaded and deleted it.`,
    "In that device (Outlook: account settings, advanced) choose to leave copies on the server, or set the policy onPop3Drain.",
  ],
  read_like_retrieved: [
    (count) =>
      `${count === 1 ? "One message became" : `${count} messages became`} read as if a POP3 device had only retrieved them.`,
    "If a device reads this mail over POP3, set the policy pop3Devices to declared: what it retrieves then stays unread.",
  ],
};

const shown = (
  sign: Sign,
  seen: { readonly count: number; readonly lastAt: Date; readonly certain: boolean },
): SuspectedDevice => {
  const [message, action] = words[sign];
  const { count, lastAt, certain } = seen;
  return { protocol: "pop3", sign, count, lastAt: lastAt.toISOString(), certain, message: message(count), action };
};

const fromSign = (sign: Pop3Sign, evidence: Pop3Evidence): SuspectedDevice[] => {
  const seen = evidence[sign];
  return seen === undefined
    ? []
    : [shown(sign, { count: seen.count, lastAt: new Date(seen.lastAt), certain: seen.learnedAt !== null })];
};

/** What was seen, whatever the owner says of it. */
export const suspectedDevices = (evidence: Pop3Evidence, suspicions: readonly Suspicion[]): SuspectedDevice[] => {
  const found = pop3Signs.flatMap((sign) => fromSign(sign, evidence));
  if (suspicions.length === 0) return found;
  const count = suspicions.reduce((sum, suspicion) => sum + suspicion.count, 0);
  const lastAt = new Date(Math.max(...suspicions.map((suspicion) => suspicion.lastAt.getTime())));
  return [...found, shown("read_like_retrieved", { count, lastAt, certain: false })];
};
