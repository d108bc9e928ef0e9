/** Mailboxes of an account whose upstream has none of its own (semantics K3). */
import type { EndpointId, MailboxId } from "../model/ids.ts";
import type { Role } from "../model/mail.ts";
import type { MailboxDecision, MailboxWrite } from "./mailboxes.ts";
import type { MailboxView } from "./state.ts";

const defaults: readonly (readonly [name: string, role: Role])[] = [
  ["INBOX", "inbox"],
  ["Archive", "archive"],
  ["Drafts", "drafts"],
  ["Sent", "sent"],
  ["Junk", "junk"],
  ["Trash", "trash"],
];

/** How many ids {@link defaultMailboxes} may need. */
export const defaultMailboxCount = defaults.length;

/** The default mailboxes that are missing: those whose role nobody has and whose name is free. */
export const defaultMailboxes = (input: {
  readonly endpointId: EndpointId;
  readonly known: readonly MailboxView[];
  /** Unused ids, one for each default. */
  readonly freshIds: readonly string[];
}): MailboxDecision => {
  const names = new Set(input.known.filter(({ parentId }) => parentId === null).map(({ name }) => name));
  const roles = new Set(input.known.map(({ role }) => role));
  const missing = defaults.filter(([name, role]) => !names.has(name) && !roles.has(role));
  const mailboxes = missing.map(([name, role], change): MailboxWrite => {
    const id = input.freshIds[change] as MailboxId;
    const rest = { parentId: null, role, roleSource: "name", subscribed: true, lifecycle: "live" } as const;
    return { id, created: true, name, ...rest, change };
  });
  const changes = mailboxes.map(({ id, name, role }) => ({
    kind: "mailbox.created" as const,
    messageId: null,
    mailboxId: id,
    placementId: null,
    before: null,
    after: { name, parentId: null, role },
    source: "pop3" as const,
    endpointId: input.endpointId,
    deviceId: null,
    reason: "default_mailbox",
    rule: "K3",
    confidence: null,
    evidence: [],
  }));
  return { changes, mailboxes, upstream: [], gone: [] };
};
