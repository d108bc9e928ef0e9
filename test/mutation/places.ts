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

export const places: readonly Mutant[] = [...gone, ...removal];
