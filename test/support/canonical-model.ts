/** A small in-memory account that applies the reconciler's decisions, and an upstream that devices change: for properties. */
import { defaultPolicy } from "../../src/model/account.ts";
import type { DecidedChange } from "../../src/model/change.ts";
import type { EndpointId, MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import { type ItemFact, type KnownMessage, reconcileItems } from "../../src/reconciler/items.ts";
import { reconcileFlags } from "../../src/reconciler/observed-flags.ts";
import type { Decision, PlacementView, Scope } from "../../src/reconciler/state.ts";
import { type Candidate, reconcileAbsences, resolveCandidates } from "../../src/reconciler/vanish.ts";

export interface UpstreamItem {
  readonly uid: number;
  readonly sha256: string;
  readonly flags: readonly string[];
  readonly receivedAt: number;
}

export class UpstreamModel {
  readonly mailboxes = new Map<string, { epoch: number; uidNext: number; items: Map<number, UpstreamItem> }>();

  constructor(names: readonly string[]) {
    for (const name of names) this.mailboxes.set(name, { epoch: 0, uidNext: 1, items: new Map() });
  }

  add(name: string, item: Omit<UpstreamItem, "uid">): void {
    const mailbox = this.mailboxes.get(name);
    if (mailbox === undefined) return;
    mailbox.items.set(mailbox.uidNext, { ...item, uid: mailbox.uidNext });
    mailbox.uidNext += 1;
  }

  /** UIDVALIDITY changes and everything gets a new UID. */
  renumber(name: string): void {
    const mailbox = this.mailboxes.get(name);
    if (mailbox === undefined) return;
    const items = [...mailbox.items.values()];
    mailbox.epoch += 1;
    mailbox.items = new Map(items.map((item, index) => [index + 1, { ...item, uid: index + 1 }]));
    mailbox.uidNext = items.length + 1;
  }
}

const endpointId = "e" as EndpointId;

export class CanonicalModel {
  readonly placements = new Map<PlacementId, PlacementView>();
  readonly messages = new Map<MessageId, string>();
  readonly changes: DecidedChange[] = [];
  private readonly epochs = new Map<string, number>();
  private nextId = 0;

  /** A whole sync: every mailbox listed and fetched, then what is missing is decided. @returns the number of changes. */
  sync(upstream: UpstreamModel): number {
    const before = this.changes.length;
    for (const [name, mailbox] of upstream.mailboxes) this.syncMailbox(name, mailbox);
    const candidates = [...this.placements.values()].filter((placement) => placement.absent && placement.lifecycle === "live");
    const withRole = candidates.map((placement): Candidate => ({
      ...placement,
      role: null,
      ownCommand: false,
      markedDeleted: false,
      absentSince: 0,
      trace: null,
      durable: true,
      restorable: true,
      drainSuspect: false,
      mailboxGone: false,
      shownElsewhere: false,
      cameAt: null,
    }));
    this.apply(
      resolveCandidates({
        endpointId,
        candidates: withRole,
        // The breaker is looked at by itself.
        live: Number.POSITIVE_INFINITY,
        lately: 0,
        epoch: 0,
        hold: null,
        decided: null,
        dispute: null,
        cut: {
          batchShape: false,
          inboxLost: new Set(),
          secondViews: new Map(),
          unwell: false,
          account: { candidates: 0, live: 1 },
          keepsLabels: false,
          trashDays: null,
          at: 0,
        },
        policy: defaultPolicy,
        pop3Devices: "unknown",
        mayRestore: true,
      }),
      null,
      [],
    );
    return this.changes.length - before;
  }

  private syncMailbox(name: string, mailbox: { epoch: number; items: Map<number, UpstreamItem> }): void {
    const scope: Scope = { endpointId, mailboxId: name as MailboxId, epoch: mailbox.epoch };
    if ((this.epochs.get(name) ?? 0) !== mailbox.epoch) {
      for (const [id, view] of this.placements)
        if (view.mailboxId === name && view.binding?.active === true)
          this.placements.set(id, { ...view, binding: { ...view.binding, active: false, closedReason: "epoch" } });
      this.epochs.set(name, mailbox.epoch);
    }
    const bound = this.bound(scope);
    const gone = [...bound.keys()].filter((uid) => !mailbox.items.has(uid)).sort((a, b) => a - b);
    this.apply(reconcileAbsences({ scope, uids: gone, bound, trace: { newBelow: 0, storeExcluded: false } }), scope, []);
    this.apply(
      reconcileFlags({
        scope,
        facts: [...mailbox.items.values()].map((item) => ({ ...item, modseq: null })),
        bound: this.bound(scope),
        seen: null,
      }),
      scope,
      [],
    );
    const fresh = [...mailbox.items.values()].filter((item) => !bound.has(item.uid));
    const items: ItemFact[] = fresh.map((item) => ({ ...item, modseq: null }));
    const freshIds = Array.from({ length: items.length * 2 }, () => `id${(this.nextId += 1)}`);
    this.apply(
      reconcileItems({ scope, items, bound, known: this.known(), claims: [], freshIds, reason: "delivered" }),
      scope,
      items,
    );
    // A new epoch was read to its end: what no item continued waits for a decision.
    for (const [id, view] of this.placements)
      if (view.mailboxId === name && view.lifecycle === "live" && view.binding?.closedReason === "epoch" && !view.absent)
        this.placements.set(id, { ...view, absent: true });
  }

  private bound(scope: Scope): Map<number, PlacementView> {
    const found = new Map<number, PlacementView>();
    for (const view of this.placements.values())
      if (view.binding?.active === true && view.binding.mailboxId === scope.mailboxId && view.binding.epoch === scope.epoch)
        found.set(view.binding.uid, view);
    return found;
  }

  private known(): Map<string, KnownMessage> {
    return new Map(
      [...this.messages].map(([id, sha256]) => [
        sha256,
        { id, placements: [...this.placements.values()].filter((view) => view.messageId === id) },
      ]),
    );
  }

  apply(decision: Decision, scope: Scope | null, items: readonly ItemFact[]): void {
    this.changes.push(...decision.changes);
    for (const message of decision.newMessages) this.messages.set(message.id, items[message.item]?.sha256 ?? "");
    for (const placement of decision.newPlacements)
      this.placements.set(placement.id, { ...placement, lifecycle: "live", kept: false, absent: false, binding: null });
    for (const write of decision.placements) {
      const view = this.placements.get(write.id);
      if (view !== undefined)
        this.placements.set(write.id, {
          ...view,
          mailboxId: write.mailboxId,
          keywords: write.keywords,
          lifecycle: write.lifecycle === "live" ? "live" : "removed",
          kept: write.kept,
          absent: write.absent,
        });
    }
    if (scope === null) return;
    for (const { uid, reason } of decision.closed)
      for (const [id, view] of this.placements)
        if (
          view.binding?.active === true &&
          view.binding.uid === uid &&
          view.binding.mailboxId === scope.mailboxId &&
          view.binding.epoch === scope.epoch
        )
          this.placements.set(id, { ...view, binding: { ...view.binding, active: false, closedReason: reason } });
    for (const { uid, placementId, flags } of decision.bindings) {
      const view = this.placements.get(placementId);
      if (view !== undefined)
        this.placements.set(placementId, {
          ...view,
          binding: { mailboxId: scope.mailboxId, epoch: scope.epoch, uid, active: true, closedReason: null, shadowFlags: flags },
        });
    }
  }

  /** What a reader sees, as comparable lines. */
  live(): string[] {
    return [...this.placements.values()]
      .filter((view) => view.lifecycle === "live")
      .map((view) => `${view.mailboxId} ${this.messages.get(view.messageId)} ${view.keywords.join(",")}`)
      .sort();
  }
}
