/** Moves that operations want and that no look has confirmed, of what a batch of items may continue (P2–P4). */
import type { MailboxId } from "../model/ids.ts";
import type { Role } from "../model/mail.ts";
import type { Contests, PendingMove } from "../reconciler/contests.ts";
import { toSource } from "../reconciler/dots.ts";
import { rankOf, rankOfMove } from "../reconciler/location.ts";
import type { PlacementView } from "../reconciler/state.ts";
import type { AccountTx } from "../store/account-tx.ts";
import { type LastPlace, loadLastPlaces } from "../store/pending-moves.ts";
import type { LaneFacts } from "./lane-state.ts";

type RoleOf = (id: MailboxId | null) => Role | null;

const rankOfPlace = ({ kind, from, to }: LastPlace, roleOf: RoleOf): PendingMove["rank"] => {
  if (kind === "message.moved") return rankOfMove(roleOf(from), roleOf(to));
  if (roleOf(to) === "trash") return rankOf.trash;
  return kind === "message.restored" ? rankOf.restore : rankOf.move;
};

/** `readAt`: when the read ended that showed the items, in ms since 1970. */
export const loadContests = async (
  account: AccountTx,
  { roles }: LaneFacts,
  { placements, readAt }: { readonly placements: readonly PlacementView[]; readonly readAt: number },
): Promise<Contests> => {
  const pending = placements.filter(
    ({ lifecycle, mailboxId, binding }) => lifecycle === "live" && binding !== null && binding.mailboxId !== mailboxId,
  );
  const roleOf: RoleOf = (id) => (id === null ? null : (roles.get(id) ?? null));
  const places = await loadLastPlaces(account, pending);
  const moves = places.flatMap((place) =>
    place.deviceId === null
      ? []
      : [
          [
            place.placementId,
            { rank: rankOfPlace(place, roleOf), source: toSource(place.deviceId), at: place.at.getTime() },
          ] as const,
        ],
  );
  return { pending: new Map(moves), roleOf, readAt };
};
