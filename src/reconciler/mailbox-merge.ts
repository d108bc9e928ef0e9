/** Two canonical mailboxes that the server takes for one, because their names differ in case only (D11). */
import type { DecidedChange } from "../model/change.ts";
import { foldCase, freeName, placeKey } from "./mailbox-names.ts";
import { describeMailbox, type MailboxDecision, type MailboxWrite, removeMailbox } from "./mailboxes.ts";
import type { MailboxView } from "./state.ts";

export const sameToServer = { reason: "same_to_server", rule: "D11" } as const;

export interface Merging {
  /** What upstream never had; its mail is moved by whoever calls. */
  readonly view: MailboxView;
  readonly into: MailboxView;
  /** All that are live. */
  readonly known: readonly MailboxView[];
  /** Whose operation made it. */
  readonly deviceId: string | null;
}

const liveWrite = (view: MailboxView, rest: Partial<MailboxWrite>): MailboxWrite => {
  const { id, name, parentId, role, roleSource, subscribed } = view;
  return { id, created: false, name, parentId, role, roleSource, subscribed, lifecycle: "live", change: null, ...rest };
};

/** The one ends in the other, which gets what lies below it, and its role where it has none itself. */
export const mergeMailbox = ({ view, into, known, deviceId }: Merging): MailboxDecision => {
  const changes: DecidedChange[] = [];
  const evidence = [{ loser: { name: view.name }, mailboxId: into.id, source: "api", deviceId }];
  const say = (of: MailboxView, after: MailboxWrite | null): number =>
    changes.push({
      kind: after === null ? "mailbox.removed" : "mailbox.renamed",
      messageId: null,
      mailboxId: of.id,
      placementId: null,
      before: describeMailbox(of),
      after: after === null ? null : describeMailbox(after),
      source: "rule",
      endpointId: null,
      deviceId,
      confidence: null,
      evidence,
      ...sameToServer,
    }) - 1;
  const renamed = (of: MailboxView, rest: Partial<MailboxWrite>): MailboxWrite => {
    const after = liveWrite(of, rest);
    return { ...after, change: say(of, after) };
  };
  const taken = new Set(known.map((one) => foldCase(placeKey(one.parentId, one.name))));
  const adopt = (child: MailboxView): MailboxWrite => {
    const name = freeName(child.name, (one) => taken.has(foldCase(placeKey(into.id, one))));
    taken.add(foldCase(placeKey(into.id, name)));
    return renamed(child, { name, parentId: into.id });
  };
  const below = known.filter(({ parentId }) => parentId === view.id).map(adopt);
  const { role, roleSource } = view;
  const recast = role !== null && into.role === null ? [renamed(into, { role, roleSource })] : [];
  return { changes, mailboxes: [...below, ...recast, removeMailbox(view, say(view, null))], upstream: [], gone: [] };
};
