import { getEventListeners } from "node:events";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { withDeadline } from "../../src/endpoints/deadline.ts";
import { SyncError } from "../../src/model/failure.ts";

const never = (): Promise<string> => new Promise(() => undefined);
const failing = async (): Promise<string> => {
  throw new Error("own fault");
};

describe("withDeadline", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => {
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });

  it("gives what the operation gives and leaves no timer and no listener", async () => {
    const { signal } = new AbortController();
    await expect(
      withDeadline(
        async () => 7,
        1000,
        signal,
        () => expect.unreachable(),
      ),
    ).resolves.toBe(7);
    await expect(withDeadline(failing, 1000, signal, () => expect.unreachable())).rejects.toThrow("own fault");
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  it("says in plain words that the server was too slow, and ends the operation", async () => {
    const { signal } = new AbortController();
    const onExpiry = vi.fn();
    const waiting = withDeadline(never, 30_000, signal, onExpiry);
    const outcome = expect(waiting).rejects.toMatchObject({
      kind: "transient",
      scope: "endpoint",
      code: "endpoint_timeout",
      message: "The mail server did not answer within 30 seconds.",
    });
    await vi.advanceTimersByTimeAsync(29_999);
    expect(onExpiry).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    await outcome;
    expect(onExpiry).toHaveBeenCalledOnce();
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  it("settles at once when it is stopped, with the signal's own reason where that is one of ours", async () => {
    const stop = new AbortController();
    const waiting = withDeadline(never, 1000, stop.signal, () => expect.unreachable());
    stop.abort();
    await expect(waiting).rejects.toMatchObject({ kind: "stopped", code: "stopped" });

    const reason = new SyncError("transient", "endpoint", { code: "endpoint_closed", message: "Gone.", action: "Wait." });
    await expect(withDeadline(never, 1000, AbortSignal.abort(reason), () => expect.unreachable())).rejects.toBe(reason);
  });

  it("does not begin what is stopped already", async () => {
    const operation = vi.fn(never);
    await expect(withDeadline(operation, 1000, AbortSignal.abort(), () => undefined)).rejects.toMatchObject({ code: "stopped" });
    expect(operation).not.toHaveBeenCalled();
  });

  it("drops an error that comes after the deadline", async () => {
    const { signal } = new AbortController();
    let fail = (_: Error): void => undefined;
    const operation = () => new Promise<string>((_, reject) => (fail = reject));
    const outcome = expect(withDeadline(operation, 10, signal, () => fail(new Error("late")))).rejects.toMatchObject({
      code: "endpoint_timeout",
    });
    await vi.advanceTimersByTimeAsync(10);
    await outcome;
  });
});
