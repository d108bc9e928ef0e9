import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import type { DecidedChange } from "../../src/model/change.ts";
import type { MailboxId, MessageId } from "../../src/model/ids.ts";
import { hasTelling, storyOf, storyOfHold } from "../../src/model/story.ts";
import { chosenClasses } from "../../src/reconciler/policy-change.ts";

const src = fileURLToPath(new URL("../../src/", import.meta.url));

/** Reasons of changes of the account itself, and words that are no reasons of a change of mail. */
const others = new Set([
  "expunged",
  "renumbered",
  "renamed",
  "absent",
  "op_id_reused",
  "created",
  "removed",
  "awaits_upstream",
  "settings_changed",
  "paused",
  "resumed",
]);

const reasonsIn = async (room: string): Promise<string[]> => {
  const files = (await readdir(join(src, room))).filter((file) => file.endsWith(".ts"));
  const texts = await Promise.all(files.map((file) => readFile(join(src, room, file), "utf8")));
  return texts.flatMap((text) => [...text.matchAll(/\breason: "([a-z_0-9]+)"/g)].map(([, reason]) => reason ?? ""));
};

const change = (more: Partial<DecidedChange>): DecidedChange => ({
  kind: "message.keywords",
  messageId: null,
  mailboxId: null,
  placementId: null,
  before: null,
  after: null,
  source: "imap",
  endpointId: null,
  deviceId: null,
  reason: "upstream_flags",
  rule: "F1",
  confidence: null,
  evidence: [],
  ...more,
});

describe("the log in plain words", () => {
  it("has a sentence for every reason that is given", async () => {
    const given = (await Promise.all(["reconciler", "workers", "store"].map(reasonsIn))).flat();
    expect(given.length).toBeGreaterThan(20);
    const silent = [...new Set([...given, ...chosenClasses])].filter((reason) => !hasTelling(reason) && !others.has(reason));
    expect(silent).toEqual([]);
  });

  it("says of all that a server refuses what can be done about it", async () => {
    const texts = await Promise.all(
      ["commands", "moves", "mailbox-plan"].map((name) => readFile(join(src, `reconciler/${name}.ts`), "utf8")),
    );
    const ends = [...texts.join("").matchAll(/end\("(?:masked|failed)", "([a-z_]+)"/g)].map(([, reason = ""]) => reason);
    const setbacks = [...(/export type Setback =([^;]*);/.exec(texts[0] ?? "")?.[1] ?? "").matchAll(/"([a-z_]+)"/g)].map(
      ([, reason = ""]) => reason,
    );
    expect(setbacks.length).toBeGreaterThan(5);
    const nobodys = new Set(["unsupported", "octets_missing", "not_found"]);
    for (const reason of [...ends, ...setbacks, "mailbox_refused", "unsupported_flag"]) {
      const told = storyOf(change({ kind: "write.failed", reason, messageId: "m" as MessageId }));
      expect([reason, told.text.length > 30, told.otherwise !== null]).toEqual([reason, true, !nobodys.has(reason)]);
    }
    expect(storyOf(change({ kind: "write.failed", reason: "epoch", messageId: "m" as MessageId })).otherwise).not.toContain(
      "holds",
    );
    for (const reason of ["no_permission", "unsupported", "no_parent", "no_answer"])
      expect(storyOf(change({ kind: "write.failed", reason })).otherwise).toContain("PATCH");
  });

  it("tells what changed, what gave way, how sure it is, and what to do", () => {
    const flags = storyOf(change({ before: { keywords: ["$seen"] }, after: { keywords: ["$flagged"] } }));
    expect(flags.text).toBe("A device changed its keywords on the mail server. (set: $flagged; taken away: $seen)");
    expect(flags.otherwise).toContain("undo");
    const drained = storyOf(change({ kind: "message.kept", reason: "pop3_drain", rule: "V14", confidence: 0.6 }));
    expect(drained.text).toBe(
      "A POP3 device took it from the server. That is no wish to delete it. This is a guess from what was seen. It is kept here.",
    );
    expect(drained.otherwise).toContain("onPop3Drain");
    const lost = storyOf(
      change({ kind: "conflict.resolved", reason: "concurrent_location", evidence: [{ winner: "a", loser: "b" }] }),
    );
    expect(lost.text).toContain("What gave way: b.");
  });

  it("says what a move brought along, too", () => {
    const before = { mailboxId: "mbx_1", keywords: ["a"] };
    const after = { mailboxId: "mbx_2", keywords: ["$flagged", "a"] };
    const moved = storyOf(change({ kind: "message.moved", reason: "upstream_move", before, after }));
    expect(moved.text).toBe("Another client moved it on the mail server. (set: $flagged)");
  });

  it("names in words what gave way, and who had said it", () => {
    const lost = (evidence: object) =>
      storyOf(change({ kind: "conflict.resolved", reason: "concurrent_location", evidence: [evidence] })).text.replace(
        /.*What gave way: /,
        "",
      );
    const place = { rank: 4, mailboxId: "mbx_1", source: "endpoint", endpointId: "end_1" };
    expect(lost({ winner: {}, loser: place })).toBe("its place in mbx_1, by end_1.");
    expect(lost({ loser: { rank: 2, mailboxId: null, source: "device phone" } })).toBe("its removal, by device phone.");
    expect(lost({ keyword: "$seen", loser: "set", source: "device phone" })).toBe("$seen set, by device phone.");
    expect(lost({ keyword: "$seen", loser: "clear", source: "endpoint", endpointId: "end_1" })).toBe(
      "$seen taken away, by end_1.",
    );
    expect(lost({ loser: { name: "Work" }, source: "imap", deviceId: null })).toBe('the name "Work", by the mail server.');
    expect(lost({ loser: { name: "Work", parentId: null, role: "junk" }, changedSeq: 3, base: 2 })).toBe(
      'the name "Work", its place at the top, the role junk.',
    );
  });

  it("says of mail that is kept how the server has it again, and not to restore what is here", () => {
    const kept = (reason: string) => storyOf(change({ kind: "message.kept", reason, messageId: "m" as MessageId })).otherwise;
    for (const reason of ["mass_vanish_rejected", "epoch_rejected", "pop3_drain", "unknown"]) {
      expect(kept(reason)).toContain("the mail server has it again when it is moved");
      expect(kept(reason)).not.toContain("/restore");
    }
    expect(kept("pop3_drain")).toContain("onPop3Drain");
    expect(kept("self")).toBeNull();
  });

  it("says of a mailbox how what was done to it is undone, where it can be", () => {
    const was = { name: "Work", parentId: null, role: null };
    const told = (more: Partial<DecidedChange>) => storyOf(change({ mailboxId: "b" as MailboxId, ...more })).otherwise;
    expect(told({ kind: "mailbox.created", reason: "upstream_created", after: was })).toContain("/undo");
    expect(told({ kind: "mailbox.renamed", reason: "api_renamed", before: was, after: { ...was, name: "Job" } })).toContain(
      "/undo",
    );
    expect(told({ kind: "mailbox.removed", reason: "api_removed", before: was })).toContain("empty and with a new id");
    expect(told({ kind: "mailbox.created", reason: "default_mailbox", after: { ...was, role: "inbox" } })).toBeNull();
  });

  it("claims no more than what is so in every case", () => {
    // Flags that stand here the server may have lost, or never had; a mailbox may be younger than its account, or have been emptied first.
    expect(storyOf(change({ kind: "write.applied", reason: "flags_lost" })).text).not.toContain("lost");
    expect(storyOf(change({ kind: "message.created", reason: "backfilled" })).text).not.toContain("account");
    expect(storyOf(change({ kind: "mailbox.removed", reason: "api_removed" })).text).not.toContain("held nothing");
  });

  it("tells of a hold what it is and how to decide it, and once that is said, that it is", () => {
    for (const reason of ["mass_vanish", "mass_drain", "mass_flag_loss", "inconsistent_views", "epoch"]) {
      const open = storyOfHold({ id: "hld_1", reason, decision: null });
      expect(open.text).toContain("It is held");
      expect(open.otherwise).toMatch(/hld_1\/approve: .+ POST …\/holds\/hld_1\/reject: /);
      const said = storyOfHold({ id: "hld_1", reason, decision: "rejected" });
      expect([said.text.includes("It was rejected"), said.otherwise]).toEqual([true, null]);
    }
  });

  it("says something of what it does not know", () => {
    expect(storyOf(change({ kind: "message.moved", reason: "of_a_later_version" })).text).toBe("It was moved.");
  });
});
