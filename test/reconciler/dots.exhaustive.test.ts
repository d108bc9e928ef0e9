/**
 * PB14: what intents make of keywords is what the dots of semantics 1.2 say, for every history of up to four assertions of up to
 * three devices; and no order of arrival in which every device had seen the same makes another keyword.
 */
import { describe, expect, test } from "vitest";
import { mergeSaid, type SaidKeywords } from "../../src/reconciler/intent-keywords.ts";

type RegisterValue = "set" | "clear" | "none" | "junk" | "notjunk";

interface Said {
  readonly device: number;
  readonly patch: Readonly<Record<string, boolean>>;
  readonly value: RegisterValue;
}

/** One assertion as it arrives; `base`: the last change that its device had seen. */
interface Arrival extends Said {
  readonly base: bigint;
}

interface World {
  readonly keywords: readonly string[];
  readonly head: bigint;
  readonly said: readonly SaidKeywords[];
}

/** What the store hands over: only what was said since the base. */
const arrive = ({ keywords, head, said }: World, { device, patch, base }: Arrival): World => {
  const speaker = { deviceId: String(device), base, seq: head + 1n };
  const since = said.filter(({ seq, silent }) => seq > base || (seq === base && silent));
  const merged = mergeSaid(keywords, patch, speaker, { seen: [], said: since });
  const changed = merged.keywords.join() !== keywords.join();
  const changes = (changed ? 1 : 0) + merged.lost.length;
  const seq = head + BigInt(changes);
  const entry = { seq, silent: changes === 0, deviceId: String(device), base, keywords: patch };
  return { keywords: merged.keywords, head: seq, said: [...said, entry] };
};

interface Case {
  readonly register: string;
  /** Strongest first (3.1). */
  readonly bias: readonly RegisterValue[];
  readonly words: Readonly<Partial<Record<RegisterValue, readonly string[]>>>;
  readonly patches: readonly (readonly [RegisterValue, Readonly<Record<string, boolean>>])[];
  readonly most: number;
  /** Its patches name a part of the register, for which 1.2 has no word: only the orders are compared. */
  readonly partly?: true;
}

const boolean = (register: string, bias: readonly RegisterValue[]): Case => ({
  register,
  bias,
  words: { set: [register], clear: [] },
  patches: [
    ["set", { [register]: true }],
    ["clear", { [register]: false }],
  ],
  most: 4,
});

const cases: readonly Case[] = [
  boolean("$flagged", ["set", "clear"]),
  boolean("$seen", ["clear", "set"]),
  {
    register: "$junk",
    bias: ["notjunk", "junk", "none"],
    words: { none: [], junk: ["$junk"], notjunk: ["$notjunk"] },
    patches: [
      ["none", { $junk: false, $notjunk: false }],
      ["junk", { $junk: true, $notjunk: false }],
      ["notjunk", { $junk: false, $notjunk: true }],
    ],
    most: 3,
  },
  {
    register: "$junk, of which one word is named",
    bias: [],
    words: { none: [], junk: ["$junk"], notjunk: ["$notjunk"] },
    patches: [
      ["junk", { $junk: true }],
      ["notjunk", { $notjunk: true }],
      ["none", { $junk: false }],
      ["none", { $notjunk: false }],
    ],
    most: 3,
    partly: true,
  },
];

/** Every sequence of `n` assertions; devices are numbered as they first speak, so that none comes twice under other names. */
function* sequences(one: Case, n: number): Generator<readonly Said[]> {
  if (n === 0) {
    yield [];
    return;
  }
  for (const before of sequences(one, n - 1)) {
    const devices = Math.min(3, Math.max(0, ...before.map(({ device }) => device + 1)) + 1);
    for (let device = 0; device < devices; device += 1)
      for (const [value, patch] of one.patches) yield [...before, { device, patch, value }];
  }
}

/** Every choice of what each had seen, as it arrives. */
function* histories(world: World, rest: readonly Said[]): Generator<readonly Arrival[]> {
  const [first, ...others] = rest;
  if (first === undefined) {
    yield [];
    return;
  }
  for (let base = 0n; base <= world.head; base += 1n) {
    const arrival = { ...first, base };
    for (const later of histories(arrive(world, arrival), others)) yield [arrival, ...later];
  }
}

const permutations = (n: number): number[][] =>
  n === 0 ? [[]] : permutations(n - 1).flatMap((rest) => Array.from({ length: n }, (_, at) => rest.toSpliced(at, 0, n - 1)));
const orders = new Map([1, 2, 3, 4].map((n) => [n, permutations(n)]));

/** Which of the others an arrival had seen, by their places in the history. */
const seenBy = (world: World, base: bigint): Set<number> =>
  new Set(world.said.flatMap(({ seq, silent }, index) => (seq < base || (seq === base && !silent) ? [index] : [])));

/** The keywords after the assertions came in another order, each of whom had seen the same; null: no device could have. */
const inOrder = (start: World, history: readonly Arrival[], seen: readonly ReadonlySet<number>[], order: readonly number[]) => {
  let world = start;
  const came: number[] = [];
  for (const index of order) {
    const arrival = history[index] as Arrival;
    const own = came.filter((other) => history[other]?.device === arrival.device);
    if (history.some(({ device }, other) => device === arrival.device && other < index && !came.includes(other))) return null;
    const wanted = [...(seen[index] ?? [])].filter((other) => history[other]?.device !== arrival.device).sort();
    let found: bigint | null = null;
    for (let base = 0n; base <= world.head && found === null; base += 1n) {
      const visible = [...seenBy(world, base)].map((place) => came[place] as number).filter((other) => !own.includes(other));
      if (visible.sort().join() === wanted.join()) found = base;
    }
    if (found === null) return null;
    world = arrive(world, { ...arrival, base: found });
    came.push(index);
  }
  return world.keywords.join();
};

/** Semantics 1.2, read literally: a dot for each assertion, at the place where the log has it or could have it. */
const reference = (one: Case, initial: RegisterValue, start: World, history: readonly Arrival[]): string[] => {
  let dots = [{ value: initial, seq: 0, device: -1 }];
  let world = start;
  return history.map((arrival) => {
    dots = dots.filter(({ seq, device }) => seq > Number(arrival.base) && device !== arrival.device);
    world = arrive(world, arrival);
    const last = world.said.at(-1);
    dots.push({ value: arrival.value, seq: Number(last?.seq) + (last?.silent === true ? 0.5 : 0), device: arrival.device });
    const value = one.bias.find((word) => dots.some((dot) => dot.value === word)) ?? initial;
    return (one.words[value] ?? []).join();
  });
};

describe("PB14 a register", () => {
  test.each(cases)(
    "$register",
    (one) => {
      let counted = 0;
      let reordered = 0;
      for (const [initial, words = []] of Object.entries(one.words) as [RegisterValue, readonly string[]][]) {
        const start: World = { keywords: words, head: 0n, said: [] };
        for (let n = 1; n <= one.most; n += 1)
          for (const sequence of sequences(one, n))
            for (const history of histories(start, sequence)) {
              counted += 1;
              const seen: Set<number>[] = [];
              const after: string[] = [];
              let world = start;
              for (const arrival of history) {
                seen.push(seenBy(world, arrival.base));
                world = arrive(world, arrival);
                after.push(world.keywords.join());
              }
              if (one.partly !== true && after.join("|") !== reference(one, initial, start, history).join("|"))
                expect.fail(`not what the dots say: ${initial} ${describeHistory(history)} → ${after.join(" | ")}`);
              for (const order of orders.get(n) ?? []) {
                const other = inOrder(start, history, seen, order);
                if (other === null) continue;
                reordered += 1;
                if (other !== after.at(-1))
                  expect.fail(`${initial} ${describeHistory(history)} in order ${order.join()}: ${other}`);
              }
            }
      }
      console.info(`${one.register}: ${counted} histories, ${reordered} orders of arrival`);
      expect(counted).toBeGreaterThan(1000);
      expect(reordered).toBeGreaterThan(counted);
    },
    120_000,
  );
});

const describeHistory = (history: readonly Arrival[]): string =>
  history.map(({ device, value, base }) => `${value} by ${device} at ${base}`).join(", ");
