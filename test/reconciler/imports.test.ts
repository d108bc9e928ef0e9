/** Mail that an app brings, and the next version of a draft (P12). */
import { describe, expect, it } from "vitest";
import type { MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import type { ImportOp } from "../../src/model/intent.ts";
import { type ImportSlice, reconcileImport } from "../../src/reconciler/import.ts";
import type { IntentPlacement } from "../../src/reconciler/intent-slice.ts";
import { emptyDraft } from "../../src/reconciler/state.ts";

const [inbox, drafts, work, trash] = ["inbox", "drafts", "work", "trash"] as MailboxId[] as [
  MailboxId,
  MailboxId,
  MailboxId,
  MailboxId,
];

const placementOf = (rest: Partial<IntentPlacement> = {}): IntentPlacement => ({
  id: "earlier" as PlacementId,
  messageId: "v1" as MessageId,
  mailboxId: drafts,
  keywords: ["$draft", "$flagged"],
  lifecycle: "live",
  kept: false,
  absent: false,
  receivedAt: 0,
  binding: null,
  changedSeq: 1n,
  reason: "delivered",
  recoverable: true,
  durable: true,
  ...rest,
});

/** @returns what came of it, with what was written. */
const bring = (slice: Partial<ImportSlice>, rest: Partial<ImportOp> = {}) => {
  const draft = emptyDraft();
  const imported = reconcileImport(
    draft,
    { op: { replaces: null, mailboxId: null, keywords: [], receivedAt: 0, ...rest }, deviceId: "phone" },
    {
      mailboxes: new Map([
        [inbox, "inbox"],
        [drafts, "drafts"],
        [work, null],
        [trash, "trash"],
      ]),
      held: new Set(),
      renumbered: new Set(),
      hasImap: true,
      expectsDrains: false,
      retentionDays: 30,
      head: 9n,
      began: 9n,
      known: null,
      replaced: null,
      freshMessageId: "v2" as MessageId,
      freshPlacementId: "later" as PlacementId,
      ...slice,
    },
  );
  const { result, replacedIds } = imported;
  const [made] = draft.newPlacements;
  return { ...result, replacedIds, made, removed: draft.placements.filter(({ lifecycle }) => lifecycle === "removed") };
};

describe("the next version of a draft (P12)", () => {
  it("takes the place of the one before, with its keywords, where that lay", () => {
    const { status, warnings, replacedIds, made, removed } = bring({ replaced: [placementOf({ mailboxId: work })] });
    expect({ status, warnings, replacedIds }).toEqual({ status: "applied", warnings: [], replacedIds: ["earlier"] });
    expect(made).toMatchObject({ mailboxId: work, keywords: ["$draft", "$flagged"], reason: "api_replacement" });
    expect(removed).toMatchObject([{ id: "earlier", reason: "api_replace", recoverableDays: 30 }]);
  });

  it("has keywords and a place of its own where its writer says so", () => {
    const { made } = bring({ replaced: [placementOf()] }, { keywords: ["$draft"], mailboxId: inbox });
    expect(made).toMatchObject({ mailboxId: inbox, keywords: ["$draft"] });
  });

  it.each([
    ["was replaced", { lifecycle: "removed" }],
    ["lies in Trash", { mailboxId: trash }],
    ["is missing upstream", { absent: true }],
  ] as const)("stays beside the others where the one before %s: that is a fork", (_, rest) => {
    const { warnings, replacedIds, made, removed } = bring({ replaced: [placementOf(rest)] });
    expect({ warnings, replacedIds, removed }).toEqual({ warnings: ["draft_fork"], replacedIds: [], removed: [] });
    expect(made).toMatchObject({ mailboxId: drafts, keywords: ["$draft", "$flagged"], reason: "draft_fork" });
  });

  it("is the one before where nothing was changed in it", () => {
    const same = placementOf();
    const { reason, replacedIds, made, removed } = bring({ replaced: [same], known: { id: same.messageId, placements: [same] } });
    expect({ reason, replacedIds, made, removed }).toEqual({
      reason: "unchanged",
      replacedIds: [],
      made: undefined,
      removed: [],
    });
  });
});

describe("mail that replaces nothing", () => {
  it("lies in INBOX unless another place is named", () => {
    expect(bring({}).made).toMatchObject({ mailboxId: inbox, reason: "api_import" });
    expect(bring({}, { mailboxId: work }).made).toMatchObject({ mailboxId: work });
    expect(bring({}, { mailboxId: "gone" as MailboxId })).toMatchObject({ status: "rejected", reason: "mailbox_not_found" });
    expect(bring({ replaced: [] })).toMatchObject({ status: "rejected", reason: "not_found" });
  });
});
