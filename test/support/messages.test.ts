import { describe, expect, it } from "vitest";
import { makeMessages } from "./messages.ts";

describe("made messages", () => {
  it("are the same octets for the same seed, and others for another", () => {
    const raws = (seed: number): Buffer[] => [...makeMessages({ count: 50, seed })].map((message) => message.raw);
    expect(raws(7)).toEqual(raws(7));
    expect(raws(7)).not.toEqual(raws(8));
  });

  it("have the mean size that was wished for", () => {
    let bytes = 0;
    for (const { raw } of makeMessages({ count: 3000, meanBytes: 8000 })) bytes += raw.length;
    expect(bytes / 3000).toBeGreaterThan(6500);
    expect(bytes / 3000).toBeLessThan(9500);
  });

  it("end every line in CRLF and begin with a header block", () => {
    for (const { raw } of makeMessages({ count: 500 })) {
      expect(raw.toString("latin1")).not.toMatch(/(?<!\r)\n|\r(?!\n)/);
      expect(raw.toString("latin1")).toMatch(/^[A-Za-z-]+:[\s\S]*\r\n\r\n/);
    }
  });

  it("are of the kinds that were wished for", () => {
    expect(new Set([...makeMessages({ count: 20, kinds: ["attachment"] })].map((message) => message.kind))).toEqual(
      new Set(["attachment"]),
    );
  });
});
