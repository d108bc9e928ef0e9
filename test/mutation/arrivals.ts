/** Rules on where mail that arrives came from, and on what went before anybody saw it. */
import { type Mutant, mutantsOf } from "./mutant.ts";

export const arrivals: readonly Mutant[] = [
  ...mutantsOf(
    "workers/commit.ts",
    ["simulation/found-arrivals.test.ts: before it was seen there"],
    [
      [
        "V20",
        "what we put there and what went unseen is no loss",
        "look.unheard == null ? 0 : await missUnseen(account, scope, look.unheard)",
        "0",
      ],
    ],
  ),
  ...mutantsOf(
    "workers/stub-reads.ts",
    ["simulation/found-arrivals.test.ts: gives late"],
    [
      [
        "ID-5a",
        "what is given late came from nowhere",
        "await missSourcesOf(context, look, mailbox, { items: [item], contents: [content] })",
        "false",
      ],
    ],
  ),
  ...mutantsOf(
    "workers/moves.ts",
    ["simulation/found-arrivals.test.ts: seen where it was moved"],
    [
      [
        "ID-5a",
        "what may have been moved is not missed where it was",
        "followed.missing = (await missSources(context, { session, signal }, mailbox, [...views.values()])) || followed.missing;",
        "",
      ],
    ],
  ),
  ...mutantsOf(
    "workers/sources.ts",
    ["simulation/found-arrivals.test.ts: read for the first time"],
    [["ID-5a", "what is being read has all it had", "return backfillDone(asked.source) ?", "return true ?"]],
  ),
  ...mutantsOf(
    "workers/pass.ts",
    ["simulation/found-arrivals.test.ts: given late came is decided"],
    [
      [
        "V0",
        "what is missed by what is given late waits for ever",
        "return { candidates: missing, created: 0 };",
        "return { candidates: missing && false, created: 0 };",
      ],
    ],
  ),
  ...mutantsOf(
    "workers/unseen-placings.ts",
    ["workers/unseen-placings.pg.test.ts"],
    [
      ["C3", "what is there in another form is missed", "|| (await mayBeShown(account, scope, one))", ""],
      ["F11", "what was put there had no flags", "flags: fence.said?.flags ?? [],", "flags: [],"],
      ["C3", "what nobody heard of is missed", "(fence.answered === true || asked.includes(placement.id)) &&", ""],
    ],
  ),
  ...mutantsOf(
    "workers/unseen-placings.ts",
    ["simulation/found-arrivals.test.ts: what an app says of what was put"],
    [
      [
        "P2",
        "what is wanted of what was put is done when it was there",
        "if (opId !== null) await planIntent",
        'if (opId === "") await planIntent',
      ],
    ],
  ),
  ...mutantsOf(
    "workers/unseen-placings.ts",
    ["simulation/found-arrivals.test.ts: of which nobody heard"],
    [
      [
        "C9",
        "what nobody heard of is not what is seen elsewhere",
        "(fence.answered === true || asked.includes(placement.id))",
        "fence.answered === true",
      ],
    ],
  ),
  ...mutantsOf(
    "workers/put-back.ts",
    ["simulation/found-arrivals.test.ts: is missed after a crash"],
    [["V20", "no listing is asked for what looks passed over", "const isUnlisted = next", "const isUnlisted = false && next"]],
  ),
];
