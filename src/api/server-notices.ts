/** What was learned of a mail server, in plain words for the account's owner. */
import type { EndpointProfile, Protocol } from "../model/endpoint.ts";

const onExpiry = ({ expireDays }: EndpointProfile): string[] => {
  if (expireDays === undefined) return [];
  return expireDays === 0
    ? ["The server removes what any POP3 client has retrieved. Everything is stored here before it may do so."]
    : [`The server removes messages by itself when they are ${expireDays} days old. They stay here.`];
};

const onListing = ({ listingWindow }: EndpointProfile): string[] => {
  if (listingWindow === undefined || listingWindow === null) return [];
  return listingWindow.kind === "newest"
    ? [`The server lists its newest ${listingWindow.count} messages only. What slides out of the list is not taken for deleted.`]
    : ["The server lists what no POP3 client has retrieved yet. What is hidden that way is not taken for deleted."];
};

const onReading = ({ wholeBy }: EndpointProfile): string[] => {
  if (wholeBy === undefined) return [];
  return wholeBy === "top"
    ? ["Messages are read whole without being marked as read."]
    : ["Messages can be read by retrieving them only, which may mark them as read for other devices."];
};

const onIds = ({ uidlFormat }: EndpointProfile): string[] =>
  uidlFormat === undefined
    ? []
    : ["Its unique-ids tell which message of INBOX they are, so that mail is matched without being read."];

const onPauses = ({ loginDelayMs = 0 }: EndpointProfile): string[] =>
  loginDelayMs > 0 ? [`It wants ${Math.ceil(loginDelayMs / 1000)} seconds between two logins, of all devices together.`] : [];

/** POP3 has no mailboxes but the maildrop (K1). */
const onMailboxes = (): string[] => [
  "Mailboxes that a POP3 program makes are on its own device only: those here are shared by what uses IMAP or the API.",
];

export const noticesOf = (protocol: Protocol, profile: EndpointProfile): string[] =>
  protocol === "pop3" ? [onMailboxes, onExpiry, onListing, onReading, onIds, onPauses].flatMap((tell) => tell(profile)) : [];
