/** What a look that lacks items makes of them: candidates, and nothing else yet (4.1). */
import { expect, it } from "vitest";
import type { EndpointId, MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import type { PlacementView } from "../../src/reconciler/state.ts";
import { reconcileAbsences } from "../../src/reconciler/vanish.ts";

const mailboxId = "in" as MailboxId;
const placementOf = (id: string, rest: Partial<PlacementView> = {}): PlacementView => ({
  id: id as PlacementId,
  messageId: "m" as MessageId,
  mailboxId,
  keywords: [],
  lifecycle: "live",
  kept: false,
  absent: false,
  receivedAt: 0,
  binding: null,
  ...rest,
});

it("are candidates where they are live: of what is gone here already nothing but the binding ends", () => {
  const trace = { newBelow: 9, storeExcluded: false };
  const scope = { endpointId: "e" as EndpointId, mailboxId, epoch: 1 };
  const bound = new Map([
    [1, placementOf("live")],
    [2, placementOf("removed", { lifecycle: "removed" })],
  ]);
  const { closed, placements, changes } = reconcileAbsences({ scope, uids: [1, 2, 3], bound, trace });
  expect(closed.map(({ uid }) => uid)).toEqual([1, 2]);
  expect(placements.map(({ id, absent, change }) => [id, absent, change])).toEqual([["live", true, null]]);
  expect(changes).toEqual([]);
});
