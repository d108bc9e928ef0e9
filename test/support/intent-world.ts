/** An account in memory whose mail is written by devices: what the store hands to the reconciler and does with its answer. */
import type { DecidedChange } from "../../src/model/change.ts";
import type { MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import type { IntentResult, MailOp } from "../../src/model/intent.ts";
import type { Role } from "../../src/model/mail.ts";
import type { SaidKeywords } from "../../src/reconciler/intent-keywords.ts";
import { emptyIntentDraft, type IntentPlacement, type PlacementHistory } from "../../src/reconciler/intent-slice.ts";
import type { EarlierPlace } from "../../src/reconciler/location.ts";
import { reconcileIntent } from "../../src/reconciler/intents.ts";

export const mailboxes = {
  inbox: "inbox" as MailboxId,
  work: "work" as MailboxId,
  other: "other" as MailboxId,
  junk: "junk" as MailboxId,
  trash: "trash" as MailboxId,
};

const roles = new Map<MailboxId, Role | null>([
  [mailboxes.inbox, "inbox"],
  [mailboxes.work, null],
  [mailboxes.other, null],
  [mailboxes.junk, "junk"],
  [mailboxes.trash, "trash"],
]);

type Logged = DecidedChange & { readonly seq: bigint };

export interface Sent {
  readonly opId: string;
  readonly device: string;
  /** null: now. */
  readonly base: bigint | null;
  readonly op: MailOp;
}

const wordsOf = (values: DecidedChange["before"]): string[] | null => (values?.["keywords"] as string[] | undefined) ?? null;
const mailboxOf = (values: DecidedChange["before"]): MailboxId | null => (values?.["mailboxId"] as MailboxId | undefined) ?? null;

export class IntentWorld {
  readonly log: Logged[] = [];
  placements: IntentPlacement[] = [];
  private readonly said: (SaidKeywords & { readonly messageId: MessageId })[] = [];
  private readonly placed: EarlierPlace[] = [];
  private readonly results = new Map<string, IntentResult>();
  private made = 0;

  get head(): bigint {
    return BigInt(this.log.length);
  }

  add(message: string, mailboxId: MailboxId, keywords: readonly string[] = []): void {
    const id = `p${this.placements.length}` as PlacementId;
    const binding = { mailboxId, epoch: 1, uid: this.placements.length + 1, active: true, closedReason: null, shadowFlags: [] };
    this.placements.push({
      id,
      messageId: message as MessageId,
      mailboxId,
      keywords: [...keywords].toSorted(),
      lifecycle: "live",
      kept: false,
      absent: false,
      receivedAt: 0,
      binding,
      changedSeq: 0n,
      reason: "delivered",
      recoverable: true,
      durable: true,
    });
  }

  /** What a pass would have logged and written. */
  observe(index: number, kind: "flags" | "move" | "expunge", to: { keywords?: readonly string[]; mailboxId?: MailboxId }): void {
    const placement = this.placements[index % Math.max(1, this.placements.length)];
    if (placement?.lifecycle !== "live") return;
    const { mailboxId, keywords } = placement;
    const after = { mailboxId: to.mailboxId ?? mailboxId, keywords: [...(to.keywords ?? keywords)].toSorted() };
    const rest = {
      ...{ messageId: placement.messageId, mailboxId: after.mailboxId, placementId: placement.id, source: "imap" as const },
      ...{ endpointId: null, deviceId: null, rule: null, confidence: null, evidence: [], before: { mailboxId, keywords } },
    };
    if (kind === "expunge") {
      this.log.push({ ...rest, kind: "message.removed", after: null, reason: "user_expunge", seq: this.head + 1n });
      this.replace({ ...placement, lifecycle: "removed", changedSeq: this.head });
      return;
    }
    const logged = kind === "flags" ? "message.keywords" : "message.moved";
    this.log.push({ ...rest, kind: logged, after, reason: "upstream", seq: this.head + 1n });
    this.replace({ ...placement, ...after, changedSeq: this.head });
  }

  ingest({ opId, device, base, op }: Sent): IntentResult {
    const known = this.results.get(opId);
    if (known !== undefined) return known;
    const head = this.head;
    const placements = this.placements.filter(({ messageId }) => messageId === op.messageId);
    const draft = emptyIntentDraft();
    const result = reconcileIntent(
      draft,
      { op, deviceId: device, base: base ?? head, exact: base !== null, destructive: false },
      {
        ...{
          mailboxes: roles,
          held: new Set(),
          renumbered: new Set(),
          hasImap: true,
          expectsDrains: false,
          retentionDays: 30,
          head,
          began: head,
        },
        placements,
        history:
          base === null ? new Map() : new Map(placements.map((placement) => [placement.id, this.historyOf(placement, base)])),
        homes: new Map(),
        standIns: new Map(),
        undone: null,
        freshIds: Array.from({ length: 9 }, () => `copy${(this.made += 1)}`),
      },
    );
    for (const change of draft.changes) this.log.push({ ...change, seq: this.head + 1n });
    for (const write of draft.placements) {
      const before = this.placements.find(({ id }) => id === write.id);
      const changedSeq = write.change === null ? (before?.changedSeq ?? 0n) : head + BigInt(write.change) + 1n;
      if (write.lifecycle === "purged") this.placements = this.placements.filter(({ id }) => id !== write.id);
      else if (before !== undefined)
        this.replace({ ...before, ...write, lifecycle: write.lifecycle, reason: write.reason ?? before.reason, changedSeq });
    }
    for (const { id, messageId, mailboxId, keywords, change } of draft.newPlacements) {
      const rest = {
        lifecycle: "live",
        kept: false,
        absent: false,
        receivedAt: 0,
        binding: null,
        reason: "api_copy",
        recoverable: true,
        durable: true,
      } as const;
      this.placements.push({ id, messageId, mailboxId, keywords, ...rest, changedSeq: head + BigInt(change) + 1n });
    }
    const rest = { deviceId: device, base: base ?? head, seq: this.head, silent: draft.changes.length === 0 };
    if (op.op === "patch" && result.status !== "rejected")
      this.said.push({ ...rest, messageId: op.messageId, keywords: op.keywords });
    for (const place of draft.places) this.placed.push({ ...rest, ...place });
    this.results.set(opId, result);
    return result;
  }

  /** What devices see, without what only tells how it came about. */
  dump(): unknown[] {
    return this.placements
      .map(({ messageId, mailboxId, keywords, lifecycle, kept }) => ({
        messageId,
        keywords,
        lifecycle,
        kept,
        ...(lifecycle === "live" && { mailboxId }),
      }))
      .toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  }

  conflicts(...rules: string[]): number {
    return this.log.filter(({ kind, rule }) => kind === "conflict.resolved" && rules.includes(rule ?? "")).length;
  }

  private replace(placement: IntentPlacement): void {
    this.placements = this.placements.map((one) => (one.id === placement.id ? placement : one));
  }

  private historyOf({ id, messageId }: IntentPlacement, base: bigint): PlacementHistory {
    const since = this.log.filter(
      ({ placementId, seq, kind }) => placementId === id && seq > base && kind !== "conflict.resolved",
    );
    const isSince = ({ seq, silent }: { seq: bigint; silent: boolean }): boolean => seq > base || (seq === base && silent);
    const sourceOf = ({ deviceId }: Logged): string => (deviceId === null ? "endpoint" : `device ${deviceId}`);
    return {
      seen: since.flatMap((entry) => {
        const [before, after] = [wordsOf(entry.before), wordsOf(entry.after)];
        return entry.source === "api" || before === null || after === null
          ? []
          : [{ seq: entry.seq, source: "endpoint", before, after }];
      }),
      said: this.said.filter((one) => one.messageId === messageId && isSince(one)),
      placed: this.placed.filter((one) => one.placementId === id && isSince(one)),
      located: since
        .filter(({ kind }) => kind !== "message.keywords")
        .map((entry) => ({
          ...{ seq: entry.seq, kind: entry.kind, deviceId: entry.deviceId, source: sourceOf(entry) },
          ...{ reason: entry.reason, rule: entry.rule, from: mailboxOf(entry.before), to: mailboxOf(entry.after) },
        })),
    };
  }
}
