/** Rules of who is asked before something is gone, and of what one thing says of others. */
import { type Mutant, mutantsOf } from "./mutant.ts";

const vanish = "reconciler/vanish.test.ts";
const rules = "reconciler/vanish-rules.test.ts";
const evidence = "reconciler/vanish-evidence.test.ts";
const maildropVanish = "reconciler/maildrop-vanish.test.ts";

export const witnesses: readonly Mutant[] = [
  ...mutantsOf(
    "workers/absences.ts",
    ["workers/consistent-cut.exhaustive.test.ts"],
    [
      ["V0", "one collect is enough", "|| hasMoved(mailbox, status)) return false;", ") return false;"],
      [
        "V0",
        "a mailbox that nobody has looked into hides nothing",
        "if (status !== null && !known.has(path)) return false;",
        ";",
      ],
      [
        "V0",
        "a mailbox that cannot be read hides nothing",
        "if (status === null || !(backfillDone",
        "if (status === null) continue;\n    if (!(backfillDone",
      ],
      ["V0", "a mailbox that is not read to its end hides nothing", "!(backfillDone(mailbox) || mailbox.held > 0) ||", ""],
      ["V0", "a survey that was cut short is a whole one", "if (!survey.complete) return false;", ""],
    ],
  ),
  ...mutantsOf(
    "reconciler/second-view.ts",
    ["reconciler/second-view.test.ts"],
    [
      [
        "V4",
        "what cannot be asked is waited for",
        "disputed ? disputedMs : reachable ? awaitedMs : 0",
        "disputed ? disputedMs : awaitedMs",
      ],
      ["V4", "what was disputed is given up as soon as anything", "disputed ? disputedMs : reachable", "reachable"],
      [
        "V4",
        "what was shown once is shown for ever",
        'return at - listed.beganAt < disputedMs ? "shown" : "unheard";',
        'return "shown";',
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/vanish.ts",
    [vanish],
    [
      [
        "V4",
        "what the maildrop showed is removed when it cannot be asked",
        'input.dispute === "open" && view === "unheard"',
        "false",
      ],
      ["V4", "somebody's word does not end a dispute", 'dispute !== "approved" && viewOf', "viewOf"],
      [
        "V8b",
        "a copy elsewhere makes a label of any mailbox",
        "cut.keepsLabels && candidate.shownElsewhere",
        "candidate.shownElsewhere",
      ],
      ["B1", "somebody's yes does not end a hold", 'input.decided !== "approved" && (', "("],
      ["B1", "somebody's no is not heard", 'if (decided === "rejected") return givenUp("B1", "rejected");', ""],
      ["B1", "what is kept anyway is held", 'outcome.action === "keep";', "false;"],
      [
        "V17",
        "what is gone already is missed",
        'if (placement.lifecycle !== "live") continue;',
        "",
        ["reconciler/absences.test.ts"],
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/vanish-rules.ts",
    [rules],
    [
      ["V8b", "a label that was taken away is kept", '  label_removed: "remove",\n', ""],
      [
        "V10",
        "what a device threw away was emptied by somebody",
        'return seen.drainSuspect ? is("retention", "V10", 0.6) :',
        "return",
      ],
      ["V10", "what a device threw away is gone with Trash", '|| (found.class === "retention" && input.drainSuspect)', ""],
      [
        "V16",
        "a device that only may be there takes from everywhere",
        '&& seen.pop3Devices === "declared") return is("pop3_drain", "V16"',
        ') return is("pop3_drain", "V16"',
      ],
      ["V4", "views that disagree are settled by policy", '  inconsistent_views: "hold",\n', ""],
      ["V3", "what a maildrop hides is dealt with by policy", '  pop3_hidden: "close",\n', ""],
    ],
  ),
  ...mutantsOf(
    "reconciler/vanish-evidence.ts",
    [evidence, rules],
    [
      ["V13", "mail that went elsewhere, too, has the shape of a drain", "|| batch.elsewhere > 0 ||", "||"],
      ["V13", "a batch with holes has the shape of a drain", "endsWithNewest && batch.leftBetween === 0", "endsWithNewest"],
      ["V13", "two of one age are a rule", "const ageEvidence = 3;", "const ageEvidence = 2;"],
      ["V13", "what came today is of one age", "youngest >= day &&", ""],
      [
        "V12",
        "a counter that took less than it must counts on",
        "if (taken < shown + Math.min(vanished, 1)) return { ...known, refuted: true };",
        "",
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/maildrop-vanish.ts",
    [maildropVanish],
    [
      ["B1", "what was held of a maildrop is removed in the end", 'released && decided.action === "remove"', "false"],
      ["K9", "a maildrop decides about what IMAP shows", '=> imap === "none" &&', "=>"],
    ],
  ),
  ...mutantsOf(
    "endpoints/imap/reading-words.ts",
    ["endpoints/imap/reading-only.imap.test.ts"],
    [["C6", "a connection for reading says anything", "if (!words.has(command.toUpperCase()))", "if (false)"]],
  ),
  ...mutantsOf(
    "workers/epoch.ts",
    ["workers/epoch.test.ts"],
    [
      ["G5", "counters that ran backwards are those of before", '? "regressed"\n    : null;', "? null\n    : null;"],
      ["G5", "numbers that ran backwards are those of before", "|| seen.uidNext < cursor.uidNext) return", ") return"],
    ],
  ),
  ...mutantsOf(
    "reconciler/pop3-seen.ts",
    ["reconciler/pop3-seen.prop.test.ts"],
    [
      ["Z2", "a drain beside it says nothing", "if (!look.besideDrain && step.some(", "if (step.some("],
      ["Z2", "a download goes on for ever", "look.at - before.at <= sameDownloadMs", "true"],
      ["Z2", "nobody hears of a device that may be there", 'suspected: shaped && look.devices === "unknown"', "suspected: false"],
      ["Z4", "one download makes a device periodic", "const earlierBatches = 3;", "const earlierBatches = 1;"],
      ["Z4", "a drain does not tell of the one mail beside it", "step.length > 1 || look.besideDrain ||", "step.length > 1 ||"],
      ["Z5", "the owner's word on downloads is not heard", 'if (pop3Seen !== "auto") return pop3Seen;', ""],
      ["Z5", "who asks for reverting has no device", '? "declared" : known', "? known : known"],
    ],
  ),
  ...mutantsOf(
    "reconciler/pop3-seen.ts",
    ["reconciler/pop3-seen-outcomes.test.ts"],
    [
      ["Z5", "what was set back to unread meanwhile is set back again", "earlier === null || !isRead ||", "earlier === null ||"],
      ["Z6", "what is read already is read once more", '|| placement.keywords.includes("$seen")) continue;', ") continue;"],
    ],
  ),
  ...mutantsOf(
    "reconciler/retrieved.ts",
    ["reconciler/retrieved.prop.test.ts"],
    [["K11", "a server marks at once or never", "at - retrievedAt > markedWithinMs", "true"]],
  ),
  ...mutantsOf(
    "reconciler/removal.ts",
    ["reconciler/removal.test.ts"],
    [
      [
        "K4",
        "of twins the one that is due is removed",
        '!barred.has(listed[index]?.uidl ?? "")',
        "isDue(listed[index] as ListedItem)",
      ],
      [
        "I12",
        "an id of an earlier epoch that is not listed was removed",
        "if (removal.epoch !== epoch) ends.left.push(removal);\n    else if (gone)",
        "if (!keys.has(keyOf(removal)))",
      ],
      ["V1", "a server removes at once or never", "now - removal.sentAt < graceMs", "false"],
    ],
  ),
  ...mutantsOf(
    "workers/expunge-items.ts",
    ["scenarios/api-moves.test.ts: without UIDPLUS the copy"],
    [
      [
        "C7",
        "what cannot be removed by its number is tried for ever",
        'if (onlyMarked && left.flags.includes("\\\\Deleted"))',
        "if (false)",
      ],
    ],
  ),
  ...mutantsOf(
    "workers/lane-state.ts",
    ["workers/audit.test.ts"],
    [["G6", "counters are believed for ever", "Date.now() - mailbox.auditedAt > auditEveryMs", "false"]],
  ),
  ...mutantsOf(
    "store/inputs.ts",
    ["simulation/replay.test.ts"],
    [
      ["I5", "what a caller wanted is not kept", "if (!wrote) return result;", 'if (!wrote || kind === "intent") return result;'],
      ["I5", "what was read back is not kept", "if (!wrote) return result;", 'if (!wrote || kind === "outcome") return result;'],
    ],
  ),
  ...mutantsOf(
    "endpoints/imap/observe.ts",
    ["endpoints/imap/observe.imap.test.ts"],
    [["G5", "numbers that end with the session tell what is gone", "numbersLast ? facts :", "true ? facts :"]],
  ),
  ...mutantsOf(
    "reconciler/moves.ts",
    ["reconciler/moves.test.ts"],
    [
      [
        "C2",
        "a move that came to where it was sent is looked for there",
        'if (status !== "planned" && binding.mailboxId === sentTo) return { ...wait(0, "more"), progress: true };',
        "",
      ],
      [
        "C9",
        "what was destroyed while its move was not answered is forgotten",
        'return status === "planned" || arrived ? end("superseded", "gone") : { kind: "look" };',
        'return end("superseded", "gone");',
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/own.ts",
    ["reconciler/items.test.ts"],
    [
      [
        "ID-1",
        "what is purged has its flags told",
        'const isNews = lifecycle !== "purged" && !sameKeywords',
        "const isNews = !sameKeywords",
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/intent-location.ts",
    ["reconciler/intents.prop.test.ts"],
    [["P8", "nobody is told that it lies in Trash here only", "...(kept && { kept })", ""]],
  ),
  ...mutantsOf(
    "reconciler/mailboxes.ts",
    ["reconciler/mailboxes.test.ts"],
    [["D2", "a mailbox that answers and is not listed is gone", "&& !input.answering.includes(path)", ""]],
  ),
  ...mutantsOf(
    "workers/backfill.ts",
    ["simulation/found.test.ts: mail that went into a mailbox which an earlier listing lacked"],
    [
      [
        "ID-5a",
        "what lies in a mailbox that was not listed at first was not moved there",
        "mailbox.late || mailbox.epoch > 0",
        "mailbox.epoch > 0",
      ],
    ],
  ),
  ...mutantsOf(
    "workers/expunge-items.ts",
    ["simulation/found.test.ts: a mark that is answered and not set"],
    [["C1", "a mark that is answered was made", 'onlyMarked && left.flags.includes("\\\\Deleted")', "onlyMarked"]],
  ),
  ...mutantsOf(
    "workers/meant.ts",
    ["scenarios/two-renderings.test.ts: are two mails where the views show the same octets"],
    [
      [
        "ID-4",
        "a server that words nothing anew shows one mail for two that say the same",
        'if (alike.length === 0 || (await learnFidelity(db, accountId, mailbox.mailboxId)) === "exact") return [];',
        "if (alike.length === 0) return [];",
      ],
    ],
  ),
];
