/** Items that we put upstream ourselves, or may have: nobody heard how it ended (ID-1, ID-2). */
import type { PlacementView, Scope } from "./state.ts";

/** A placement whose octets were sent to a mailbox, or which was to be moved there. */
export interface Claim {
  readonly commandId: string;
  readonly verb: "append" | "move";
  /** The operation that wanted it; null: a rule did. */
  readonly opId: string | null;
  /**
   * `placed`: it is the placement, whose place was decided before. `back`: it is the placement, and where it is found is its place
   * now, for nobody but us says where (V18). `copy`: it is another placement of the message (V21).
   */
  readonly is: "placed" | "back" | "copy";
  readonly placement: PlacementView;
  /** Hex SHA-256 of the octets as they were sent, and of items that are the same mail in another form. */
  readonly hashes: ReadonlySet<string>;
  /** The flags that it was sent with. */
  readonly sent: readonly string[];
  /** Items below were there before (C3); null: the mailbox has begun a new epoch since, which says nothing of before. */
  readonly from: number | null;
}

/** A placement is shown once (I13): what is to be moved from elsewhere may still be shown there. */
const isOpen = ({ verb, is, placement: { kept, binding } }: Claim, scope: Scope): boolean => {
  if (is === "copy") return true;
  if (verb === "move") return binding?.active !== true || binding.mailboxId !== scope.mailboxId;
  return binding?.active !== true && (kept || is === "placed");
};

/** What an item is that one of the claims put there. `taken`: placements that other items continue, and commands that copied. */
export const broughtBack = (
  claims: readonly Claim[],
  scope: Scope,
  fact: { readonly uid: number; readonly sha256: string | null },
  { taken, sameEpoch }: { readonly taken: ReadonlySet<string>; readonly sameEpoch: boolean },
): Claim | null =>
  claims.find(
    (claim) =>
      (sameEpoch ? claim.from !== null && fact.uid >= claim.from : claim.from === null) &&
      isOpen(claim, scope) &&
      !taken.has(claim.is === "copy" ? claim.commandId : claim.placement.id) &&
      fact.sha256 !== null &&
      claim.hashes.has(fact.sha256),
  ) ?? null;
