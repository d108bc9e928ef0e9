/** Plans that once broke a promise: where mail that arrives came from. */
import { expect, it } from "vitest";
import type { Action } from "./devices.ts";
import { noQuirks } from "./quirks.ts";
import { simulate, useSimulation } from "./simulate.ts";
import { mail, moveAway, plan } from "./small-plans.ts";

useSimulation();

it("mail that the server gives late where it was moved is the mail that was moved (G7, I11)", async () => {
  const wait = [{ do: "time passes", days: 0.01 }, { do: "go on" }] as const;
  const copied = { do: "mark and copy", box: 0, item: 0, to: 0, unmark: false } as const;
  const { oracle } = await simulate(
    plan([mail, copied, ...wait, ...wait, moveAway], [], {
      quirks: { ...noQuirks, changes: "condstore", push: "poll", uidplus: false, nilBody: true },
    }),
  );
  expect(oracle.log.map(({ kind }) => kind).filter((kind) => /moved|removed/.test(kind))).toEqual(["message.moved"]);
});

it.each([
  { what: "moved", action: { do: "move", box: 4, item: 0, to: 0 } },
  { what: "removed", action: { do: "delete", box: 4, item: 0, slow: false } },
] as const)(
  "what a device $what from where it was put, before it was seen there, was $what (C3, V20)",
  async ({ what, action }) => {
    const imported = { do: "api imports", device: 0, content: 0, to: 0, keywords: [], twice: false } as const;
    const { oracle } = await simulate(
      plan([imported, action, { do: "go on" }], [8, 0, 0, 0, 0, 0, 5], {
        // It is taken, and the look that follows is not answered.
        faults: [{ at: 90, kind: "drop" }],
        quirks: { ...noQuirks, changes: "full", push: "poll", uidplus: false },
      }),
    );
    const log = oracle.log.map(({ kind, reason }) => `${kind} ${reason}`);
    expect(log).toContain("account.state endpoint_closed");
    expect(log).toContain("write.applied api_write");
    expect(log.filter((entry) => /moved|removed|failed/.test(entry))).toEqual([
      what === "moved" ? "message.moved upstream_move" : "message.removed user_expunge",
    ]);
  },
);

it("what came again without a flag that is kept for it has it, whatever is said of what it has not (ID-5d, F9, F1)", async () => {
  const { oracle } = await simulate(
    plan(
      [
        { do: "api undoes", device: 0, change: 0, twice: false },
        mail,
        { do: "move", box: 0, item: 0, to: 0 },
        { do: "api imports", device: 0, content: 2, to: 0, keywords: ["$flagged"], twice: false },
        { do: "api undoes", device: 0, change: 0, twice: false },
        { ...mail, content: 2 },
        { do: "mark", box: 0, item: 3, flag: "\\Flagged", set: false },
      ],
      [11],
      { quirks: { ...noQuirks, uidplus: false } },
    ),
  );
  expect(oracle.log.map(({ kind, reason }) => `${kind} ${reason}`)).toContain("message.restored upstream_reappeared");
});

it("mail that is seen where it was moved before it is missed is bound there without being read again (ID-5a, L4)", async () => {
  const toInbox = { do: "move", box: 1, item: 0, to: 0 } as const;
  const { oracle, world } = await simulate(
    plan([{ ...mail, box: 1 }, { ...mail, content: 1, box: 1 }, { do: "go on" }, toInbox, toInbox], [0, 0, 11], {
      quirks: { ...noQuirks, push: "poll" },
    }),
  );
  expect(oracle.log.filter(({ kind }) => kind === "message.moved")).toHaveLength(2);
  expect(world.trace.join().match(/fetch \S+/g)).toEqual(["fetch Archive"]);
});

it("what is purged while a device moves it comes again without what was said of it (P10)", () =>
  simulate(
    plan(
      [
        mail,
        { do: "api marks", device: 0, message: 0, keyword: "$seen", set: true, twice: false },
        { do: "api throws away", device: 0, message: 0, how: "purge", twice: false },
        { do: "move", box: 0, item: 0, to: 4 },
      ],
      [0, 2],
      { quirks: { ...noQuirks, uidplus: false } },
    ),
  ));

it("mail that moves while its mailbox is still being read for the first time is the mail that was moved (ID-5a, G1)", async () => {
  const { oracle } = await simulate(
    plan([mail, mail, { do: "pop3", retr: 1, dele: 1, from: "newest" }], [2, 0, 5, 0, 0, 0, 0, 11], {
      faults: [
        { at: 7, kind: "lost" },
        { at: 59, kind: "drop" },
      ],
      quirks: { ...noQuirks, changes: "condstore", push: "poll", uidplus: false, deleEffect: "move_to_trash" },
      policy: { pop3Devices: "declared", onPop3Drain: "keep", preserveAhead: false },
      protocols: ["imap", "pop3"],
    }),
  );
  expect(oracle.held.placements).toHaveLength(2);
});

const imports = (keywords: readonly string[]): Action => ({
  do: "api imports",
  device: 0,
  content: 0,
  to: 0,
  keywords: [...keywords],
  twice: false,
});
const goOn = { do: "go on" } as const;
const isPlaced = (entry: string): boolean => /^(message|write)\./.test(entry);

/** It is put into the Archive, taken, and the look that follows is not answered. */
const unheard = async (at: number, script: readonly Action[], schedule: readonly number[]) => {
  const quirks = { ...noQuirks, changes: "full", push: "poll", uidplus: false } as const;
  const faults = [{ at, kind: "drop" }] as const;
  const { oracle } = await simulate(plan([...script, goOn], schedule, { faults, quirks, undisturbed: true }));
  const log = oracle.log.map(({ kind, reason }) => `${kind} ${reason}`);
  expect(log).toContain("account.state endpoint_closed");
  return log.filter(isPlaced);
};

it("a flag that a device took from what was put, before it was seen there, is taken (C3, F11)", async () => {
  const cleared = { do: "mark", box: 1, item: 0, flag: "\\Flagged", set: false } as const;
  const log = await unheard(90, [imports(["$flagged"]), cleared, { do: "move", box: 1, item: 0, to: 0 }], [8, 0, 5, 0, 0, 0]);
  expect(log).toEqual(["message.created api_import", "write.applied api_write", "message.moved upstream_move"]);
});

it("what was put is missed also where other mail came behind it (C3, V20)", async () => {
  const behind = [
    { do: "delete", box: 1, item: 0, slow: false },
    { ...mail, content: 7, box: 1 },
  ] as const;
  const log = await unheard(88, [imports([]), ...behind], [8, 0, 5, 0, 0, 0]);
  expect(log).toEqual([
    "message.created api_import",
    "message.created delivered",
    "write.applied api_write",
    "message.removed user_expunge",
  ]);
});

it.each([
  { what: "removed", action: { do: "delete", box: 1, item: 0, slow: false }, end: "message.removed user_expunge" },
  { what: "moved", action: { do: "move", box: 1, item: 0, to: 0 }, end: "message.moved upstream_move" },
] as const)("what was restored and $what before it was seen is not put there again (C3, I14)", async ({ action, end }) => {
  const restored = [
    mail,
    { do: "delete", box: 0, item: 0, slow: false },
    { do: "api restores", device: 0, message: 0, to: 0, twice: false },
  ] as const;
  const log = await unheard(148, [...restored, action], [8, 0, 8, 0, 8, 11, 11, 0, 5, 0, 0]);
  expect(log.slice(2)).toEqual(["message.restored api_restore", "write.applied api_write", end]);
});

it("what else went from where mail that is given late came is decided as well (G7)", async () => {
  const away = { do: "delete", box: 1, item: 0, slow: false } as const;
  const three = [0, 1, 2].map((content) => ({ ...mail, content, box: 1 }));
  const { oracle } = await simulate(
    plan(
      [...three, { do: "copy", box: 1, item: 0, to: 0 }, away, away, { ...mail, content: 4 }, goOn],
      [0, 0, 0, 8, 8, 8, 0, 5, 0, 0, 0, 11, 0],
      { quirks: { ...noQuirks, push: "idle", nilBody: true }, undisturbed: true },
    ),
  );
  expect(oracle.held.placements.filter(({ lifecycle }) => lifecycle === "live")).toHaveLength(3);
});

const marked = { do: "api marks", device: 0, message: 0, keyword: "$flagged", set: true, twice: false } as const;
const toInbox = { do: "move", box: 1, item: 0, to: 0 } as const;

it.each([
  { when: "before", script: [marked, toInbox], schedule: [8, 0, 0, 5, 0, 0, 0] },
  { when: "after", script: [toInbox, marked], schedule: [8, 0, 5, 0, 0, 0] },
])("what an app says of what was put, $when a device moves it unseen, is said there (C3, I4)", async ({ script, schedule }) => {
  const log = await unheard(88, [imports([]), ...script], schedule);
  expect(log.filter((entry) => entry.startsWith("message."))).toEqual([
    "message.created api_import",
    "message.keywords api_keywords",
    "message.moved upstream_move",
  ]);
});

it("what an app throws away after it was put, and a device moves unseen, is one mail (C3, P4)", async () => {
  const thrown = { do: "api throws away", device: 0, message: 0, how: "delete", twice: false } as const;
  const log = await unheard(88, [imports([]), thrown, toInbox], [8, 0, 5, 0, 0, 0]);
  expect(log).not.toContain("message.created copied");
});

it("what was put and went is missed after a crash between what came behind it and the end of the look (C3)", async () => {
  const script = [
    imports([]),
    { do: "delete", box: 1, item: 0, slow: false },
    { ...mail, content: 7, box: 1 },
    goOn,
    { do: "time passes", days: 0.01 },
    goOn,
    goOn,
  ] as const;
  for (const at of [140, 141, 142, 143, 144]) {
    const { oracle } = await simulate(
      plan(script, [8, 0, 5, 0, 0, 0, 11, 8, 11, 8, 11], {
        faults: [
          { at: 88, kind: "drop" },
          { at, kind: "crash" },
        ],
        quirks: { ...noQuirks, changes: "full", push: "poll", uidplus: false },
        undisturbed: true,
      }),
    );
    expect(oracle.log.map(({ kind }) => kind)).toContain("message.removed");
  }
});

it("what was put, of which nobody heard, and what a device moved is one mail (C3, PB10)", async () => {
  const wanted = { do: "api moves", device: 0, message: 0, to: 0, copies: false, twice: false } as const;
  const { oracle, world } = await simulate(
    plan([imports([]), { ...toInbox, box: 4 }, wanted], [11, 0, 0, 0, 0, 0, 8], {
      faults: [{ at: 0, kind: "unanswered" }],
      quirks: { ...noQuirks, push: "poll", uidplus: false },
    }),
  );
  expect(oracle.log.map(({ reason }) => reason)).not.toContain("copied");
  expect([...world.server.mailboxes.values()].flatMap(({ items }) => items)).toHaveLength(1);
});

it("what one app says that changes nothing is heard beside what another says (F2, F4)", () =>
  simulate(
    plan(
      [
        { ...mail, box: 1 },
        goOn,
        { ...marked, keyword: "$seen", set: false },
        { ...marked, keyword: "$seen", set: false },
        { do: "mark", box: 1, item: 0, flag: "\\Seen", set: false },
        { ...marked, keyword: "$seen", device: 1 },
        { ...mail, content: 1 },
      ],
      [0, 0, 0, 0, 5],
      { quirks: { ...noQuirks, uidplus: false, nilBody: true } },
    ),
  ));
