/** Rules of what vanishes, and of the breakers. */
import { type Mutant, mutantsOf } from "./mutant.ts";

const vanish = "reconciler/vanish.test.ts";
const rules = "reconciler/vanish-rules.test.ts";
const evidence = "reconciler/vanish-evidence.test.ts";
const maildropVanish = "reconciler/maildrop-vanish.test.ts";

const classes: readonly Mutant[] = [
  ...mutantsOf(
    "reconciler/vanish-rules.ts",
    [rules],
    [
      ["V0", "what may be where nobody looked is gone", "seen.cutHasGaps && gone.class", "false && gone.class"],
      [
        "V1",
        "what we removed has another cause",
        'if (seen.ownCommand) return is("self", "V1", 1);\n  if (seen.foundElsewhere',
        "if (seen.foundElsewhere",
      ],
      [
        "V2",
        "what is found elsewhere is gone",
        "if (seen.foundElsewhere !== null) return moved(seen.foundElsewhere);\n  if (seen.shownByPop3After)",
        "if (seen.shownByPop3After)",
      ],
      ["V2b", "any likeness is as good as an id", 'V2b", movedConfidence[level]', 'V2b", movedConfidence.L0'],
      ["V3", "what POP3 hides is gone", 'if (seen.imap === "present")', "if (false)"],
      ["V4", "what POP3 shows is gone", "if (seen.shownByPop3After)", "if (false)"],
      ["V5", "what an epoch lacks is gone", 'if (seen.epochChanged) return is("epoch", "V5", null);', ""],
      [
        "V6",
        "what is out of view is gone",
        'if (seen.outsideWindow) return is("window_slide", "V6", 0.95);\n  if (seen.breakerTripped) return is("mass_vanish", "V7", null);\n  const',
        "const",
      ],
      ["V7", "a mass is believed", 'if (seen.breakerTripped) return is("mass_vanish", "V7", null);\n  const', "const"],
      ["V8b", "a label that is taken away is a deletion", "if (seen.labelRemoved)", "if (false)"],
      ["V8", "a mailbox that is gone explains nothing", "if (seen.mailboxGone)", "if (false)"],
      ["V9", "a mark explains nothing", "if (seen.markedDeleted)", "if (false)"],
      ["V10", "Trash is never emptied by age", "if (seen.atRetentionAge)", "if (false)"],
      ["V11", "Trash and Junk are as any other mailbox", 'if (seen.role === "trash" || seen.role === "junk") {', "if (false) {"],
      ["V12", "the budget of MODSEQ proves nothing of a device", "if (expected && seen.storeExcluded)", "if (false)"],
      ["V13", "the shape of a batch proves nothing", "if (expected && seen.batchShape)", "if (false)"],
      ["V14", "a device that is known explains nothing", 'if (expected) return is("pop3_drain", "V14", 0.6);', ""],
      ["V15", "a removal without a mark is an ordinary one", 'if (seen.storeExcluded) return is("unknown", "V15", 0.5);', ""],
      ["V16", "what goes everywhere at once is deleted", 'seen.goneFromInboxToo && seen.pop3Devices === "declared"', "false"],
      [
        "V17",
        "without a trace nothing is concluded",
        'return is("user_expunge", "V17", 0.75);',
        'return is("unknown", "V17", 0.75);',
      ],
      ["I3", "a guess can be undone no longer than what is sure", "certain ? days : Math.max(uncertainDays, days)", "days"],
      ["V18", "what cannot be put back is", 'policy.onPop3Drain === "restore" && canRestore', 'policy.onPop3Drain === "restore"'],
    ],
  ),
  ...mutantsOf(
    "reconciler/vanish-evidence.ts",
    [rules, evidence],
    [
      ["V12", "two steps leave no room for a STORE either", "return left === 1n;", "return left >= 1n;"],
      [
        "V12",
        "a server is believed before it was seen to count",
        "const isLearned = known.store === true && known.expunge === true && known.refuted !== true;",
        "const isLearned = true;",
      ],
      ["V13", "what a person had read is taken by a device", "|| batch.vanished.some((item) => item.stronglySeen)", ""],
    ],
  ),
  ...mutantsOf(
    "reconciler/vanish.ts",
    [vanish],
    [
      ["V0", "what may lie in a held mailbox is gone", " || cut.unread?.has(candidate.id) === true;", ";"],
      ["B1", "what may lie in a held mailbox is part of a mass", " && cut.unread?.has(one.id) !== true", ""],
      [
        "V0",
        "what a held mailbox may hide is let go of when a hold ends",
        "if (cut.blind === true && !candidate.ownCommand) return",
        "if (cut.blind === true && !candidate.ownCommand && input.decided === null) return",
      ],
      [
        "B1",
        "nobody hears of a mass while a held mailbox tells nothing",
        '(believed || decided !== null ? "awaited" : "held");',
        '"awaited";',
      ],
      ["V4", "nobody waits for the maildrop", 'const mayBeThere = view === "awaited" || ', "const mayBeThere = "],
      ["V15", "nobody hears of a device that may be there", 'hinted ||= found.rule === "V15";', ""],
      ["V19", "what we removed ourselves goes here, too", ' || found.class === "self";', ";"],
      ["I1", "what was gone before its octets were there is shown for ever", "if (believed && !candidate.durable)", "if (false)"],
    ],
  ),
  ...mutantsOf(
    "reconciler/via-trash.ts",
    ["reconciler/via-trash.test.ts"],
    [
      ["V9", "a mark in INBOX is a device's", "&& !shadow.some(isDeleted)", ""],
      ["Z5", "what was read before was not read", '!keywords.includes("$seen") &&', ""],
    ],
  ),
  ...mutantsOf(
    "reconciler/maildrop-vanish.ts",
    [maildropVanish],
    [
      [
        "V7",
        "a maildrop whose mail is gone loses it all",
        '!released && input.hold !== "approved" && (input.doubtful || guarded)',
        "false",
      ],
      ["G4", "a listing that shows nothing readable is believed", "(input.doubtful || guarded)", "guarded"],
    ],
  ),
  ...mutantsOf(
    "reconciler/commands.ts",
    ["reconciler/commands.test.ts"],
    [["V18", "mail is put back into INBOX", 'selectable && role !== "inbox" && path.toUpperCase() !== "INBOX"', "selectable"]],
  ),
  ...mutantsOf(
    "workers/arrivals.ts",
    ["scenarios/coverage.test.ts: S05"],
    [["V20", "what came and went unseen is not counted", "if (count === 0) return 0;", "return 0;"]],
  ),
  ...mutantsOf(
    "reconciler/second-view.ts",
    ["reconciler/second-view.test.ts"],
    [["V4", "a listing from before the absence tells something", "listed.beganAt > absentSince", "true"]],
  ),
];

const breakers: readonly Mutant[] = [
  ...mutantsOf(
    "reconciler/vanish-breaker.ts",
    ["reconciler/vanish-breaker.test.ts", vanish, maildropVanish],
    [
      ["B1", "thousands may go at once", "if (candidates >= 1000 * part) return true;", ""],
      [
        "B1",
        "a third of a mailbox may go at once",
        "if (candidates >= 20 * part && candidates >= 0.3 * part * live) return true;",
        "",
      ],
      ["B1", "a whole mailbox may go at once", "return candidates >= 10 * part && candidates === live;", "return false;"],
      [
        "B1",
        "a part of the account may go at once",
        "candidates >= 2 * accountLeast * part && candidates >= 0.1 * part * live",
        "false",
      ],
      ["B1", "what was marked counts as a mass", "!candidate.markedDeleted &&", ""],
      ["B1", "Trash is held as any other mailbox", 'candidate.role !== "trash" && candidate.role !== "junk"', "true"],
      ["B2", "a server that was not well is believed as any other", "(unwell ? 0.5 : 1)", "(unwell ? 1 : 1)"],
    ],
  ),
  ...mutantsOf(
    "reconciler/vanish.ts",
    [vanish],
    [
      ["B1", "what went shortly before is forgotten", "candidates: guarded.length + lately", "candidates: guarded.length"],
      [
        "B1",
        "what is held is removed in the end",
        'outcome: { action: "keep", recoverableDays: null },',
        'outcome: { action: "remove", recoverableDays: 30 },',
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/holds.ts",
    ["reconciler/holds.test.ts"],
    [
      ["B1", "a hold ends sooner than six hours", "at - since >= releaseMs &&", ""],
      ["B1", "one more look is enough", "history.cuts.some((cut) => cut < at && cut - since >= confirmMs)", "true"],
      [
        "I12",
        "an absence in one epoch proves something in another",
        "if (history?.epoch !== epoch) return false;",
        "if (history === null) return false;",
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/epoch.ts",
    ["reconciler/epoch.test.ts"],
    [
      [
        "B4",
        "any mailbox of that name is the old one",
        "rebound >= share * before || (rebound >= enough && rebound >= share * listed)",
        "true",
      ],
      ["B4", "what is one of several says nothing of its mailbox", "if (item !== undefined) found", "if (false) found"],
      ["B4", "one item is evidence of all that look like it", "?.pop();", "?.[0];"],
      ["B4", "twenty are not enough", "|| (rebound >= enough && rebound >= share * listed)", ""],
      ["B4", "twenty are enough, whatever contradicts", "(rebound >= enough && rebound >= share * listed)", "rebound >= enough"],
    ],
  ),
  ...mutantsOf(
    "store/mailbox-writes.ts",
    ["workers/renumbered.pg.test.ts"],
    [["B4", "what is asked of a mailbox is asked for ever when it is gone", "await releaseGone(account, endpointId, gone);", ""]],
  ),
  ...mutantsOf(
    "workers/epoch.ts",
    ["workers/renumbered.pg.test.ts"],
    [["B4", "an empty mailbox need not be compared with what was in it", "Math.max(uidNext, 2)", "uidNext"]],
  ),
];

const ahead = "reconciler/preserve-ahead.test.ts";
const copies: readonly Mutant[] = [
  ...mutantsOf(
    "reconciler/preserve-ahead.ts",
    [ahead],
    [
      ["V21", "mail is copied that nobody wants copied", "policy.preserveAhead && expectsDrains", "expectsDrains"],
      ["V21", "mail is copied that no device takes", "expectsDrains(pop3Devices) && ", ""],
      ["V21", "mail is copied that had lain there", ' && reason === "delivered"', ""],
      ["V21", "a draft is copied", 'if (keywordsOfFlags(flags).includes("$draft")) return;', ""],
      ["V21", "mail is copied that has a place elsewhere", "if (isElsewhere) return;", ""],
    ],
  ),
  ...mutantsOf(
    "reconciler/items.ts",
    [ahead],
    [
      ["V21", "what came twice is copied twice", "if (existing !== undefined) return undefined;", ""],
      ["V21", "a copy is as many as are seen", "taken.add(claim.commandId);", ""],
      ["V21", "what has no octets is copied", " && message !== null)", ")"],
      [
        "V21",
        "what is told by its header is copied beside its other place",
        "message === undefined ? alike : [message]",
        "alike",
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/claims.ts",
    [ahead],
    [["V21", "a copy is known only while its mail is kept", 'if (is === "copy") return true;', ""]],
  ),
  ...mutantsOf(
    "reconciler/commands.ts",
    [ahead],
    [
      ["V21", "mail that a device took has no copy any more", " || reason === preserved.reason;", ";"],
      ["V21", "mail that was moved is copied", "wanted && placement.absent ?", "false ?"],
    ],
  ),
  ...mutantsOf(
    "workers/join.ts",
    ["workers/preserving.pg.test.ts"],
    [["V21", "what POP3 showed first is never copied", "known: new Map(), claimed, preserves,", "known: new Map(), claimed,"]],
  ),
  ...mutantsOf(
    "workers/stub-reads.ts",
    ["workers/preserving.pg.test.ts"],
    [
      ["V21", "what is given later is never copied", 'if (reason === "delivered" &&', "if (false &&"],
      [
        "V21",
        "what had lain there is copied when it is given",
        'reason === "delivered" && (await isPreserving(account, { lane, mailbox, reason }))',
        'reason !== null && (await isPreserving(account, { lane, mailbox, reason: "delivered" }))',
      ],
    ],
  ),
  ...mutantsOf(
    "store/commands.ts",
    ["scenarios/preserve-ahead.test.ts: copies what comes, once"],
    [
      [
        "V21",
        "what has a copy is put back beside it",
        "`c.verb = 'append' and not (c.reason",
        "`c.reason <> 'preserved_ahead' and c.verb = 'append' and not (c.reason",
      ],
    ],
  ),
  ...mutantsOf(
    "workers/put-back.ts",
    ["scenarios/preserve-ahead.test.ts: makes no copy of what"],
    [["V21", "a copy is put beside another", "else if (await isThere(run, command, where))", "else if (false)"]],
  ),
];

export const absence: readonly Mutant[] = [...classes, ...copies, ...breakers];
