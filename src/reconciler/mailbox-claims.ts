/** Which listed mailbox is one that is known under another path (semantics D1), or one that a command of ours made or moved. */
import type { MailboxId } from "../model/ids.ts";
import type { SurveyedMailbox } from "../model/survey.ts";
import { foldCase } from "./mailbox-names.ts";
import type { MailboxView } from "./state.ts";

/** Known mailboxes by path; one that is missing only remembers where it was. */
export const holdersOf = (known: readonly MailboxView[]): ReadonlyMap<string, MailboxView> => {
  const missingFirst = known.toSorted((a, b) => Number(isMissing(b)) - Number(isMissing(a)));
  return new Map(missingFirst.flatMap((view) => (view.upstream === null ? [] : [[view.upstream.path, view] as const])));
};

const isMissing = ({ upstream }: MailboxView): boolean => upstream !== null && upstream.absentSince !== null;

type Boxes = ReadonlyMap<string, SurveyedMailbox>;

const lifeAt = (boxes: Boxes, path: string): number | null => boxes.get(path)?.status?.uidValidity ?? null;

/** Is it the one that was fenced, which went from one path to the other? */
const wentAway = (boxes: Boxes, from: string, to: string, life: number | null): boolean =>
  boxes.has(to) && (!boxes.has(from) || (life !== null && lifeAt(boxes, to) === life && lifeAt(boxes, from) !== life));

/** Where what was to be made is listed: under its name, or one that the server takes for the same and nobody has (D11). */
const madeAt = (boxes: Boxes, { pending, upstream }: MailboxView, isFree: (path: string) => boolean): string | null => {
  const { fence } = pending ?? { fence: null };
  if (fence?.step !== "create" || upstream !== null) return null;
  if (boxes.has(fence.path)) return fence.path;
  const isSame = (path: string): boolean => foldCase(path) === foldCase(fence.path) && isFree(path);
  return fence.exists === true ? ([...boxes.keys()].find(isSame) ?? null) : null;
};

/**
 * What commands of ours explain, whether their answers came or not (ID-1, ID-2 of mailboxes): the path where it is now, with the
 * mailbox. What lies below a renamed one goes along.
 */
export const findOwn = (boxes: Boxes, known: readonly MailboxView[]): Map<string, MailboxView> => {
  const own = new Map<string, MailboxView>();
  const byPath = holdersOf(known);
  for (const view of known) {
    const { fence } = view.pending ?? { fence: null };
    if (fence === null || byPath.has(fence.path) || own.has(fence.path)) continue;
    const { step, path, from, uidValidity } = fence;
    const made = madeAt(boxes, view, (one) => !byPath.has(one) && !own.has(one));
    if (made !== null) own.set(made, view);
    if (step !== "rename" || from === null || view.upstream?.path !== from || !wentAway(boxes, from, path, uidValidity)) continue;
    own.set(path, view);
    const below = `${from}${view.upstream.delimiter ?? "\u0000"}`;
    for (const child of known) {
      const old = child.upstream;
      if (old === null || !old.path.startsWith(below)) continue;
      const now = `${path}${old.path.slice(from.length)}`;
      if (!byPath.has(now) && wentAway(boxes, old.path, now, old.uidValidity)) own.set(now, child);
    }
  }
  return own;
};

/**
 * Is it listed where it was, as far as the server's own ids tell? They never come back with another mailbox (RFC 8474 4). Where there
 * are none its epoch has to be the same; INBOX is always where it was (D12).
 */
const isWhereItWas = (boxes: Boxes, replaced: ReadonlySet<MailboxId>, { id, upstream }: MailboxView): boolean => {
  const box = boxes.get(upstream?.path ?? "");
  if (upstream === null || box === undefined || replaced.has(id)) return false;
  if (box.objectId !== null && upstream.objectId !== null) return box.objectId === upstream.objectId;
  const now = box.status?.uidValidity ?? null;
  return box.path === "INBOX" || now === null || upstream.uidValidity === null || now === upstream.uidValidity;
};

/** Mailboxes by the path where they are now. */
type Moved = Map<string, MailboxView>;

/** What object ids say of known mailboxes that are not where they were, and, of those without, epochs that nobody else has. */
const findClaims = (boxes: Boxes, known: readonly MailboxView[], replaced: ReadonlySet<MailboxId>): Moved => {
  const lost = known.filter((view) => view.upstream !== null && !isWhereItWas(boxes, replaced, view));
  const knownPaths = new Set(known.flatMap((view) => (isWhereItWas(boxes, replaced, view) ? (view.upstream?.path ?? []) : [])));
  const fresh = [...boxes.values()].filter((box) => !knownPaths.has(box.path));
  const claims = new Map<number, number>();
  for (const box of boxes.values())
    if (box.status !== null) claims.set(box.status.uidValidity, (claims.get(box.status.uidValidity) ?? 0) + 1);
  const moved: Moved = new Map();
  const used = new Set<MailboxId>();
  for (const box of fresh) {
    const match = lost.find((view) => {
      if (view.upstream === null || used.has(view.id)) return false;
      if (box.objectId !== null || view.upstream.objectId !== null) return box.objectId === view.upstream.objectId;
      const { uidValidity, uidNext } = view.upstream;
      if (box.status === null || uidValidity === null || uidNext === null) return false;
      // An empty mailbox carries nothing worth following, and a shared UIDVALIDITY proves nothing.
      return (
        uidNext > 1 && box.status.uidValidity === uidValidity && box.status.uidNext >= uidNext && claims.get(uidValidity) === 1
      );
    });
    if (match === undefined) continue;
    used.add(match.id);
    moved.set(box.path, match);
  }
  return moved;
};

/** Of these the certain ones; `proven`: paths where the mail itself was seen. */
const certainOf = (boxes: Boxes, claims: Moved, proven: ReadonlySet<string>): Moved => {
  const certain = new Map(claims);
  const isCertain = (path: string, { upstream }: MailboxView): boolean =>
    proven.has(path) ||
    boxes.get(path)?.objectId != null ||
    upstream === null ||
    !boxes.has(upstream.path) ||
    certain.has(upstream.path);
  for (let before = Infinity; certain.size < before;) {
    before = certain.size;
    for (const [path, view] of certain) if (!isCertain(path, view)) certain.delete(path);
  }
  return certain;
};

export interface RenameEvidence {
  /** Known to have another mailbox in their place. */
  readonly replaced: ReadonlySet<MailboxId>;
  /** Paths of a listing where some of the mail of whose epoch they show was seen, under its own numbers. */
  readonly proven: ReadonlySet<string>;
}

/**
 * D1: known mailboxes that a listed path continues, although they stood elsewhere: same object id, or same epoch and no other claim.
 * An epoch proves nothing of a mailbox at whose own path there is still one that is none of the others: numbers that are all given
 * anew can be those that others had before. Its mail does (`proven`).
 */
export const findRenames = (boxes: Boxes, known: readonly MailboxView[], { replaced, proven }: RenameEvidence): Moved =>
  certainOf(boxes, findClaims(boxes, known, replaced), proven);

/** By path, what would be followed there if some of its mail were seen. */
export const findDoubtful = (boxes: Boxes, known: readonly MailboxView[], replaced: ReadonlySet<MailboxId>): Moved => {
  const claims = findClaims(boxes, known, replaced);
  for (const path of certainOf(boxes, claims, new Set()).keys()) claims.delete(path);
  return claims;
};
