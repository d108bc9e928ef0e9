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

/** A Trash where there is none, for what is thrown away over the API. A mailbox of that name becomes it. */
export const missingTrash = (input: {
  readonly known: readonly MailboxView[];
  /** Unused. */
  readonly freshId: MailboxId;
  readonly deviceId: string;
}): MailboxDecision => {
  const name = "Trash";
  const role: Role = "trash";
  const named = input.known.find((view) => view.parentId === null && view.name === name);
  const id = named?.id ?? input.freshId;
  const rest = { parentId: null, role, roleSource: "name", subscribed: true, lifecycle: "live", change: 0 } as const;
  return {
    changes: [
      {
        kind: named === undefined ? "mailbox.created" : "mailbox.renamed",
        messageId: null,
        mailboxId: id,
        placementId: null,
        before: named === undefined ? null : { name, parentId: null, role: named.role },
        after: { name, parentId: null, role },
        source: "api",
        endpointId: null,
        deviceId: input.deviceId,
        reason: "trash_needed",
        rule: "D10",
        confidence: null,
        evidence: [],
      },
    ],
    mailboxes: [{ id, created: named === undefined, name, ...rest }],
    upstream: [],
    gone: [],
  };
};
