/** Plans that once broke a promise, made as small as they would go. */
import { expect, it } from "vitest";
import type { Action } from "./devices.ts";
import { noQuirks } from "./quirks.ts";
import { simulate, useSimulation } from "./simulate.ts";
import { mail, moveAway, plan } from "./small-plans.ts";
import type { Plan } from "./world.ts";

useSimulation();

it("a mailbox with a role that is renamed while it is empty stops nothing (D10)", () =>
  simulate(plan([{ do: "rename mailbox", box: 4, name: 0 }, mail, { do: "move", box: 0, item: 0, to: 5 }], [11])));

it("what was moved into a mailbox that nobody has looked into yet is not taken for deleted (V0)", () =>
  simulate(plan([mail, mail, { do: "make mailbox", name: 0 }, { do: "move", box: 0, item: 0, to: 3 }], [0, 0, 11])));

it("what is decided when an empty listing is believed is sent at once (G4, V18)", () =>
  simulate(
    plan([mail, { do: "pop3", retr: 1, dele: 1, from: "oldest" }, { ...mail, box: 1 }], [0, 0, 5, 11], {
      quirks: { ...noQuirks, changes: "full", uidplus: false, top: false },
      policy: { pop3Devices: "declared", onPop3Drain: "restore" },
    }),
  ));

const renumber = (box: number) => ({ do: "new epoch", box, flags: false, numbers: true }) as const;

it.each<{ of: string; script: readonly Action[]; schedule: readonly number[] }>([
  { of: "before its mailbox is numbered anew", script: [moveAway, renumber(0)], schedule: [0, 2] },
  { of: "after that", script: [renumber(0), moveAway], schedule: [0, 2] },
  { of: "while both mailboxes are", script: [moveAway, renumber(0), renumber(1)], schedule: [0, 2] },
  { of: "while the mailbox to which it goes is", script: [moveAway, renumber(1)], schedule: [0, 2] },
  {
    of: "out of one that is looked at later",
    script: [{ ...moveAway, to: 2 }, { ...moveAway, box: 2, to: 1 }, renumber(2)],
    schedule: [0, 2, 0, 2],
  },
])("mail that another client moves $of stays what it is (ID-5a, ID-8, B4)", async ({ script, schedule }) => {
  const { oracle } = await simulate(plan([mail, ...script], schedule));
  expect(oracle.held.placements).toHaveLength(1);
  expect(oracle.log.filter(({ reason }) => reason === "copied")).toEqual([]);
});

it("mail that another client copies while its mailbox is numbered anew stays there, too (ID-8)", async () => {
  const { oracle } = await simulate(plan([mail, { do: "copy", box: 0, item: 0, to: 1 }, renumber(0)], [0, 2]));
  expect(oracle.log.map(({ kind }) => kind).filter((kind) => /moved|removed|kept|hold/.test(kind))).toEqual([]);
  expect(oracle.held.placements).toHaveLength(2);
});

it("a body that the server did not give is asked for again, and is what others have already (G7)", async () => {
  const quirks = { ...noQuirks, nilBody: true };
  const { oracle } = await simulate(plan([mail, { ...mail, content: 1 }, mail], [0, 0, 11, 0, 11], { quirks }));
  expect(oracle.log.filter(({ reason }) => reason === "octets_came")).toHaveLength(3);
  expect(oracle.held.messages.every(({ readable }) => readable)).toBe(true);
  expect(oracle.held.messages).toHaveLength(2);
});

it("mail that a new epoch lists and does not give is waited for (G7, I11)", async () => {
  const quirks = { ...noQuirks, nilBody: true };
  const { oracle } = await simulate(plan([mail, renumber(0)], [0, 11, 11, 11, 0], { quirks, undisturbed: true }));
  expect(oracle.log.map(({ kind }) => kind).filter((kind) => /moved|removed|kept/.test(kind))).toEqual([]);
  const created = oracle.log.find(({ kind }) => kind === "message.created");
  expect(oracle.held.placements).toHaveLength(1);
  expect(oracle.held.messages.map(({ id }) => id)).toEqual([created?.message_id]);
});

it("mail that was moved to where the server does not give it is waited for (G7, I11)", async () => {
  const quirks = { ...noQuirks, nilBody: true };
  const { oracle } = await simulate(plan([mail, moveAway], [0, 11, 11, 11, 0], { quirks, undisturbed: true }));
  expect(oracle.log.map(({ kind }) => kind).filter((kind) => /removed|kept/.test(kind))).toEqual([]);
  const created = oracle.log.find(({ kind }) => kind === "message.created");
  expect(oracle.held.placements).toHaveLength(1);
  expect(oracle.held.messages.map(({ id }) => id)).toEqual([created?.message_id]);
});

it("a STORE that is answered and did nothing is said again (C1, W6)", async () => {
  const mark = { do: "api marks", device: 0, message: 0, keyword: "$flagged", set: true, twice: false } as const;
  const { world } = await simulate(plan([mail, mark], [0, 11], { quirks: { ...noQuirks, deafStore: true } }));
  expect([...(world.server.at("INBOX").items[0]?.flags ?? [])]).toEqual(["\\Flagged"]);
});

it("a keyword that INBOX cannot hold is masked when what was written with it is applied (F11, C1)", () => {
  const mark = { do: "api marks", device: 0, message: 0, set: true, twice: false } as const;
  const marks = [
    { ...mark, keyword: "urgent" },
    { ...mark, keyword: "$seen" },
  ];
  return simulate(plan([mail, ...marks], [0, 5], { quirks: { ...noQuirks, keywords: "none" } }));
});

const rename = (box: number, name: number) => ({ do: "rename mailbox", box, name }) as const;

it.each(["notify", "poll"] as const)("a mailbox that takes the name of another one is what it was (D1): %s", async (push) => {
  const mails = [
    { ...mail, box: 1 },
    { ...mail, content: 1, box: 2 },
  ];
  const { oracle } = await simulate(
    plan([...mails, rename(1, 1), rename(2, 2), rename(1, 1)], [0, 0, 0, 8, 0, 0], { quirks: { ...noQuirks, push } }),
  );
  expect(oracle.held.mailboxes.map(({ path, role }) => [path, role])).toEqual([
    ["INBOX", "inbox"],
    ["Plans", "trash"],
    ["Post", "archive"],
  ]);
  expect(oracle.log.map(({ kind }) => kind).filter((kind) => /message|created|removed|epoch/.test(kind))).toEqual([
    ...Array.from({ length: 3 }, () => "mailbox.created"),
    ...mails.map(() => "message.created"),
  ]);
});

/** A mailbox with two mails is renamed, another one is made under its old name, and mail comes there. */
const nameTaken = (meanwhile: readonly Action[], push: "notify" | "poll"): Plan => {
  const mails = [
    { ...mail, box: 2 },
    { ...mail, content: 1, box: 2 },
  ];
  const taken = [rename(2, 0), ...meanwhile, { do: "make mailbox", name: 1 } as const, { ...mail, content: 2, box: 3 }];
  const script = [rename(1, 1), ...mails, ...taken];
  const schedule = [0, 0, 0, 2, ...taken.map(() => 0), push === "notify" ? 2 : 8];
  return plan(script, schedule, { quirks: { ...noQuirks, push }, undisturbed: true });
};

it.each(["notify", "poll"] as const)(
  "a mailbox whose name a new one takes between two looks is what it was (D1): %s",
  async (push) => {
    const { oracle } = await simulate(nameTaken([], push));
    expect(oracle.log.map(({ kind }) => kind).filter((kind) => /removed|epoch|hold|moved/.test(kind))).toEqual([]);
    const places = oracle.held.placements.map(({ content, path }) => `${content} in ${path}`);
    expect(places.toSorted()).toEqual(["mail 0 in Work", "mail 1 in Work", "mail 2 in Plans"]);
  },
);

it.each(["notify", "poll"] as const)(
  "mail of such a mailbox whose numbers are new, too, is followed by itself (ID-5a, B4): %s",
  async (push) => {
    const { oracle } = await simulate(nameTaken([renumber(2)], push));
    expect(oracle.log.map(({ kind }) => kind).filter((kind) => /message/.test(kind))).toEqual([
      ...["message.created", "message.created", "message.moved", "message.moved", "message.created"],
    ]);
  },
);

it("mail that a device moves away before it is removed is that mail, wherever it is seen first (ID-5d, I13)", async () => {
  const script = [
    { do: "api imports", device: 0, content: 0, to: 2, keywords: [], twice: false } as const,
    { do: "api syncs", device: 0 } as const,
    { do: "api undoes", device: 0, change: 1, twice: false } as const,
    { do: "move", box: 2, item: 0, to: 1 } as const,
  ];
  const { oracle } = await simulate(plan(script, [2, 0, 2, 0, 0, 0, 2], { undisturbed: true }));
  expect(oracle.held.placements.map(({ lifecycle, path }) => [lifecycle, path])).toEqual([["live", "Archive"]]);
});

it("what was put into a mailbox is not what a device took away elsewhere, however alike (ID-2, ID-5a)", async () => {
  const script = [
    mail,
    { ...mail, content: 1 },
    { do: "api moves", device: 0, message: 0, to: 2, copies: true, twice: false } as const,
    { do: "delete", box: 0, item: 0, slow: false } as const,
  ];
  const quirks = { ...noQuirks, changes: "condstore", push: "poll", uidplus: false } as const;
  const zeros = (count: number): number[] => Array.from({ length: count }, () => 0);
  // It is deleted after the copy was put into Trash, before anybody looked there.
  const { oracle } = await simulate(plan(script, [0, 0, 2, ...zeros(7), 2, ...zeros(8), 5], { quirks }));
  const places = oracle.held.placements.map(({ content, lifecycle, path }) => `${content} ${lifecycle} in ${path}`);
  expect(places.toSorted()).toEqual(["mail 0 live in Trash", "mail 0 removed in INBOX", "mail 1 live in INBOX"]);
});

it("a mark that is answered and not set is set again where it is all that can be done (C1, C7)", async () => {
  const purge = { do: "api throws away", device: 0, message: 0, how: "purge", twice: false } as const;
  const { world } = await simulate(plan([mail, purge], [0, 2], { quirks: { ...noQuirks, uidplus: false, deafStore: true } }));
  expect([...(world.server.at("INBOX").items[0]?.flags ?? [])]).toEqual(["\\Deleted"]);
});

it("a maildrop that shows its newest items only has lost none of the others (G9)", async () => {
  const mails = Array.from({ length: 56 }, (_, content) => ({ ...mail, content }));
  const looks = mails.map((_, n) => (n >= 49 && n % 2 === 1 ? [0, 11] : [0])).flat();
  const rest = { protocols: ["pop3"], quirks: { ...noQuirks, window: 50 }, policy: { onPop3Drain: "mirror" } } as const;
  const { oracle } = await simulate(plan(mails, looks, rest));
  expect(oracle.held.placements.filter(({ lifecycle, kept }) => lifecycle === "live" && !kept)).toHaveLength(56);
});

it("a mailbox that was empty at first is looked at whole once a day, too (G6)", async () => {
  const mark = { do: "mark", box: 0, item: 0, flag: "\\Answered", set: true } as const;
  const script = [mail, mark, { do: "lose modseqs", box: 0 }, mail] as const;
  const { oracle } = await simulate(plan(script, [11, 0, 0, 0, 11, 11], { quirks: { ...noQuirks, push: "poll" } }));
  expect(oracle.log.filter(({ kind }) => kind === "message.keywords")).toHaveLength(1);
});

it("mail that went into a mailbox which an earlier listing lacked was moved there (ID-5a)", async () => {
  const quirks = { ...noQuirks, changes: "full", push: "poll", uidplus: false } as const;
  const script = [mail, { do: "move", box: 0, item: 0, to: 2 }, { do: "delete", box: 0, item: 0, slow: false }] as const;
  const { oracle } = await simulate(plan(script, [0, 11], { quirks, faults: [{ at: 5, kind: "cut" }] }));
  expect(oracle.log.map(({ kind }) => kind).filter((kind) => /message/.test(kind))).toEqual(["message.created", "message.moved"]);
});

it("a mailbox that is no longer listed and still there for the server is not gone, nor is its mail (D2)", async () => {
  const quirks = { ...noQuirks, push: "poll", unlisted: "Archive" } as const;
  const { oracle } = await simulate(plan([{ ...mail, box: 1 }], [0, 11, 11, 11, 11], { quirks }));
  expect(oracle.log.map(({ kind }) => kind).filter((kind) => /removed|kept/.test(kind))).toEqual([]);
});

const renumberKeeping = (box: number) => ({ ...renumber(box), numbers: false });

it("mail that went to its own copy while that was numbered anew is found beside it (B4, ID-5a)", async () => {
  const { oracle } = await simulate(
    plan([mail, { do: "copy", box: 0, item: 0, to: 1 }, renumberKeeping(1), moveAway], [0, 0, 11]),
  );
  expect(oracle.log.filter(({ kind }) => /removed|hold/.test(kind))).toEqual([]);
});

it("mail that went while its mailbox lost its mod-sequences is asked for where it was (ID-5a, G5)", async () => {
  const { oracle } = await simulate(
    plan([mail, moveAway, { ...renumberKeeping(1), flags: true }, { do: "lose modseqs", box: 0 }], [0, 11]),
  );
  expect(oracle.held.placements).toHaveLength(1);
});

it("mail that went while its mailbox lost its mod-sequences, seen by a look at that, is asked for there (ID-5a, G5)", async () => {
  const lost = { do: "lose modseqs", box: 0 } as const;
  const { oracle } = await simulate(plan([lost, mail, moveAway, lost], [0, 0, 5]));
  expect(oracle.held.placements).toHaveLength(1);
});

it("what may have gone into a mailbox that is held is not decided without it (V0, B4)", async () => {
  const other = { ...mail, content: 1, box: 1 } as const;
  const away = { do: "delete", box: 1, item: 0, slow: false } as const;
  const { oracle } = await simulate(plan([other, mail, away, renumberKeeping(1), moveAway], [0, 0, 11]));
  expect(oracle.log.filter(({ kind, reason }) => kind === "hold.opened" && reason === "epoch")).toHaveLength(1);
});

it.each([1, 2])(
  "mail of a maildrop that was moved away and back is that mail, beside %i deliveries (ID-5b, I11)",
  async (times) => {
    const script = [mail, { do: "move", box: 0, item: 0, to: 4 }, { do: "move", box: 1, item: 0, to: 0 }, mail] as const;
    const { oracle } = await simulate(plan(script.slice(0, 2 + times), [0, 5], { protocols: ["pop3"] }));
    expect(oracle.held.placements).toHaveLength(times);
    expect(oracle.log.filter(({ kind }) => kind === "message.kept")).toEqual([]);
  },
);

it("what is purged has no flags, though its item has to stay (P10, C7)", () =>
  simulate(
    plan(
      [
        mail,
        { do: "mark", box: 0, item: 0, flag: "\\Seen", set: true },
        { do: "api throws away", device: 0, message: 0, how: "purge", twice: false },
        { do: "api marks", device: 0, message: 0, keyword: "$seen", set: false, twice: false },
      ],
      [0, 2],
      { quirks: { ...noQuirks, uidplus: false } },
    ),
  ));

it("what is put back into the mailbox where it was kept says so (V18, V21, PB13)", async () => {
  const { oracle } = await simulate(
    plan(
      [
        mail,
        mail,
        { do: "pop3 ends", well: false },
        { ...mail, content: 1 },
        { do: "pop3 ends", well: false },
        { do: "pop3", retr: 0, dele: 0, from: "oldest" },
        { do: "pop3 ends", well: false },
        { do: "delete", box: 4, item: 0, slow: false },
        { do: "pop3", retr: 3, dele: 3, from: "oldest" },
        { do: "move", box: 0, item: 0, to: 0 },
      ],
      [0, 0, 0, 11, 0, 0, 0, 0, 0, 5],
      {
        quirks: { ...noQuirks, uidplus: false, top: false, endlessUidl: true },
        policy: { pop3Devices: "declared", onPop3Drain: "restore", preserveAhead: true },
        protocols: ["imap", "pop3"],
      },
    ),
  );
  expect(oracle.log.map(({ kind, reason }) => `${kind} ${reason}`)).toContain("message.restored restored_after_drain");
});
