import { afterEach, describe, expect, it, vi } from "vitest";
import type { MailboxObservation } from "../../src/model/observation.ts";
import { believesEmpty } from "../../src/workers/incremental.ts";
import type { MailboxLane } from "../../src/workers/lane-state.ts";

afterEach(() => void vi.useRealTimers());

describe("a mailbox that shows empty (G4)", () => {
  const look = (exists: number, present: readonly number[] | null = []): MailboxObservation =>
    ({ exists, present }) as unknown as MailboxObservation;
  const lane = (bound: number): MailboxLane => ({ bound, emptySince: 0 }) as unknown as MailboxLane;

  it("is believed a minute after it was first seen so, and not where it showed something in between", () => {
    vi.useFakeTimers({ now: 1_000_000 });
    const mailbox = lane(3);
    const after = (ms: number, exists = 0): boolean => {
      vi.advanceTimersByTime(ms);
      return believesEmpty(mailbox, look(exists));
    };
    expect([after(0), after(59_000), after(0, 1), after(0), after(59_999), after(1)]).toEqual([
      false,
      false,
      true,
      false,
      false,
      true,
    ]);
  });

  it("is believed at once where it held nothing", () => {
    expect(believesEmpty(lane(0), look(0))).toBe(true);
  });
});
