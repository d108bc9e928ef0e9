/** Rules of what is wanted in one place and gone from another, and of how it is moved and removed upstream. */
import { type Mutant, mutantsOf } from "./mutant.ts";

const gonePlaces = "reconciler/gone-places.test.ts";
const writer = "endpoints/imap/writer.imap.test.ts";

const gone: readonly Mutant[] = [
  ...mutantsOf(
    "reconciler/target-gone.ts",
    [gonePlaces],
    [
      ["D7", "what never got into a mailbox goes with it", "if (binding?.mailboxId === mailboxId) continue;", "continue;"],
      ["D7", "what goes with a mailbox is moved out of it", "if (binding?.mailboxId === mailboxId) continue;", ""],
      ["D7", "what comes back lies in a mailbox that is gone, too", "&& live.has(binding.mailboxId) ?", "?"],
    ],
  ),
  ...mutantsOf(
    "reconciler/source-gone.ts",
    [gonePlaces],
    [
      [
        "P8",
        "what is wanted elsewhere is lost with its item",
        "if (again) draft.commands.push",
        "if (false) draft.commands.push",
      ],
      ["P8", "mail is put on a server to lie in Trash", 'wanted.role !== "trash" && wanted.appendable', "wanted.appendable"],
      ["I14", "what is gone is put there as often as it goes", "&& wanted.appendable;", ";"],
    ],
  ),
  ...mutantsOf(
    "reconciler/vanish-retention.ts",
    ["reconciler/vanish-retention.test.ts"],
    [
      ["V10", "two that go at one age are enough", "const ageEvidence = 3;", "const ageEvidence = 2;"],
      ["V10", "what we remove teaches what a server removes", "lost.filter(({ ownCommand }) => !ownCommand)", "lost"],
      ["V10", "what a person marked teaches what a server removes", "|| markedDeleted ||", "||"],
      ["V10", "any mailbox teaches it", "|| !items.every(isTrashed)", ""],
      ["V10", "a Trash that is emptied on the day it was filled has an age", "at - last >= day &&", ""],
      ["V10", "ages need not agree", "&& last - first <= day", ""],
      ["V10", "whatever lies in Trash has the age", "at - cameAt >= (days - 1) * day", "true"],
      ["V10", "what it was learned from need not be covered", ">= (days - 1) * day", "> (days + 1) * day"],
    ],
  ),
];

const removal: readonly Mutant[] = [
  ...mutantsOf(
    "endpoints/imap/writer.ts",
    [writer],
    [
      ["C7", "whatever is marked is removed", "`UID EXPUNGE ${setOf(marked)}`", "`EXPUNGE`"],
      ["C7", "what somebody changed meanwhile is removed", "&& !stored.conflicts.includes(fact.uid)", ""],
      ["C7", "what cannot be removed by its number is removed all the same", "uids.every((uid) => ours.includes(uid))", "true"],
      ["C8", "a server that can move is made to copy", 'this.#can("MOVE") ? "MOVE" : "COPY"', '"COPY"'],
    ],
  ),
  ...mutantsOf(
    "reconciler/commands.ts",
    ["reconciler/moves.test.ts"],
    [["C5", "ten tries without room end a command", '&& outcome !== "over_quota";', ";"]],
  ),
  ...mutantsOf(
    "reconciler/mailbox-plan.ts",
    ["reconciler/mailbox-rules.test.ts"],
    [
      [
        "D8",
        "what comes into a mailbox that goes keeps it",
        'to === undefined ? end("failed", "mailbox_not_empty")',
        'true ? end("failed", "mailbox_not_empty")',
      ],
    ],
  ),
  ...mutantsOf(
    "workers/put-back.ts",
    ["scenarios/api-moves.test.ts: P9 F6"],
    [["F6", "a copy is spelt in lower case", "flagOfKeyword(keyword, spellings)", "flagOfKeyword(keyword)"]],
  ),
  ...mutantsOf(
    "workers/move-items.ts",
    ["scenarios/api-moves.test.ts: C7 C8"],
    [["C7", "what was copied stays where it was", "outcome.copied ? {", "false ? {"]],
  ),
];

/** A version that takes the place of another, and what is put where it is wanted. */
const successions: readonly Mutant[] = [
  ...mutantsOf(
    "reconciler/moves.ts",
    ["reconciler/moves.test.ts"],
    [
      [
        "P12",
        "a draft is removed though the next version never came",
        'if (succession === "failed") return end("failed", "not_replaced");',
        "",
      ],
      [
        "P12",
        "a draft is removed before the next version is there",
        'if (succession === "coming") return wait(lookAgainMs, "not_replaced");',
        "",
      ],
      [
        "P12",
        "what will never come is waited for",
        'return adding || !isUnplaced(placement) ? "coming" : "failed";',
        'return "coming";',
      ],
      [
        "P12",
        "a version that nobody wants there any more keeps the one before it",
        'if (lifecycle !== "live" || kept || binding?.active === true) return "done";',
        'if (binding?.active === true) return "done";',
      ],
      ["P12", "what is missing and not decided has failed", "adding || !isUnplaced(placement)", "adding"],
      [
        "I2",
        "what is stored nowhere is moved",
        'if (status === "planned" && !durable) return wait(lookAgainMs, "not_durable");',
        "",
      ],
      ["C7", "a device's mark goes along with what is moved", "isMarked(binding.shadowFlags) ?", "false ?"],
      ["C7", "ten looks end a removal whose mailbox is not read", "(lasting || !isSpent(command))", "!isSpent(command)"],
      ["C7", "where numbers never last a removal waits for ever", "(lasting || !isSpent(command))", "true"],
      [
        "C2",
        "what is missing for the moment is moved no more",
        'return absent || binding.closedReason === "epoch" ? wait(lookAgainMs, unbound) :',
        "return",
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/commands.ts",
    ["reconciler/commands.test.ts"],
    [
      ["I2", "a copy is made of what is stored nowhere", 'if (awaited) return wait(lookAgainMs, "not_durable");', ""],
      [
        "C3",
        "what a server said that it did is done again",
        'return answered ? end("failed", "not_found")',
        'return false ? end("failed", "not_found")',
      ],
      [
        "C3",
        "what waits to be found in a new epoch is put there again",
        'if (placement.absent || placement.binding?.closedReason === "epoch") return wait(lookAgainMs, unbound);',
        "",
      ],
      ["V18", "what is shown again is put back all the same", 'if (!placement.kept) return end("superseded", "reappeared");', ""],
      ["V18", "what the policy does not want any more is put back", 'if (!wanted) return end("superseded", "not_wanted");', ""],
      [
        "D8",
        "a mailbox that is filled again and again is emptied for ever",
        "  tried: true,",
        "",
        ["reconciler/mailbox-rules.test.ts"],
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/import.ts",
    ["reconciler/imports.test.ts"],
    [
      ["P12", "what somebody threw away meanwhile is replaced", '&& mailboxes.get(one.mailboxId) !== "trash");', ");"],
      ["P12", "what is missing upstream is replaced", "isLive(one) && !one.absent &&", "isLive(one) &&"],
      ["P12", "a draft that is saved without a change removes itself", "if (messageId === by) return [];", ""],
      ["P12", "the next version loses the keywords of the one before", "keywords.length > 0 ? keywords : before", "keywords"],
      [
        "P12",
        "the next version lies elsewhere than the one before",
        'earlier?.mailboxId ?? mailboxOfRole(slice, "drafts")',
        'mailboxOfRole(slice, "drafts")',
      ],
      [
        "P12",
        "a version that was replaced stays beside the next one",
        "replacedIds: removeReplaced(draft, deviceId, slice, messageId),",
        "replacedIds: [],",
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/plan.ts",
    ["reconciler/plan.test.ts", "reconciler/items.test.ts"],
    [
      ["V19", "what is kept is owed to the server", "  if (kept) return [];\n", ""],
      [
        "V19",
        "what is gone here stays there",
        'binding?.active === true || binding?.closedReason === "epoch" ? ["expunge"] : [];',
        "[];",
      ],
      [
        "P7",
        "what is removed while it has no number comes back",
        "binding?.active === true || binding?.closedReason",
        "binding?.active === true || null",
      ],
      ["F9", "what a server lost is lost", "if (keywords.some((keyword) => !shown.includes(keyword)))", "if (false)"],
    ],
  ),
  ...mutantsOf(
    "reconciler/intents.ts",
    ["workers/removed-unread.pg.test.ts"],
    [["P10", "what waits for its new number is destroyed", "slice.placements.some((one) => isSought(one, slice))", "false"]],
  ),
  ...mutantsOf(
    "store/candidates.ts",
    ["workers/removed-unread.pg.test.ts"],
    [
      ["C3", "what was put there and went is being put there for ever", "and not ${wasLastHere} end", "end"],
      [
        "C7",
        "what a new epoch lacks is looked for there for ever",
        "set closed_reason = 'absent'",
        "set closed_reason = 'epoch'",
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/undo.ts",
    ["reconciler/undo.test.ts"],
    [
      ["P6", "a loser cannot be had any more", 'if (typeof found?.loser !== "object") return null;', "return null;"],
      [
        "Q6",
        "what came with a move stays when that is taken back",
        'keywords: backTo(change) };\n    case "message.removed"',
        'keywords: {} };\n    case "message.removed"',
      ],
      ["Q6", "a copy has no way back", ' || change.reason === "copied"', ""],
    ],
  ),
  ...mutantsOf(
    "reconciler/intent-location.ts",
    ["api/places.pg.test.ts"],
    [
      [
        "V18",
        "what a device took is brought back to where it takes it again",
        'placement.reason === "pop3_drain" && role === "inbox"',
        "false",
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/maildrop-items.ts",
    ["reconciler/maildrop-items.test.ts"],
    [
      ["K9", "a maildrop brings back what IMAP decides about", 'if (found.rule === "ID-3" || found.rule === "ID-4") return;', ""],
      [
        "ID-5c",
        "what a maildrop shows again stays as it was",
        'const again = view.kept || view.lifecycle === "removed";',
        "const again = false;",
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/location.ts",
    ["reconciler/location.test.ts"],
    [
      [
        "P2",
        "what is shown again was restored",
        'return entry.rule === "ID-5c" ? null : rankOf.restore;',
        "return rankOf.restore;",
      ],
      ["V8b", "a label that was taken away says nothing of where mail is", ', "label_removed"]);', "]);"],
    ],
  ),
  ...mutantsOf(
    "reconciler/intent-location.ts",
    ["reconciler/location.test.ts"],
    [
      [
        "D7",
        "a mailbox that is gone is still a place",
        "(dot) => dot.mailboxId === null || slice.mailboxes.has(dot.mailboxId)",
        "() => true",
      ],
      [
        "P2",
        "what is gone comes back by a word that has no weight",
        'placement.lifecycle === "removed"\n    ? "unchanged"\n    :',
        'false ? "unchanged" :',
      ],
    ],
  ),
  ...mutantsOf(
    "store/successors.ts",
    ["scenarios/drafts.test.ts"],
    [
      [
        "P12",
        "of three versions the first goes though the last is not there",
        "or (args ? 'after' and args->>'after' = any($3::text[]))",
        "",
        ["store/commands.pg.test.ts"],
      ],
      ["P12", "who saw an app's version before writing has forked it", "and (b.epoch <> $4 or b.uid <= n.uid))", "and false)"],
    ],
  ),
];

export const places: readonly Mutant[] = [...gone, ...removal, ...successions];
