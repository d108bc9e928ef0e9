import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import type { DecidedChange } from "../../src/model/change.ts";
import type { MessageId } from "../../src/model/ids.ts";
import { hasTelling, storyOf } from "../../src/model/story.ts";
import { chosenClasses } from "../../src/reconciler/policy-change.ts";

const src = fileURLToPath(new URL("../../src/", import.meta.url));

/** Reasons of changes of the account itself, and words that are no reasons of a change of mail. */
const others = new Set([
  "expunged",
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

  it("says something of what it does not know", () => {
    expect(storyOf(change({ kind: "message.moved", reason: "of_a_later_version" })).text).toBe("It was moved.");
  });
});
