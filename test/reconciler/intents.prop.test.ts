/** PB1 and PB2 for what devices send over the API. A failure names its seed and path; SEED plays one again. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { MailboxId, MessageId } from "../../src/model/ids.ts";
import type { MailOp } from "../../src/model/intent.ts";
import { IntentWorld, mailboxes, type Sent } from "../support/intent-world.ts";

const seed = Number(process.env["SEED"] ?? Date.now() % 2 ** 31);
console.info(`seed ${seed}`);
const numRuns = Number(process.env["RUNS"] ?? 2_000);

const messages = ["m1", "m2"] as MessageId[];
const words = ["$seen", "$flagged", "$junk", "$notjunk", "$mdnsent", "project"];
const places = Object.values(mailboxes);

const keywordOp = fc.record({
  op: fc.constant("patch" as const),
  messageId: fc.constantFrom(...messages),
  keywords: fc.dictionary(fc.constantFrom(...words), fc.boolean(), { minKeys: 1, maxKeys: 2 }),
  mailboxIds: fc.constant({}),
});
const moveOp = fc.record({
  op: fc.constant("move" as const),
  messageId: fc.constantFrom(...messages),
  to: fc.constantFrom(...places),
});
const trashOp = fc.record({ op: fc.constant("delete" as const), messageId: fc.constantFrom(...messages) });
const anyOp = fc.oneof({ weight: 3, arbitrary: keywordOp }, { weight: 2, arbitrary: moveOp }, trashOp);
type Wish = typeof anyOp extends fc.Arbitrary<infer T> ? T : never;

/** What a device sends, from where it takes the mail to be. */
const toOps = (wishes: readonly Wish[]): MailOp[] => {
  const at = new Map<MessageId, MailboxId>();
  return wishes.map((wish) => {
    const from = at.get(wish.messageId) ?? mailboxes.inbox;
    if (wish.op === "delete") at.set(wish.messageId, mailboxes.trash);
    if (wish.op !== "move") return wish;
    at.set(wish.messageId, wish.to);
    const mailboxIds = (wish.to === from ? {} : { [from]: false, [wish.to]: true }) as Record<MailboxId, boolean>;
    return { op: "patch", messageId: wish.messageId, keywords: {}, mailboxIds };
  });
};

const observation = fc.oneof(
  fc.record({ kind: fc.constant("flags" as const), index: fc.nat(1), keywords: fc.subarray(words) }),
  fc.record({ kind: fc.constant("move" as const), index: fc.nat(1), mailboxId: fc.constantFrom(...places) }),
  fc.record({ kind: fc.constant("expunge" as const), index: fc.nat(1) }),
);

const start = fc.record({ keywords: fc.subarray(words), observations: fc.array(observation, { maxLength: 3 }) });
type Start = typeof start extends fc.Arbitrary<infer T> ? T : never;

const begin = ({ keywords, observations }: Start): { world: IntentWorld; base: bigint } => {
  const world = new IntentWorld();
  for (const message of messages)
    world.add(
      message,
      mailboxes.inbox,
      keywords.filter((word) => word !== "$notjunk"),
    );
  const base = world.head;
  for (const { index, kind, ...to } of observations) world.observe(index, kind, to);
  return { world, base };
};

/** What each device sends, in its order; the choices say who comes next. */
const deal = (queues: readonly (readonly Sent[])[], choices: readonly number[]): Sent[] => {
  const left = queues.map((queue) => [...queue]);
  const order: Sent[] = [];
  for (let turn = 0; left.some((queue) => queue.length > 0); turn += 1) {
    const open = left.filter((queue) => queue.length > 0);
    order.push(open[(choices[turn % choices.length] ?? 0) % open.length]?.shift() as Sent);
  }
  return order;
};

const offline = (wishes: readonly (readonly Wish[])[], base: bigint): Sent[][] =>
  wishes.map((queue, device) => toOps(queue).map((op, at) => ({ opId: `${device}/${at}`, device: `A${device}`, base, op })));

const queues = fc.array(fc.array(anyOp, { minLength: 1, maxLength: 3 }), { minLength: 2, maxLength: 3 });
const choices = fc.array(fc.nat(5), { minLength: 1, maxLength: 9 });

describe("operations of devices that did not know of each other", () => {
  test("PB1 coming twice, at any time, change nothing and have their first result", () => {
    fc.assert(
      fc.property(start, queues, choices, fc.array(fc.nat(20), { maxLength: 6 }), (first, ops, chosen, again) => {
        const { world, base } = begin(first);
        const once = begin(first).world;
        const sent = deal(offline(ops, base), chosen);
        for (const [at, one] of sent.entries()) {
          const result = world.ingest(one);
          expect(once.ingest(one)).toEqual(result);
          for (const pick of again) {
            const earlier = sent[pick % (at + 1)] as Sent;
            const { head } = world;
            world.ingest(earlier);
            expect(world.head).toBe(head);
          }
        }
        expect(world.dump()).toEqual(once.dump());
      }),
      { seed, numRuns },
    );
  });

  test("PB2 leave the same in every order, but for ties of places, which are told (P4, P5)", () => {
    let ties = 0;
    fc.assert(
      fc.property(start, queues, choices, choices, (first, ops, one, other) => {
        const run = (chosen: readonly number[]): IntentWorld => {
          const { world, base } = begin(first);
          for (const sent of deal(offline(ops, base), chosen)) world.ingest(sent);
          return world;
        };
        const [a, b] = [run(one), run(other)];
        if (a.conflicts("P4", "P5") + b.conflicts("P4", "P5") === 0) {
          expect(a.dump()).toEqual(b.dump());
          return;
        }
        ties += 1;
        // Who ties over a place does not tie over keywords.
        const keywords = (world: IntentWorld) => world.placements.map((placement) => [placement.id, placement.keywords]);
        expect(keywords(a)).toEqual(keywords(b));
      }),
      { seed, numRuns },
    );
    expect(ties).toBeLessThan(numRuns / 2);
  });

  test("every result is one of four, and what is not superseded stands when it is told", () => {
    fc.assert(
      fc.property(start, queues, choices, (first, ops, chosen) => {
        const { world, base } = begin(first);
        for (const sent of deal(offline(ops, base), chosen)) {
          const { status } = world.ingest(sent);
          const { op } = sent;
          // The only wish here that contradicts itself, whatever the state.
          const contradicts = op.op === "patch" && op.keywords["$junk"] === true && op.keywords["$notjunk"] === true;
          expect(contradicts ? ["rejected"] : ["applied", "superseded"]).toContain(status);
          if (status !== "applied" || op.op !== "patch" || Object.keys(op.keywords).length !== 1) continue;
          const [[word, wanted]] = Object.entries(op.keywords) as [[string, boolean]];
          const live = world.placements.filter((one) => one.messageId === op.messageId);
          expect(live.some(({ keywords }) => keywords.includes(word) === wanted)).toBe(true);
        }
      }),
      { seed, numRuns },
    );
  });

  test("the log alone gives the state back (PB13)", () => {
    fc.assert(
      fc.property(start, queues, choices, (first, ops, chosen) => {
        const { world, base } = begin(first);
        const replayed = new Map(
          begin({ ...first, observations: [] }).world.placements.map((one) => [
            one.id,
            { mailboxId: one.mailboxId, keywords: one.keywords, live: true, kept: one.kept },
          ]),
        );
        for (const sent of deal(offline(ops, base), chosen)) world.ingest(sent);
        for (const { kind, placementId, after } of world.log) {
          const one = placementId === null ? undefined : replayed.get(placementId);
          if (one === undefined || kind === "conflict.resolved") continue;
          const live = kind === "message.removed" ? false : kind === "message.restored" ? true : one.live;
          const stays = kind === "message.keywords" ? one.kept : false;
          replayed.set(placementId as never, { ...one, kept: stays, ...(after as object), live });
        }
        for (const { id, mailboxId, keywords, lifecycle, kept } of world.placements)
          expect(replayed.get(id)).toEqual({ mailboxId, keywords, live: lifecycle === "live", kept });
      }),
      { seed, numRuns },
    );
  });
});
