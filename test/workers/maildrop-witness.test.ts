/** How the IMAP side of a lane asks the maildrop, and when it has its answer (V4). */
import { describe, expect, it } from "vitest";
import type { SyncState } from "../../src/model/account.ts";
import type { EndpointId, PlacementId } from "../../src/model/ids.ts";
import { type AskedItem, MaildropWitness, testify } from "../../src/workers/maildrop-witness.ts";

const minute = 60_000;
const now = Date.now();
const item = (key: string, absentSince = now) => ({ placementId: key as PlacementId, key, absentSince, disputed: false });
const witness = (state: SyncState = "live") => new MaildropWitness(() => ({ endpointId: "pop3" as EndpointId, state }));

const ask = (one: MaildropWitness, items: readonly AskedItem[], at: number): ReturnType<typeof testify> => {
  const answers = testify(one.testimony, items, at);
  one.ask(items);
  return answers;
};

describe("what the maildrop is asked", () => {
  it("is answered by a session that began after the absence, and news once", () => {
    const asked = witness();
    expect([...ask(asked, [item("a"), item("b")], now).values()]).toEqual(["awaited", "awaited"]);
    asked.hear(now, new Set(["a"]));
    expect([asked.isWanted, asked.takeNews()]).toEqual([true, false]);
    asked.hear(now + 1, new Set(["a"]));
    expect([asked.isWanted, asked.takeNews(), asked.takeNews()]).toEqual([false, true, false]);
    expect([...ask(asked, [item("a"), item("b")], now + 2).values()]).toEqual(["shown", "lacking"]);
    // As before is no news, so that a lane is not run for it.
    asked.hear(now + 3, new Set(["a"]));
    expect(asked.takeNews()).toBe(false);
    asked.hear(now + 4, new Set());
    expect(asked.takeNews()).toBe(true);
  });

  it("is forgotten when it is not asked any more", () => {
    const asked = witness();
    ask(asked, [item("a")], now);
    asked.hear(now + 1, new Set(["a"]));
    ask(asked, [], now);
    expect(asked.isWanted).toBe(false);
    expect([...ask(asked, [item("a")], now).values()]).toEqual(["awaited"]);
  });

  it("is not waited for beyond ten minutes of asking, nor where nobody logs in", () => {
    const old = now - 600 * minute;
    for (const [state, late, answer] of [
      ["live", 9, "awaited"],
      ["connecting", 9, "awaited"],
      ["connecting", 11, "unheard"],
      ["needs_reauth", 0, "unheard"],
      ["needs_attention", 0, "unheard"],
    ] as const)
      expect([...ask(witness(state), [item("a", old)], now + late * minute).values()]).toEqual([answer]);
  });
});
