/** Words for a POP3 maildrop that the protocol's room and the reconciler share (RFC 1939). */

/**
 * What a unique-id says under a learned format. `item`: this UID of the present INBOX. `content`: an item with this object id
 * (EMAILID or X-GUID), of which there may be several. `foreign`: an item that is not of the present INBOX epoch.
 */
export type UidlMeaning =
  | { readonly kind: "item"; readonly uid: number }
  | { readonly kind: "content"; readonly objectId: string }
  | { readonly kind: "foreign" };

/** An item of a listing that its octets showed to be this item of the present INBOX, with no other alike. */
export interface PairedItem {
  readonly uidl: string;
  /** Unsigned 32-bit, as is `uidValidity`. */
  readonly uid: number;
  readonly uidValidity: number;
  /** EMAILID or X-GUID as the server gives it; null where there is none. */
  readonly objectId: string | null;
}

/** One line of a listing. Items with one unique-id are told apart by `occurrence`, in listing order from 0 (RFC 1939 §7). */
export interface ListedItem {
  readonly uidl: string;
  readonly occurrence: number;
  /** Octets, as LIST says; the final line end may not be counted. */
  readonly size: number;
}

/**
 * A part of a maildrop that is all its server lists. `newest`: no more than `count` items, the newest ones (WildDuck: 250).
 * `not_yet_popped`: what nobody has retrieved yet (Gmail).
 */
export type ListingWindow = { readonly kind: "newest"; readonly count: number } | { readonly kind: "not_yet_popped" };
