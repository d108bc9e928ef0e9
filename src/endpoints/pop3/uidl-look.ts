/**
 * How the unique-ids of a listing look, before anything is known over IMAP. The look of one id says little: that a half of all
 * of them is the same says more. None of it is ever relied on (ID-10); see uidl-codec.ts for what is.
 */
import type { UidlLook } from "../../model/diagnosis.ts";

interface Shape {
  readonly pattern: RegExp;
  /** By what is the same in all of them; with one id alone, or with nothing the same, the last that fits. */
  readonly looks: readonly { readonly same: "a" | "b" | null; readonly look: UidlLook }[];
}

const shapes: readonly Shape[] = [
  {
    pattern: /^(?<a>[\da-f]{8})(?<b>[\da-f]{8})$/i,
    looks: [
      { same: "b", look: "hex-uid-validity" },
      { same: "a", look: "hex-validity-uid" },
    ],
  },
  { pattern: /^(?<a>[1-9]\d{0,9})\.(?<b>[1-9]\d{0,9})$/, looks: [{ same: "a", look: "validity.uid" }] },
  { pattern: /^(?<a>[1-9]\d{0,9})-(?<b>[1-9]\d{0,9})$/, looks: [{ same: "a", look: "validity-uid" }] },
  { pattern: /^UID(?<a>[1-9]\d{0,9})-(?<b>[1-9]\d{0,9})$/, looks: [{ same: "b", look: "UIDuid-validity" }] },
  { pattern: /^[1-9]\d{0,9}$/, looks: [{ same: null, look: "uid" }] },
  // A UIDVALIDITY is a time of this century more often than not: ten digits, and the UID behind.
  { pattern: /^(?<a>[1-9]\d{9})(?<b>[1-9]\d{0,9})$/, looks: [{ same: "a", look: "validityuid" }] },
  // WildDuck's `_id`, a GUID of Dovecot; an MD5 looks the same.
  { pattern: /^(?:[\da-f]{24}|[\da-f]{32})$/i, looks: [{ same: null, look: "object-id" }] },
  { pattern: /^\d{9,10}\.\w+\.\S/, looks: [{ same: null, look: "file-name" }] },
];

/** Null: there are no ids. */
export const lookOfUidls = (uidls: readonly string[]): UidlLook | null => {
  if (uidls.length === 0) return null;
  for (const { pattern, looks } of shapes) {
    const groups = uidls.map((uidl) => pattern.exec(uidl));
    if (groups.includes(null)) continue;
    const isSame = (part: "a" | "b" | null): boolean =>
      part === null || new Set(groups.map((match) => match?.groups?.[part]?.toLowerCase())).size === 1;
    const fitting = looks.find(({ same }) => isSame(same));
    if (fitting !== undefined) return fitting.look;
  }
  return "opaque";
};
