/** Rules of what may be read at all. */
import { type Mutant, mutantsOf } from "./mutant.ts";

export const gates: readonly Mutant[] = [
  ...mutantsOf(
    "endpoints/imap/observe.ts",
    ["endpoints/imap/observe.imap.test.ts"],
    [
      [
        "G1",
        "a listing with fewer messages than EXISTS said is whole",
        "return uids.length === exists && view.exists === exists ? uids : null;",
        "return uids;",
      ],
      ["G1", "an expunge in the middle of a listing does not matter", "this.#wire.removals === this.#removals", "true"],
      ["G5", "another UIDVALIDITY is the same mailbox", "if (view.uidValidity !== since.uidValidity) return false;", ""],
      [
        "G6",
        "a count that does not add up is believed",
        "if (expected === null || expected === opened.exists) return",
        "if (true) return",
      ],
    ],
  ),
  ...mutantsOf(
    "workers/pass.ts",
    ["scenarios/odd-devices.test.ts: S95"],
    [["G6", "unseen mail is not counted", "!moved && (await missedFlags(context, mailbox, status))", "false"]],
  ),
  ...mutantsOf(
    "endpoints/imap/wire.ts",
    ["endpoints/imap/observe.imap.test.ts"],
    [["G1", "a tagged OK that was cut short is whole", "cutShort.has(code)", "false"]],
  ),
  ...mutantsOf(
    "endpoints/pop3/session.ts",
    ["scenarios/pop3-servers.test.ts: S14"],
    [["G2", "three commands need not agree", "counts.every((count) => count === items.length)", "counts.length > 0"]],
  ),
  ...mutantsOf(
    "workers/incremental.ts",
    ["workers/empty-look.test.ts"],
    [["G4", "a mailbox that shows empty is empty", "return Date.now() - mailbox.emptySince >= emptyConfirmMs;", "return true;"]],
  ),
  ...mutantsOf(
    "workers/recognise.ts",
    ["workers/renumbered.pg.test.ts: G4"],
    [
      [
        "G4",
        "an empty mailbox of which nothing is wanted is empty",
        "if (waitsToBeSeenAgain(mailbox, known, ranges)) return false;",
        "",
      ],
      ["G4", "it is seen again at once", "if (Date.now() >= againAt) return false;", "if (known.emptySince > 0) return false;"],
    ],
  ),
  ...mutantsOf(
    "workers/maildrop-pass.ts",
    ["scenarios/pop3-only.test.ts: an empty listing is not believed"],
    [["G4", "a maildrop that lists nothing is empty", "const emptyMs = 60_000;", "const emptyMs = 0;"]],
  ),
  ...mutantsOf(
    "workers/absences.ts",
    ["workers/renumbered.pg.test.ts: G7"],
    [["G7", "what is listed and not given is gone", "[] : await loadUnread(account, endpointId)", "[] : []"]],
  ),
  ...mutantsOf(
    "store/stubs.ts",
    ["store/unread.pg.test.ts"],
    [
      ["G7", "what is moved to where it is not given is gone", 'isShown("m.received_at", elsewhere)', '"false"'],
      ["G7", "what is never given keeps what went alive", "c.at > $3::timestamptz - ${patience}", "$3::timestamptz is not null"],
      [
        "G7",
        "what lay there all the time is what went",
        "u.came_at between m.absent_since - ${nearby} and m.absent_since + ${nearby}",
        "true",
      ],
    ],
  ),
  ...mutantsOf(
    "workers/stub-reads.ts",
    ["workers/renumbered.pg.test.ts: G7"],
    [["G7", "what is given later is no mail that waits for it", "waiting !== undefined && (", "false && ("]],
  ),
  ...mutantsOf(
    "endpoints/deadline.ts",
    ["endpoints/deadline.test.ts"],
    [["G3", "a server may take for ever", "settle(() => reject(tooSlow(ms)));", ""]],
  ),
  ...mutantsOf(
    "store/account-tx.ts",
    ["workers/commit.pg.test.ts"],
    [
      [
        "G8",
        "who lost its shard still writes",
        "s.owner = $2 and s.epoch = $3 and a.id",
        "(s.owner = $2 and s.epoch = $3 or true) and a.id",
      ],
    ],
  ),
  ...mutantsOf(
    "reconciler/listing-window.ts",
    ["reconciler/listing-window.test.ts"],
    [
      ["G9", "what slides out of a window is gone", "if (hasSlid(input, seen)) return", "if (false) return"],
      ["G9", "what is hidden once it was retrieved is gone", "if (werePopped(input, seen)) return", "if (false) return"],
      ["G9", "a window explains whatever goes", "? beyondEdge(input, seen) : new Set()", "? seen.gone : new Set()"],
    ],
  ),
];
