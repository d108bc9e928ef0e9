/** What a listing of a maildrop makes of placements that are here already. */
import { describe, expect, it } from "vitest";
import type { EndpointId, MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import type { Identified } from "../../src/reconciler/identify.ts";
import { reconcileMaildrop } from "../../src/reconciler/maildrop-items.ts";
import type { PlacementView } from "../../src/reconciler/state.ts";

const inbox = "inbox" as MailboxId;
const view: PlacementView = {
  id: "p" as PlacementId,
  messageId: "m" as MessageId,
  mailboxId: inbox,
  keywords: ["$seen"],
  lifecycle: "live",
  kept: false,
  absent: false,
  receivedAt: 0,
  binding: null,
};

type Rule = (Identified & { kind: "bind" })["rule"];

/** A maildrop shows an item that is the placement. */
const show = (rule: Rule, rest: Partial<PlacementView>) => {
  const bind = { kind: "bind", placementId: view.id, messageId: view.messageId, level: "L3", rule, confidence: 0.97 } as const;
  const { changes, placements, items } = reconcileMaildrop({
    scope: { endpointId: "e" as EndpointId, mailboxId: inbox, epoch: 1 },
    identified: [bind],
    receivedAt: [0],
    views: new Map([[view.id, { ...view, ...rest }]]),
    freshIds: ["m1", "p1"],
    reason: "delivered",
  });
  expect(items).toEqual([{ item: 0, placementId: "p" }]);
  const written = placements.map(({ lifecycle, kept, absent, keywords }) => `${lifecycle} ${kept} ${absent} ${keywords.join()}`);
  return [...changes.map(({ kind, rule: by }) => `${kind} ${by}`), ...written];
};

describe("an item of a maildrop that is a placement which is here", () => {
  it("brings back what was kept or removed (ID-5c, ID-5d), and says so", () => {
    expect(show("ID-5c", { kept: true })).toEqual(["message.restored ID-5c", "live false false $seen"]);
    expect(show("ID-5d", { lifecycle: "removed" })).toEqual(["message.restored ID-5d", "live false false $seen"]);
  });

  it("is not missed any more where it was, which is no news (ID-5a)", () => {
    expect(show("ID-5a", { absent: true })).toEqual(["live false false $seen"]);
    expect(show("ID-5b", {})).toEqual([]);
  });

  it("K9: leaves to IMAP what IMAP has", () => {
    for (const rule of ["ID-3", "ID-4"] as const)
      for (const rest of [{ absent: true }, { kept: true }]) expect(show(rule, rest)).toEqual([]);
  });
});
