/** Rules of mailboxes, and of what is written upstream. */
import { type Mutant, mutantsOf } from "./mutant.ts";

const mailboxes: readonly Mutant[] = [
  ...mutantsOf(
    "reconciler/mailbox-claims.ts",
    ["reconciler/mailboxes.test.ts"],
    [
      ["D1", "a mailbox that is renamed is another one", "moved.set(box.path, match);", ""],
      ["D1", "a shared UIDVALIDITY is proof", "claims.get(uidValidity) === 1", "true"],
      ["D1", "mail that is seen is no proof", "proven.has(path) ||", ""],
      ["D1", "a name says more than an id", "box.objectId === upstream.objectId;", "true;"],
    ],
  ),
  ...mutantsOf(
    "reconciler/mailboxes.ts",
    ["reconciler/mailboxes.test.ts"],
    [
      ["D9", "a mailbox that was replaced goes on", 'return replaced.includes(view.id) ? "replaced" : null;', "return null;"],
      ["D2", "one listing is enough", "at - upstream.absentSince >= absentForMs", "true"],
      ["D2", "what is not listed is gone, whatever the server says of it", "&& !input.answering.includes(path)", ""],
      ["D2", "a listing that was cut short is enough", "if (!input.complete) return", "if (false) return"],
      ["D2", "most mailboxes may go at once", "lost >= 5 && lost * 2 > listed", "false"],
      ["D9", "most mailboxes are replaced at once", "return areMost(others.length, listed.length);", "return false;"],
      ["D9", "a mailbox that goes leaves its mail as it was", "gone: gone.map(({ id }) => id)", "gone: []"],
      ["D12", "INBOX is removed", '&& view.upstream?.path !== "INBOX"', ""],
    ],
  ),
  ...mutantsOf(
    "reconciler/mailbox-names.ts",
    ["reconciler/mailbox-rules.test.ts", "reconciler/mailboxes.test.ts"],
    [
      ["D4", "a later rename over the API gives way", "return canonicalIsLater ? {", "return false ? {"],
      [
        "D4",
        "a rename by a device is undone",
        "if (canonical === shadow || canonical === observed)",
        "if (canonical === observed)",
      ],
      ["D5", "two mailboxes have one name", "if (!isTaken(name)) return name;", "return name;"],
    ],
  ),
  ...mutantsOf(
    "reconciler/mailbox-roles.ts",
    ["reconciler/mailboxes.test.ts"],
    [
      ["D10", "two mailboxes have one role", "if (given.has(role) || bearer.role !== null) continue;", ""],
      ["D10", "a name is as good a claim as any", "strength[a.source] - strength[b.source] ||", ""],
    ],
  ),
  ...mutantsOf(
    "reconciler/mailbox-intents.ts",
    ["reconciler/mailbox-rules.test.ts"],
    [
      ["D5", "who has seen a name gets a number for it", 'if (holder.changedSeq <= base) return "mailbox_exists";', ""],
      ["D6", "a mailbox lies below itself", 'if (isCircle(view.id, parentId, known)) return "mailbox_cycle";', ""],
      [
        "D8",
        "a mailbox goes with its mail",
        'if (contents.live > 0 && moveTo === null) return rejected("mailbox_not_empty", id);',
        "",
      ],
      [
        "D8",
        "a mailbox goes with what lies in it",
        'if (known.some((one) => one.parentId === id)) return rejected("mailbox_has_children", id);',
        "",
      ],
      ["D12", "INBOX has another name", 'return "inbox_fixed";', 'void "inbox_fixed";'],
      [
        "Q3",
        "who removes a mailbox need not know what is in it",
        'return rejected("state_mismatch", id);',
        'void "state_mismatch";',
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/mailbox-plan.ts",
    ["reconciler/mailbox-rules.test.ts"],
    [
      ["D7", "what came into a mailbox goes with it", "if (holds > 0)", "if (false)"],
      ["D7", "what is on its way out goes with it", 'if (busy) return wait(turnMs, "not_empty_yet");', ""],
    ],
  ),
  ...mutantsOf(
    "endpoints/imap/mailbox-verbs.ts",
    ["endpoints/imap/mailbox-verbs.imap.test.ts"],
    [
      ["D8", "a mailbox is removed with what is in it", 'told("MESSAGES") !== 0 ||', ""],
      ["D11", "a mailbox that is there is a failure", "return saysExists(answer) ?", "return false ?"],
    ],
  ),
];

/** Names, places and roles of mailboxes, and what upstream is told of them. */
const trees: readonly Mutant[] = [
  ...mutantsOf(
    "reconciler/mailbox-plan.ts",
    ["reconciler/mailbox-merge.test.ts"],
    [
      ["D11", "a name that a server spells otherwise is numbered", "if (there.id === view.id) return", "if (false) return"],
      ["D11", "two mailboxes that are there become one", "if (view.upstream !== null) return numbered(view, known);", ""],
      [
        "D11",
        "what goes takes another mailbox along",
        'return there.pending === null ? { kind: "merge"',
        'return true ? { kind: "merge"',
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/mailbox-merge.ts",
    ["reconciler/mailbox-merge.test.ts"],
    [
      ["D11", "a mailbox takes the role of the one that it ends in", "role !== null && into.role === null ?", "role !== null ?"],
      [
        "D11",
        "what lies below a mailbox goes with its name",
        "filter(({ parentId }) => parentId === view.id)",
        "filter(() => false)",
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/mailbox-claims.ts",
    ["reconciler/mailbox-merge.test.ts"],
    [["D11", "names in another case are one without the server's word", "return fence.exists === true ? (", "return true ? ("]],
  ),
  ...mutantsOf(
    "reconciler/mailbox-tree.ts",
    ["reconciler/mailbox-merge.test.ts"],
    [["D11", "the server is asked for its own name in another case", "if (isOther && name", "if (false && name"]],
  ),
  ...mutantsOf(
    "workers/mailbox-run.ts",
    ["scenarios/mailbox-folding.test.ts: what an app makes is"],
    [["D11", "mail stays where its mailbox ends", 'if (next.kind === "merge")\n    await', "if (false)\n    await"]],
  ),
  ...mutantsOf(
    "reconciler/mailbox-plan.ts",
    ["reconciler/mailbox-rules.test.ts"],
    [
      [
        "D8",
        "a mailbox that is filled again and again never ends",
        'tried({ kind: "empty", to }, command, "mailbox_not_empty")',
        '{ kind: "empty", to }',
      ],
      [
        "D8",
        "what lies in a mailbox upstream goes with it",
        'if (known.some(({ parentId }) => parentId === view.id)) return end("failed", "mailbox_has_children");',
        "",
      ],
      [
        "D11",
        "a name that a server takes for another's is tried for ever",
        "if (fence?.exists === true && fence.path === path) return sameStep(command, view, path, world);",
        "",
      ],
      [
        "D5",
        "a name that another mailbox has upstream is asked for",
        "holder.pending === null ? numbered(view, known) :",
        "false ? numbered(view, known) :",
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/mailbox-claims.ts",
    ["reconciler/mailboxes.test.ts"],
    [
      ["D9", "what another mailbox replaced is where it was", "|| replaced.has(id)) return false;", ") return false;"],
      ["D1", "an empty mailbox is followed by its number", "uidNext > 1 &&", ""],
      ["D1", "a mailbox with fewer numbers is the old one", "box.status.uidNext >= uidNext &&", ""],
      [
        "D1",
        "a number proves a rename where the old name is still taken",
        "if (!isCertain(path, view)) certain.delete(path);",
        ";",
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/mailbox-roles.ts",
    ["reconciler/mailboxes.test.ts"],
    [["D10", "of two claims the one that has the role loses it", "Number(b.holder) - Number(a.holder) ||", ""]],
  ),
  ...mutantsOf(
    "reconciler/mailboxes.ts",
    ["reconciler/mailboxes.test.ts"],
    [["D9", "a listing that was cut short tells what was replaced", "input.complete ? input.replaced : []", "input.replaced"]],
  ),
  ...mutantsOf(
    "reconciler/mailbox-tree.ts",
    ["reconciler/mailbox-tree.test.ts"],
    [
      [
        "D6",
        "two moves of mailboxes into each other are both done",
        "if (parentId === listedParentId || !this.#isCircle(node)) continue;",
        "continue;",
      ],
      ["D5", "who has a name upstream gives way", "this.#claim(a) - this.#claim(b) ||", ""],
      [
        "D4",
        "what is wanted since is older than what was listed",
        "const isLater = isWanted && pending.at > this.#input.at;",
        "const isLater = false;",
      ],
    ],
  ),
];

const upstream: readonly Mutant[] = [
  ...mutantsOf(
    "reconciler/commands.ts",
    ["reconciler/commands.test.ts"],
    [
      ["W1", "what is so already is written", "keywords.filter((keyword) => !shown.includes(keyword))", "keywords"],
      [
        "W1",
        "what nobody wants any more is written",
        "shown.includes(keyword) && !keywords.includes(keyword)",
        "shown.includes(keyword)",
      ],
      ["W2", "what somebody reads meanwhile is set back", '(change === "remove" && keyword === "$seen")', "false"],
      ["W2", "what somebody calls junk meanwhile is overwritten", 'keyword === "$junk" || keyword === "$notjunk" ||', ""],
      [
        "W3",
        "a condition that never holds is repeated for ever",
        "isDelicate(half) && attempts < conditionalTries",
        "isDelicate(half)",
      ],
      ["W3", "a conflict is a failure", 'return conflict ? wait(0, "conflict") : ', "return "],
      ["C1", "an OK confirms", "if (left.some((keyword) => sent.sent.keywords.includes(keyword)))", "if (false)"],
      [
        "C3",
        "an append is sent again blindly",
        'if (status !== "planned") return { kind: "look" };\n  return whileWanted',
        "return whileWanted",
      ],
      ["C3", "one look is enough", "const looksBeforeRepeat = 2;", "const looksBeforeRepeat = 1;"],
      [
        "C5",
        "what is refused for ever is tried again",
        'if (setback === "no_permission" || setback === "unsupported") return end("masked", setback);',
        "",
      ],
      ["C5", "a full account ends a command", 'if (setback === "over_quota") return wait(quotaWaitMs, setback);', ""],
      ["C9", "an answer that is lost is a no", 'setback === "no_answer" ? unsettled', "false ? unsettled"],
      ["I16", "a command has no end", 'if (attempts >= mostTries) return end("failed", setback);', ""],
    ],
  ),
  ...mutantsOf(
    "reconciler/moves.ts",
    ["reconciler/moves.test.ts"],
    [
      [
        "C2",
        "a move is done when it was sent",
        "if (binding.mailboxId === mailboxId) {",
        'if (binding.mailboxId === mailboxId || status === "sent") {',
      ],
      [
        "C3",
        "a move is sent again blindly",
        'return status === "planned" ? { kind: "send" } : { kind: "look" };',
        'return { kind: "send" };',
      ],
      ["C7", "what is wanted again is removed", 'if (lifecycle === "live") return end("superseded", "overtaken");', ""],
      [
        "I2",
        "what is stored nowhere is removed",
        'if (lifecycle === "removed" && !durable) return wait(lookAgainMs, "not_durable");',
        "",
      ],
      ["B5", "all may be removed at once", 'room ? { kind: "send"', 'true ? { kind: "send"'],
      ["B5", "thousands are few", "Math.max(50, Math.floor(items * 0.05))", "Math.max(5000, Math.floor(items * 0.05))"],
    ],
  ),
  ...mutantsOf(
    "endpoints/imap/refusals.ts",
    ["endpoints/imap/refusals.test.ts"],
    [["C5", "no response code says why", 'const said = refusals[code?.[0] ?? ""];', "const said = undefined;"]],
  ),
  ...mutantsOf(
    "endpoints/imap/writer.ts",
    ["endpoints/imap/writer.imap.test.ts"],
    [
      [
        "W3",
        "what the server left alone is not told",
        'if (answer.code?.[0] === "MODIFIED") conflicts.push(...modified(answer.code[1], items));\n      else if',
        "if",
      ],
      [
        "W6",
        "flags are not read back",
        'return { kind: "stored", facts, conflicts, permanentFlags };',
        'return { kind: "stored", facts: [], conflicts, permanentFlags };',
      ],
      [
        "I12",
        "a number of another epoch is written to",
        'opened.uidValidity === of.uidValidity ? opened : refused("epoch")',
        "opened",
      ],
    ],
  ),
  ...mutantsOf(
    "endpoints/imap/writer.ts",
    ["endpoints/imap/writer.imap.test.ts"],
    [["C4", "one item that was left alone stands for all", "named === null ? uids : uids.filter", "true ? uids : uids.filter"]],
  ),
  ...mutantsOf(
    "endpoints/imap/observe.ts",
    ["architecture/writes.test.ts"],
    [["C6", "what reads can write", "const atom = (value", 'export const words = "UID STORE";\nconst atom = (value']],
  ),
  ...mutantsOf(
    "reconciler/removal.ts",
    ["reconciler/removal.test.ts"],
    [
      ["K4", "another size is removed all the same", "sizes.get(keyOf(item)) === item.size", "sizes.has(keyOf(item))"],
      ["V1", "what a server removes late is no removal of ours", "removal.givenUp && !(gone && !doubtful)", "removal.givenUp"],
    ],
  ),
];

export const things: readonly Mutant[] = [...mailboxes, ...trees, ...upstream];
