/** The inverse of one change: an ordinary operation on its placement that comes after all there is (Q6). */
import type { DecidedChange } from "../model/change.ts";
import type { MailboxId } from "../model/ids.ts";
import type { KeywordPatch } from "../model/intent.ts";

export type LoggedChange = Pick<DecidedChange, "kind" | "placementId" | "before" | "after" | "source" | "reason" | "evidence">;

export type Inverse =
  | { readonly kind: "keywords"; readonly keywords: KeywordPatch }
  /** null: where it came from. `keywords`: what came and went with it. */
  | { readonly kind: "place"; readonly mailboxId: MailboxId | null; readonly keywords: KeywordPatch }
  | { readonly kind: "remove" };

const wordsIn = (values: LoggedChange["before"]): readonly string[] => (values?.["keywords"] as string[] | undefined) ?? [];

const mailboxIn = (values: Readonly<Record<string, unknown>> | null | undefined): MailboxId | null =>
  (values?.["mailboxId"] as MailboxId | null | undefined) ?? null;

const backTo = (change: LoggedChange): KeywordPatch => {
  const before = wordsIn(change.before);
  const after = wordsIn(change.after);
  return Object.fromEntries<boolean>([
    ...before.filter((word) => !after.includes(word)).map((word) => [word, true] as const),
    ...after.filter((word) => !before.includes(word)).map((word) => [word, false] as const),
  ]);
};

/** Whoever had to give way is given what he wanted (P6). */
const forLoser = ({ evidence }: LoggedChange): Inverse | null => {
  const [found] = evidence as readonly [{ keyword?: string; loser?: string | Record<string, unknown> }?];
  if (found?.keyword !== undefined) return { kind: "keywords", keywords: { [found.keyword]: found.loser === "set" } };
  if (typeof found?.loser !== "object") return null;
  const mailboxId = mailboxIn(found.loser);
  return mailboxId === null ? { kind: "remove" } : { kind: "place", mailboxId, keywords: {} };
};

/** Where it goes back to; null: nowhere, or where it came from. */
export const mailboxBefore = (change: LoggedChange | null): MailboxId | null => {
  const inverse = change === null ? null : inverseOf(change);
  return inverse?.kind === "place" ? inverse.mailboxId : null;
};

/** null: there is no way back. */
export const inverseOf = (change: LoggedChange): Inverse | null => {
  switch (change.kind) {
    case "message.keywords":
      return { kind: "keywords", keywords: backTo(change) };
    case "message.moved":
      return { kind: "place", mailboxId: mailboxIn(change.before), keywords: backTo(change) };
    case "message.removed":
      return { kind: "place", mailboxId: mailboxIn(change.before), keywords: {} };
    case "message.restored":
    case "message.kept":
      return { kind: "remove" };
    case "message.created":
      // What somebody added to what was here already; what came in is no change of anything.
      return change.source === "api" || change.reason === "copied" ? { kind: "remove" } : null;
    case "conflict.resolved":
      return forLoser(change);
    default:
      return null;
  }
};
