/**
 * Read, or only retrieved (semantics 5.3)? Servers set `\Seen` on what a POP3 device downloads, so that a flag alone says nothing
 * about a reader. What is told apart here is the shape of what became seen in INBOX in one look. Instants are milliseconds since 1970.
 */
import type { Policy } from "../model/account.ts";
import type { EndpointId } from "../model/ids.ts";
import { expectsDrains, type Pop3Devices } from "../model/pop3-devices.ts";
import { type Decision, emptyDraft, type ItemFlags, type PlacementView, record, type Scope } from "./state.ts";

/** An item of INBOX that gained `\Seen` since it was last looked at. */
export interface GainedSeen {
  readonly uid: number;
  /** null: the server has no mod-sequences. */
  readonly modseq: bigint | null;
  /** Another flag changed with it. */
  readonly otherFlags: boolean;
  /** The account has it as read already: a device said so over the API. */
  readonly opened: boolean;
  /** It was set back to unread before; once per placement (I14). */
  readonly reverted: boolean;
}

const isSeen = (flag: string): boolean => flag.toLowerCase() === "\\seen";

export const hasSeen = (flags: readonly string[]): boolean => flags.some(isSeen);

export const withoutSeen = (flags: readonly string[]): string[] => flags.filter((flag) => !isSeen(flag));

/** What a flag list says beside `\Seen`; `\Recent` is the session's. */
const rest = (flags: readonly string[]): string =>
  withoutSeen(flags)
    .map((flag) => flag.toLowerCase())
    .filter((flag) => flag !== "\\recent")
    .toSorted()
    .join(" ");

/** Of observed flags those that say `\Seen` where the last look did not. `reverted`: UIDs that were set back once. */
export const gainedSeen = (
  facts: readonly ItemFlags[],
  bound: ReadonlyMap<number, PlacementView>,
  reverted: ReadonlySet<number>,
): GainedSeen[] =>
  facts.flatMap(({ uid, flags, modseq }) => {
    const placement = bound.get(uid);
    const shadow = placement?.binding?.shadowFlags ?? [];
    if (placement === undefined || !hasSeen(flags) || hasSeen(shadow)) return [];
    const opened = placement.keywords.includes("$seen");
    return [{ uid, modseq, otherFlags: rest(flags) !== rest(shadow), opened, reverted: reverted.has(uid) }];
  });

/** What earlier looks at one mailbox epoch have left. */
export interface SeenMemory {
  /** Highest UID of the last batch in the shape of a download; 0 before the first. */
  readonly highWater: number;
  /** When the last batches came, ascending; as many as Z4 asks for. */
  readonly batches: readonly number[];
  /**
   * The last item that became seen alone in a look and counts as read (Z4), where the server marks message by message: the first of a
   * download looks like that until the next look shows what follows it. null: there is none.
   */
  readonly alone?: { readonly uid: number; readonly at: number } | null;
}

export const noSeenMemory: SeenMemory = { highWater: 0, batches: [] };

export interface SeenLook {
  /** Ascending by UID. */
  readonly gained: readonly GainedSeen[];
  /** UIDs of items above the high-water mark that still are unseen, ascending. */
  readonly unseen: readonly number[];
  readonly devices: Pop3Devices;
  /** Items vanished from INBOX in the same cut as a POP3 device makes them vanish. */
  readonly besideDrain: boolean;
  /** Flags of another mailbox changed in the same step. */
  readonly elsewhere: boolean;
  readonly memory: SeenMemory;
  readonly at: number;
}

type Because =
  | "retrieval_order"
  | "second_flag"
  | "opened_over_api"
  | "seen_again"
  | "another_mailbox_changed"
  | "older_than_high_water"
  | "holes"
  | "single_item";

/** Why an item counts as read or as only retrieved. `suspected`: it would be weak if a POP3 device were known (Z2a). */
export interface SeenVerdict {
  readonly strength: "weak" | "strong";
  readonly suspected: boolean;
  readonly rule: "Z2" | "Z3" | "Z4" | "I14";
  readonly because: Because;
  /** Items that became seen in the same step. */
  readonly items: number;
  readonly highWater: number;
  readonly besideDrain: boolean;
}

export interface SeenAnswer {
  readonly verdicts: ReadonlyMap<number, SeenVerdict>;
  /** An item of an earlier look that turns out to be the first of a download; null: none does. */
  readonly earlier: { readonly uid: number; readonly verdict: SeenVerdict } | null;
  readonly memory: SeenMemory;
}

/** A batch of one item needs so many earlier ones (Z4). */
const earlierBatches = 3;
/** Spacing is periodic within this share of its mean. */
const periodShare = 0.2;
/** Without mod-sequences a download of several items may show in several looks; so long after the last it still is the same. */
const sameDownloadMs = 60_000;

/** Z2 (d): what one MODSEQ step changed; servers without mod-sequences mark message by message, so all of a look is one step. */
const stepsOf = (gained: readonly GainedSeen[]): GainedSeen[][] => {
  const steps = new Map<bigint, GainedSeen[]>();
  for (const item of gained) {
    const modseq = item.modseq ?? -1n;
    const step = steps.get(modseq);
    if (step === undefined) steps.set(modseq, [item]);
    else step.push(item);
  }
  return [...steps].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, step]) => step);
};

const isPeriodic = (times: readonly number[]): boolean => {
  const gaps = times.slice(1).map((time, at) => time - (times[at] as number));
  const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
  return mean > 0 && gaps.every((gap) => Math.abs(gap - mean) <= periodShare * mean);
};

const strong = (rule: SeenVerdict["rule"], because: Because): Pick<SeenVerdict, "rule" | "because"> => ({ rule, because });

/** Does the step go on, message by message, with what came up to this UID at that time? */
const goesOn = (
  look: SeenLook,
  step: readonly GainedSeen[],
  before: { readonly uid: number; readonly at: number | undefined },
): boolean =>
  before.at !== undefined &&
  look.at - before.at <= sameDownloadMs &&
  step.every(({ uid, modseq }) => modseq === null && uid > before.uid);

/** Does it go on with the batch before it? */
const continues = (look: SeenLook, { highWater, batches }: SeenMemory, step: readonly GainedSeen[]): boolean =>
  goesOn(look, step, { uid: highWater, at: batches.at(-1) });

/** Does it go on with an item that came alone? */
const follows = (look: SeenLook, { alone = null }: SeenMemory, step: readonly GainedSeen[]): boolean =>
  alone !== null && goesOn(look, step, alone);

/** Why a step cannot be a download, or null when it has the shape of one (Z2 c–f, Z3, Z4). */
const objection = (
  look: SeenLook,
  memory: SeenMemory,
  step: readonly GainedSeen[],
): Pick<SeenVerdict, "rule" | "because"> | null => {
  const { highWater, batches } = memory;
  if (look.elsewhere) return strong("Z3", "another_mailbox_changed");
  if (step.some(({ otherFlags }) => otherFlags)) return strong("Z3", "second_flag");
  if (!look.besideDrain && step.some(({ uid, reverted }) => reverted || uid <= highWater))
    return strong("Z3", "older_than_high_water");
  const newest = step.reduce((most, { uid }) => Math.max(most, uid), 0);
  if (look.unseen.some((uid) => uid > highWater && uid < newest)) return strong("Z3", "holes");
  if (step.length > 1 || look.besideDrain || continues(look, memory, step) || follows(look, memory, step)) return null;
  const periodic = batches.length >= earlierBatches && isPeriodic([...batches.slice(-earlierBatches), look.at]);
  return periodic ? null : strong("Z4", "single_item");
};

const remember = (look: SeenLook, memory: SeenMemory, step: readonly GainedSeen[]): SeenMemory => ({
  highWater: step.reduce((most, { uid }) => Math.max(most, uid), memory.highWater),
  batches: continues(look, memory, step) ? memory.batches : [...memory.batches, look.at].slice(-earlierBatches),
  alone: null,
});

/** The item that is read unless something follows it. */
const aloneIn = (look: SeenLook, [item]: readonly GainedSeen[]): NonNullable<SeenMemory["alone"]> | null =>
  item?.modseq === null ? { uid: item.uid, at: look.at } : null;

/** The item that came alone, once a step that is weak goes on with it. */
const earlierOf = (
  look: SeenLook,
  memory: SeenMemory,
  step: readonly GainedSeen[],
  verdicts: ReadonlyMap<number, SeenVerdict>,
): SeenAnswer["earlier"] => {
  const verdict = verdicts.get(step[0]?.uid ?? 0);
  if (memory.alone === undefined || memory.alone === null || verdict?.strength !== "weak" || !follows(look, memory, step))
    return null;
  return { uid: memory.alone.uid, verdict: { ...verdict, rule: "Z2", items: step.length + 1 } };
};

/** Judges everything that became seen in INBOX in one look, step by step in the order of the server. */
export const classifySeen = (look: SeenLook): SeenAnswer => {
  const verdicts = new Map<number, SeenVerdict>();
  let earlier: SeenAnswer["earlier"] = null;
  let { memory } = look;
  const expected = expectsDrains(look.devices);
  const open = look.gained.filter(({ opened }) => !opened);
  const judge = (item: GainedSeen, items: number, found: Omit<SeenVerdict, "items" | "highWater" | "besideDrain">): void =>
    void verdicts.set(item.uid, { ...found, items, highWater: memory.highWater, besideDrain: look.besideDrain });
  for (const item of look.gained)
    if (item.opened) judge(item, 1, { strength: "strong", suspected: false, ...strong("Z3", "opened_over_api") });
  for (const step of stepsOf(open)) {
    const against = objection(look, memory, step);
    for (const item of step) {
      const reason = item.reverted ? strong("I14", "seen_again") : against;
      const shaped = reason === null;
      judge(item, step.length, {
        strength: shaped && expected ? "weak" : "strong",
        suspected: shaped && look.devices === "unknown",
        ...(reason ?? { rule: step.length > 1 ? "Z2" : "Z4", because: "retrieval_order" }),
      });
    }
    if (against?.because === "single_item" && expected) memory = { ...memory, alone: aloneIn(look, step) };
    if (against !== null) continue;
    earlier = earlierOf(look, memory, step, verdicts) ?? earlier;
    memory = remember(look, memory, step);
  }
  return { verdicts, earlier, memory };
};

/** What the reconciler makes of the verdicts. */
export interface SeenDecision extends Pick<SeenAnswer, "verdicts" | "earlier"> {
  readonly devices: Pop3Devices;
  readonly policy: Policy;
}

/** Who asks for reverting has a POP3 device, unless there are none by the owner's word. */
export const seenDevices = (known: Pop3Devices, { pop3Seen }: Policy): Pop3Devices =>
  known === "unknown" && pop3Seen === "revert" ? "declared" : known;

/** Z5: what follows for mail that was only retrieved. */
export const seenPolicy = ({ pop3Devices, pop3Seen }: Policy): "accept" | "revert" => {
  if (pop3Seen !== "auto") return pop3Seen;
  return pop3Devices === "declared" ? "revert" : "accept";
};

/** What is done about one item, and what its entry in the log says of it. */
export interface SeenOutcome {
  readonly revert: boolean;
  /** It counts as read, and the owner should know that it may not be. */
  readonly hinted: boolean;
  readonly rule: string;
  readonly evidence: readonly unknown[];
}

/** null: nothing is to be said about it beyond that its flags changed. */
export const seenOutcome = (uid: number, { verdicts, devices, policy }: SeenDecision): SeenOutcome | null => {
  const verdict = verdicts.get(uid);
  if (verdict === undefined || (devices === "unknown" && !verdict.suspected)) return null;
  const weak = verdict.strength === "weak";
  const revert = weak && seenPolicy(policy) === "revert";
  const hinted = !revert && policy.pop3Seen === "auto" && (weak || verdict.suspected);
  return {
    revert,
    hinted,
    rule: hinted || (weak && !revert) ? "Z5" : verdict.rule,
    evidence: [{ ...(hinted && { hint: "suspected_pop3_seen" }), ...verdict }],
  };
};

/** What counted as read until the rest of its download was seen is set back as the rest is (Z2 d). */
export const revertEarlier = (scope: Scope, { earlier, policy }: SeenDecision, placement: PlacementView): Decision => {
  const draft = emptyDraft();
  const { id, messageId, mailboxId, lifecycle, kept, absent, binding } = placement;
  const isRead = hasSeen(binding?.shadowFlags ?? []) && placement.keywords.includes("$seen");
  if (earlier === null || !isRead || seenPolicy(policy) !== "revert") return draft;
  const keywords = placement.keywords.filter((keyword) => keyword !== "$seen");
  const change = record(draft, {
    kind: "message.keywords",
    messageId,
    mailboxId,
    placementId: id,
    before: { keywords: placement.keywords },
    after: { keywords },
    source: "rule",
    endpointId: scope.endpointId,
    deviceId: null,
    reason: "weak_seen",
    rule: earlier.verdict.rule,
    confidence: null,
    evidence: [earlier.verdict],
  });
  draft.placements.push({ id, mailboxId, keywords, lifecycle, kept, absent, reason: null, recoverableDays: null, change });
  draft.commands.push({ placementId: id, verb: "store", args: { remove: ["$seen"] }, reason: "pop3_seen_reverted" });
  return draft;
};

/**
 * Z6: what the server goes on showing as read is read here, too. It would stay unread for ever otherwise: who opens it later
 * changes nothing that could be seen.
 */
export const acceptSeen = (endpointId: EndpointId, refused: readonly PlacementView[]): Decision => {
  const draft = emptyDraft();
  for (const placement of refused) {
    const { id, messageId, mailboxId, lifecycle, kept, absent, binding } = placement;
    if (binding?.active !== true || !hasSeen(binding.shadowFlags) || placement.keywords.includes("$seen")) continue;
    const before = { keywords: placement.keywords };
    const keywords = [...placement.keywords, "$seen"];
    const change = record(draft, {
      kind: "message.keywords",
      messageId,
      mailboxId,
      placementId: id,
      before,
      after: { keywords },
      source: "rule",
      endpointId,
      deviceId: null,
      reason: "revert_refused",
      rule: "Z6",
      confidence: null,
      evidence: [],
    });
    draft.placements.push({ id, mailboxId, keywords, lifecycle, kept, absent, reason: null, recoverableDays: null, change });
  }
  return draft;
};
