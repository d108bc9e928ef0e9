/** Items that we put upstream ourselves, or may have: nobody heard how it ended (ID-1, ID-2). */
import type { PlacementId } from "../model/ids.ts";
import type { PlacementView } from "./state.ts";

/** A placement whose octets were sent to a mailbox. */
export interface Claim {
  readonly commandId: string;
  readonly placement: PlacementView;
  /** Hex SHA-256 of the octets as they were sent, and of items that are the same mail in another form. */
  readonly hashes: ReadonlySet<string>;
  /** Items below were there before (C3); null: the mailbox has begun a new epoch since, which says nothing of before. */
  readonly from: number | null;
}

/** The placement that an item brings back; it may only be one that is shown nowhere else (I13). */
export const broughtBack = (
  claims: readonly Claim[],
  fact: { readonly uid: number; readonly sha256: string | null },
  { taken, sameEpoch }: { readonly taken: ReadonlySet<PlacementId>; readonly sameEpoch: boolean },
): PlacementView | null => {
  const claim = claims.find(
    ({ placement, hashes, from }) =>
      (sameEpoch ? from !== null && fact.uid >= from : from === null) &&
      placement.kept &&
      placement.binding?.active !== true &&
      !taken.has(placement.id) &&
      fact.sha256 !== null &&
      hashes.has(fact.sha256),
  );
  return claim?.placement ?? null;
};
