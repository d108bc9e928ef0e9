/** V0 against every way in which one mail can hop about while the mailboxes of an account are read, one after the other. */
import { describe, expect, it } from "vitest";
import type { EndpointId, MailboxId } from "../../src/model/ids.ts";
import type { MailboxStatus, Survey } from "../../src/model/observation.ts";
import { isConsistentCut } from "../../src/workers/absences.ts";
import { type LaneContext, type MailboxLane, toMailboxLane } from "../../src/workers/lane-state.ts";

const paths = ["INBOX", "Archive", "Work"] as const;
type Path = (typeof paths)[number];
/** Before which read it happens, and where the mail is then; null: deleted. */
interface Hop {
  readonly before: number;
  readonly to: Path | null;
}

/** A server with one mail that hops, and one in each mailbox that stays. */
class Server {
  readonly counts = new Map(paths.map((path) => [path, { messages: 1, uidNext: 2, modseq: 2n }]));
  where: Path | null = null;

  hop(to: Path | null): void {
    const from = this.where === null ? undefined : this.counts.get(this.where);
    if (from !== undefined) Object.assign(from, { messages: from.messages - 1, modseq: from.modseq + 1n });
    const into = to === null ? undefined : this.counts.get(to);
    if (into !== undefined)
      Object.assign(into, { messages: into.messages + 1, uidNext: into.uidNext + 1, modseq: into.modseq + 1n });
    this.where = to;
  }

  status(path: Path, modseqs: boolean): MailboxStatus {
    const { messages = 0, uidNext = 1, modseq = 0n } = this.counts.get(path) ?? {};
    return { messages, uidNext, uidValidity: 1, unseen: 0, highestModseq: modseqs ? modseq : null };
  }
}

const lane = (path: Path, { messages, uidNext, highestModseq }: MailboxStatus): MailboxLane => {
  const known = { mailboxId: path as string as MailboxId, path, selectable: true, role: null, epoch: 0, uidValidity: 1 };
  const read = { uidNext, highestModseq, backfillLow: 1, auditedAt: null, failures: 0, parkedUntil: null };
  return toMailboxLane({ ...known, ...read, held: 0, flagsHeld: false }, messages);
};

const surveyed = (path: Path, status: MailboxStatus): Survey["mailboxes"][number] => {
  const named = { path, delimiter: "/", selectable: true, subscribed: true, role: null, roleSource: null, objectId: null };
  return { ...named, status, statusError: null };
};

interface Reading {
  readonly start: Path;
  readonly hops: readonly Hop[];
  readonly modseqs: boolean;
  /** In which order the second collect reads. */
  readonly order: readonly Path[];
}

/** Two collects of three reads each. @returns what is believed of the mail, and where it is. */
const read = ({ start, hops, modseqs, order }: Reading): { seen: boolean; consistent: boolean; where: Path | null } => {
  const server = new Server();
  server.hop(start);
  let reads = 0;
  const next = (path: Path): MailboxStatus => {
    for (const { before, to } of hops) if (before === reads) server.hop(to);
    reads += 1;
    return server.status(path, modseqs);
  };
  let seen = false;
  const mailboxes = new Map<MailboxId, MailboxLane>();
  for (const path of paths) {
    const status = next(path);
    seen ||= server.where === path;
    mailboxes.set(path as string as MailboxId, lane(path, status));
  }
  const listed = order.map((path) => surveyed(path, next(path)));
  const at = new Date(0);
  const survey = { startedAt: at, endedAt: at, complete: true, mailboxes: listed };
  const context = { mailboxes, endpointId: "imap" as EndpointId } as unknown as LaneContext;
  return { seen, consistent: isConsistentCut(context, survey), where: server.where };
};

const reads = 6;

/** All of up to `most` hops, in time order. */
const hopsFrom = (where: Path | null, most: number, from = 0): Hop[][] => {
  if (most === 0 || where === null) return [[]];
  const all: Hop[][] = [[]];
  for (let before = from; before < reads; before += 1)
    for (const to of [...paths, null])
      if (to !== where) for (const rest of hopsFrom(to, most - 1, before)) all.push([{ before, to }, ...rest]);
  return all;
};

const everything = [true, false].flatMap((modseqs) =>
  [paths, paths.toReversed(), [paths[1], paths[2], paths[0]]].flatMap((order) =>
    paths.flatMap((start) => hopsFrom(start, 3).map((hops): Reading => ({ start, hops, modseqs, order }))),
  ),
);

describe("V0: what nobody has looked into", () => {
  /** Read to their ends, and unchanged since, but for what is said of the lane and of the survey of Work. */
  const believed = (
    changed: Partial<MailboxLane>,
    shown: Partial<Survey["mailboxes"][number]> = {},
    rest: Partial<Survey> = {},
  ) => {
    const server = new Server();
    const lanes = paths.map((path) => [path as string as MailboxId, lane(path, server.status(path, true))] as const);
    const mailboxes = new Map(lanes);
    for (const [id, one] of lanes) if (one.path === "Work") mailboxes.set(id, Object.assign(one, changed));
    const listed = paths.map((path) => ({ ...surveyed(path, server.status(path, true)), ...(path === "Work" && shown) }));
    const at = new Date(0);
    const survey = { startedAt: at, endedAt: at, complete: true, mailboxes: listed, ...rest };
    return isConsistentCut({ mailboxes, endpointId: "imap" as EndpointId } as unknown as LaneContext, survey);
  };

  it("may hold what is missed: so that nothing is believed to be gone", () => {
    expect(believed({})).toBe(true);
    expect(believed({}, {}, { complete: false })).toBe(false);
    expect(believed({}, { status: null })).toBe(false);
    expect(believed({}, { path: "Another" })).toBe(false);
    expect(believed({ backfillLow: 2 })).toBe(false);
  });

  it("holds nothing where it cannot be selected, or where all that is not read is held", () => {
    expect(believed({ selectable: false }, { status: null })).toBe(true);
    expect(believed({ backfillLow: 2, held: 1 })).toBe(true);
  });

  it("is every mailbox that is listed with something in it, known or not", () => {
    const server = new Server();
    const unknown = surveyed("Work", server.status("Work", true));
    const mailboxes = new Map([["INBOX" as string as MailboxId, lane("INBOX", server.status("INBOX", true))]]);
    const at = new Date(0);
    const listed = [surveyed("INBOX", server.status("INBOX", true)), unknown];
    const context = { mailboxes, endpointId: "imap" as EndpointId } as unknown as LaneContext;
    expect(isConsistentCut(context, { startedAt: at, endedAt: at, complete: true, mailboxes: listed })).toBe(false);
    const unreadable = [listed[0] as (typeof listed)[0], { ...unknown, selectable: false, status: null }];
    expect(isConsistentCut(context, { startedAt: at, endedAt: at, complete: true, mailboxes: unreadable })).toBe(true);
  });
});

describe("PB15 V0: what two collects that agree have not shown", () => {
  it("is nowhere, however it hopped while they were made", () => {
    const wrong = everything.filter((reading) => {
      const { seen, consistent, where } = read(reading);
      return consistent && !seen && where !== null;
    });
    expect(wrong).toEqual([]);
    expect(everything.length).toBeGreaterThan(10_000);
  });

  it("may be anywhere after one collect, and is believed to be gone when it is", () => {
    const results = everything.map((reading) => ({ reading, ...read(reading) }));
    expect(results.some(({ seen, where }) => !seen && where !== null)).toBe(true);
    const early = results.filter(({ reading, where }) => where === null && reading.hops.every(({ before }) => before === 0));
    expect(early.length).toBeGreaterThan(0);
    expect(early.every(({ seen, consistent }) => !seen && consistent)).toBe(true);
  });
});
