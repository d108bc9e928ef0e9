/** A mass of items that a maildrop no longer shows, where the policy would remove them (B1). */
import { describe, expect, it } from "vitest";
import { defaultPolicy } from "../../src/model/account.ts";
import type { EndpointId, MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import { type GoneInput, reconcileGone } from "../../src/reconciler/maildrop-vanish.ts";

const inbox = "inbox" as MailboxId;

const input = (count: number, more: Partial<GoneInput>): GoneInput => ({
  scope: { endpointId: "pop3" as EndpointId, mailboxId: inbox, epoch: 1 },
  gone: Array.from({ length: count }, (_, n) => ({
    placement: {
      id: `p${n}` as PlacementId,
      messageId: `m${n}` as MessageId,
      mailboxId: inbox,
      keywords: [],
      lifecycle: "live" as const,
      kept: false,
      absent: false,
      receivedAt: 0,
      binding: null,
    },
    imap: "none" as const,
    restorable: true,
  })),
  policy: { ...defaultPolicy, onPop3Drain: "mirror" },
  pop3Devices: "unknown",
  bound: count,
  outsideWindow: false,
  doubtful: false,
  unwell: false,
  lately: { mailbox: 0, account: { candidates: 0, live: 1_000_000 } },
  hold: "none",
  ...more,
});

const outcome = (wanted: GoneInput): unknown => {
  const { held, placements } = reconcileGone(wanted);
  return { held, became: [...new Set(placements.map(({ lifecycle, kept, reason }) => `${lifecycle} ${kept} ${reason}`))] };
};

describe("mail that a maildrop alone showed and somebody took", () => {
  it("V18: is kept, and put back over IMAP only where that is wanted and possible", () => {
    const policy = { ...defaultPolicy, onPop3Drain: "restore" as const };
    const both = input(2, { policy });
    const gone = both.gone.map((item, index) => ({ ...item, restorable: index === 0 }));
    const { commands, placements, changes, ended } = reconcileGone({ ...both, gone });
    expect(commands).toEqual([{ placementId: "p0", verb: "append", args: {}, reason: "restored_after_drain" }]);
    expect(placements.map(({ lifecycle, kept }) => [lifecycle, kept])).toEqual([
      ["live", true],
      ["live", true],
    ]);
    expect(changes.map(({ kind, reason }) => [kind, reason])).toEqual([
      ["message.kept", "pop3_drain"],
      ["message.kept", "pop3_drain"],
    ]);
    expect(ended).toHaveLength(2);
    expect(reconcileGone({ ...both, policy: defaultPolicy }).commands).toEqual([]);
  });
});

describe("a maildrop whose mail is gone", () => {
  it("is mirrored by the mail, and held by the mass", () => {
    expect(outcome(input(9, {}))).toEqual({ held: 0, became: ["removed false pop3_drain"] });
    expect(outcome(input(20, {}))).toEqual({ held: 20, became: [] });
  });

  it("K9: has nothing to say of what IMAP shows, and loses no mass with it", () => {
    const { gone } = input(20, {});
    const shown = gone.map((item, index) => ({ ...item, imap: index < 15 ? ("present" as const) : item.imap }));
    expect(outcome(input(20, { gone: shown }))).toEqual({ held: 0, became: ["removed false pop3_drain"] });
  });

  it("B2: is held by half the mass where the server was not well or the views of the account disagree", () => {
    expect(outcome(input(5, { unwell: true }))).toEqual({ held: 5, became: [] });
    expect(outcome(input(4, { unwell: true }))).toEqual({ held: 0, became: ["removed false pop3_drain"] });
    expect(outcome(input(10, { bound: 60, unwell: true }))).toEqual({ held: 10, became: [] });
    expect(outcome(input(10, { bound: 60 }))).toEqual({ held: 0, became: ["removed false pop3_drain"] });
  });

  it("stays held while new mail makes the mass a smaller part", () => {
    expect(outcome(input(20, { bound: 500, hold: "held" }))).toEqual({ held: 20, became: [] });
  });

  it("is kept, and never removed, once the hold has lasted", () => {
    expect(outcome(input(20, { hold: "released" }))).toEqual({ held: 0, became: ["live true mass_vanish_released"] });
  });

  it("is held whatever its size while the listing shows nothing that can be read", () => {
    expect(outcome(input(2, { doubtful: true }))).toEqual({ held: 2, became: [] });
    expect(outcome(input(2, { doubtful: true, policy: defaultPolicy }))).toEqual({ held: 2, became: [] });
  });
});
