/** Rules of flags, of mail only retrieved, and of what is said by operations. */
import { type Mutant, mutantsOf } from "./mutant.ts";

const histories = "reconciler/histories.prop.test.ts";
const intents = "reconciler/intents.prop.test.ts";
const items = "reconciler/items.test.ts";
const threeLegs = "reconciler/keywords.test.ts";
const flagLoss = "reconciler/flag-loss.test.ts";
const conflicts = "api/location-conflicts.pg.test.ts";
const keywords = "api/keywords.pg.test.ts";
const places = "api/places.pg.test.ts";

const flags: readonly Mutant[] = [
  ...mutantsOf(
    "reconciler/keywords.ts",
    [histories],
    [
      [
        "F1",
        "what is shown is canonical, changed or not",
        "const merged = new Set(legs.canonical);",
        "const merged = new Set(after);",
        [intents, "scenarios/api-write-back.test.ts: F7 C1"],
      ],
      ["F1", "a flag that is shown anew is not taken over", "if (!before.has(keyword)) merged.add(keyword);", ""],
      [
        "F1",
        "a flag that is not shown any more stays",
        "&& !growOnly.has(keyword)) merged.delete",
        "&& false) merged.delete",
        [threeLegs, items],
      ],
      [
        "F9",
        "in a new epoch what is not shown is taken away",
        "new Set([...legs.canonical, ...after])",
        "new Set(after)",
        [threeLegs, items],
      ],
      ["F4", "$mdnsent goes when a server loses it", "&& !growOnly.has(keyword)", "", [threeLegs, items]],
      ["F4", "a receipt that a client forgot is not told again", 'return "grow_only";', "return null;", [threeLegs, items]],
      [
        "F3",
        "mail that is shown as junk and as no junk is both",
        "if (hasBoth(merged)) for (const keyword of junkPair) if (hasBoth(after)",
        "if (false) for (const keyword of junkPair) if (hasBoth(after)",
        [threeLegs, items],
      ],
      [
        "I8",
        "what we said ourselves is news when it is shown",
        'if (said.change === "add") return [',
        "if (false) return [",
        [threeLegs, "scenarios/api-write-back.test.ts: F7 C1"],
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/observed-flags.ts",
    [items],
    [
      [
        "F1",
        "a MODSEQ bump with equal flags is written",
        "sameFlags(placement.binding?.shadowFlags ?? [], fact.flags)) continue;",
        "false) continue;",
      ],
      ["F5", "a weak \\Seen is taken over", "if (seen?.revert === true) return", "if (false) return", [items]],
      [
        "ID-5a2",
        "what was left behind is nothing for ever",
        "|| flags.some(isDeleted)) return;",
        "|| true) return;",
        ["reconciler/moves-by-copy.test.ts"],
      ],
      [
        "ID-5a2",
        "what was left behind is a place at any word of it",
        "|| flags.some(isDeleted)) return;",
        ") return;",
        ["reconciler/moves-by-copy.test.ts"],
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/items.ts",
    [items],
    [
      [
        "F11",
        "a move has no common base",
        "if (!isMove(how)) return mergeWithoutBase",
        'if (how !== "drained") return mergeWithoutBase',
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/dots.ts",
    ["reconciler/intent-keywords.test.ts", "reconciler/dots.exhaustive.test.ts"],
    [
      ["F2", "an assertion leaves what its source said before", "&& source !== dot.source", ""],
      ["F4", "what is later does not win over what it has seen", "place > placeOf(base, false) &&", ""],
      ["F4", "of a draft the later set wins over a clear", 'new Set(["$seen", "$draft"])', 'new Set(["$seen"])'],
      ["F4", "a wrongly read mail stays read", 'new Set(["$seen", "$draft"])', 'new Set(["$draft"])'],
      [
        "F4",
        "the last word wins, whatever the bias",
        "return register.some(({ is }) => is === bias) ? bias : !bias;",
        "return register.at(-1)?.is ?? null;",
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/intent-keywords.ts",
    ["reconciler/intent-keywords.test.ts", "reconciler/dots.exhaustive.test.ts", keywords],
    [
      [
        "F2",
        "an opinion that changed nothing is none",
        "if (is !== undefined) found.push",
        "if (is !== undefined && !silent) found.push",
      ],
      [
        "F3",
        "of $junk and $notjunk both stay",
        'if (junkPair.every((keyword) => merged.has(keyword))) merged.delete("$junk");',
        "",
      ],
      ["F4", "$mdnsent can be taken away", 'keyword === "$mdnsent"', "false"],
      ["F4", "a server's own word can be set by anybody", "readOnly.has(keyword) ||", "", [keywords]],
    ],
  ),
  ...mutantsOf(
    "reconciler/intents.ts",
    [conflicts],
    [["F8", "a removed placement takes no keyword", "return live.length > 0 ? live : placements;", "return live;"]],
  ),
  ...mutantsOf(
    "model/mail.ts",
    ["reconciler/commands.test.ts"],
    [
      [
        "F6",
        "keywords that differ in case only are two",
        "    default:\n      return lower;",
        "    default:\n      return flag;",
        [items],
      ],
      ["F6", "a keyword is written back in lower case", "if (spelt !== undefined) return spelt;", "", ["model/mail.test.ts"]],
    ],
  ),
  ...mutantsOf(
    "endpoints/imap/writer.ts",
    ["endpoints/imap/writer.imap.test.ts"],
    [["F7", "a STORE replaces all flags", "${sign}FLAGS.SILENT", "FLAGS.SILENT"]],
  ),
  ...mutantsOf(
    "reconciler/flag-loss.ts",
    [flagLoss],
    [
      [
        "F9",
        "after counters ran backwards a flag that is not shown is cleared",
        "unasserted: bound.get(fact.uid)?.binding?.shadowFlags ?? []",
        "unasserted: []",
      ],
      ["F10", "a mass of lost flags is believed", "count >= least && count >= share * items ? [keyword] : []", "[]"],
      ["B3", "few lost flags are a mass", "const least = 50;", "const least = 1;"],
      ["B3", "a small part of a mailbox is a mass", "const share = 0.3;", "const share = 0;"],
      ["B3", "what was said not to be true is done", "denied.includes(keyword)", "false"],
    ],
  ),
];

const seen: readonly Mutant[] = [
  ...mutantsOf(
    "reconciler/pop3-seen.ts",
    ["reconciler/pop3-seen.prop.test.ts"],
    [
      ["Z2", "a download is somebody's reading", 'strength: shaped && expected ? "weak" : "strong"', 'strength: "strong"'],
      ["Z2", "nobody has to know of a device", "shaped && expected ?", "shaped ?"],
      ["Z2", "all of a look is one step", "const modseq = item.modseq ?? -1n;", "const modseq = -1n;"],
      [
        "Z2",
        "where a server marks one by one each mark is alone",
        "follows(look, memory, step)) return null;",
        "false) return null;",
      ],
      ["Z2", "the high-water mark does not rise", "Math.max(most, uid), memory.highWater)", "most, memory.highWater)"],
      ["Z3", "a second flag says nothing", "if (step.some(({ otherFlags }) => otherFlags))", "if (false)"],
      ["Z3", "what a download passed before says nothing", "reverted || uid <= highWater", "reverted"],
      ["Z3", "what was left out below says nothing", "uid > highWater && uid < newest", "false"],
      ["Z3", "another mailbox says nothing", "if (look.elsewhere)", "if (false)"],
      ["Z3", "a device of the API says nothing", "if (item.opened) judge(", "if (false) judge("],
      ["Z4", "one mail alone is a download", 'return periodic ? null : strong("Z4", "single_item");', "return null;"],
      ["Z4", "any three downloads are periodic", "const periodShare = 0.2;", "const periodShare = 9;"],
      [
        "Z5",
        "a declared device has its marks accepted",
        'return pop3Devices === "declared" ? "revert" : "accept";',
        'return "accept";',
      ],
      ["I14", "what was set back is set back again", 'item.reverted ? strong("I14", "seen_again") : against', "against"],
      [
        "Z6",
        "what a server goes on showing as read stays unread",
        "!hasSeen(binding.shadowFlags) ||",
        "true ||",
        ["scenarios/write-back.test.ts: S125"],
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/observed-flags.ts",
    [items],
    [
      [
        "Z5",
        "what stays unread here stays read upstream",
        'args: { remove: ["$seen"] }, reason: "pop3_seen_reverted" });',
        'args: { remove: [] }, reason: "pop3_seen_reverted" });',
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/retrieved.ts",
    ["reconciler/retrieved.prop.test.ts"],
    [
      ["K11", "another flag says nothing of a reader", "others.length === 0 &&", ""],
      ["K11", "the API says nothing of a reader", "!readOverApi &&", ""],
    ],
  ),
];

const operations: readonly Mutant[] = [
  ...mutantsOf(
    "reconciler/location.ts",
    [intents, conflicts],
    [
      [
        "P1",
        "what is later does not win over what it has seen",
        "const alive = assertInto(dots, said, base);",
        "const alive = [...dots, said];",
      ],
      [
        "P2",
        "the later wins, whatever its rank",
        "a.rank > b.rank || (a.rank === b.rank && a.place > b.place)",
        "a.place > b.place",
      ],
      [
        "P2",
        "a restore is a move",
        "return isBin(from) ? rankOf.restore : rankOf.move;",
        "return rankOf.move;",
        ["reconciler/moves.test.ts"],
      ],
      ["P2", "Junk is a mailbox as any other", 'if (to === "junk") return rankOf.junk;', "", ["reconciler/moves.test.ts"]],
      ["P3", "agreement is a conflict", "mailboxId !== winner.mailboxId", "dot !== winner", [intents, conflicts]],
      [
        "P4",
        "a later move over the API gives way",
        "a.rank === b.rank && a.place > b.place",
        "a.rank === b.rank && a.place < b.place",
      ],
      ["P5", "of two devices of the API the rule is not told", 'beaten.api && winner.api ? "P5" : "P4"', '"P4"', [conflicts]],
      [
        "V14",
        "what a device took was asked to go",
        "removals.has(entry.reason) ? rankOf.removal : null",
        "rankOf.junk",
        [conflicts],
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/contests.ts",
    ["reconciler/moves.test.ts"],
    [
      ["P2", "where the server has it counts, whatever the rank", ": rank > wanted.rank;", ": true;"],
      ["P4", "what was read before an operation stands over it", "contests.readAt >= wanted.at", "true"],
    ],
  ),
  ...mutantsOf(
    "reconciler/intent-location.ts",
    [conflicts, places],
    [
      ["P6", "a loser is not told", "if (beaten !== null)\n", "if (false)\n"],
      ["P8", "what lies in Trash is owed upstream", "rank === rankOf.trash && (gone ? hasImap : placement.kept)", "false"],
      [
        "P9",
        "a copy has no keywords",
        "newPlacements.push({ ...made, keywords,",
        "newPlacements.push({ ...made, keywords: [],",
        [places],
      ],
      ["P11", "nobody is warned of INBOX", 'roleIn(slice)(mailboxId) === "inbox" ?', "false ?", [places]],
      [
        "P7",
        "what is gone is moved, not restored",
        'gone ? "message.restored" : "message.moved"',
        '"message.moved"',
        [intents, conflicts],
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/import.ts",
    ["scenarios/drafts.test.ts: S89"],
    [
      [
        "P12",
        "two versions are one after the other",
        'stillThere(slice).length > 0 ? "api_replacement"',
        'true ? "api_replacement"',
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/flag-news.ts",
    ["reconciler/flag-news.test.ts"],
    [
      ["I8", "another flag is no news", "!sameFlags(known.flags, flags)", "false"],
      ["I8", "what may answer us is no news", "known.said ||", ""],
      ["I8", "what its mod-sequence tells of is no news", "modseq > since) return true", "modseq > since) return false"],
    ],
  ),
  ...mutantsOf(
    "reconciler/intent-slice.ts",
    [places],
    [["P10", "a purge needs no state", "exact && placements.every(", "true || placements.every("]],
  ),
];

export const words: readonly Mutant[] = [...flags, ...seen, ...operations];
