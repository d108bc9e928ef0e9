/** Names that a server takes for one, because they differ in case only (D11). */
import { describe, expect, it } from "vitest";
import type { EndpointId, MailboxId } from "../../src/model/ids.ts";
import { mergeMailbox } from "../../src/reconciler/mailbox-merge.ts";
import { type MailboxCommandView, nextMailboxStep } from "../../src/reconciler/mailbox-plan.ts";
import { reconcileSurvey } from "../../src/reconciler/mailboxes.ts";
import type { MailboxView } from "../../src/reconciler/state.ts";

const at = (path: string): NonNullable<MailboxView["upstream"]> => ({
  path,
  delimiter: "/",
  selectable: true,
  objectId: null,
  uidValidity: 1,
  uidNext: 2,
  absentSince: null,
});
const box = (name: string, rest: Partial<MailboxView> = {}): MailboxView => ({
  id: name as MailboxId,
  name,
  parentId: null,
  role: null,
  roleSource: null,
  subscribed: true,
  changedSeq: 1n,
  pending: null,
  upstream: at(name),
  ...rest,
});
const inbox = box("INBOX", { role: "inbox", roleSource: "special_use" });
const fence = { step: "create", path: "proj", from: null, uidValidity: null, exists: true } as const;
const made = box("proj", { upstream: null, pending: { verb: "place", at: 1, deviceId: "d", fence } });
const there = box("Proj");

describe("a name that the server says it has", () => {
  const next = (known: readonly MailboxView[], rest: Partial<MailboxCommandView> = {}) => {
    const command = { mailboxId: made.id, verb: "place", status: "sent", attempts: 1, fence, args: {}, ...rest } as const;
    return nextMailboxStep(command, { known, prefix: "", holds: 0, busy: false });
  };

  it("D11: is that of the mailbox that is listed in another case, if it can be that one", () => {
    expect(next([inbox, made, there])).toEqual({ kind: "merge", into: there });
    const cases = [{ selectable: false }, { absentSince: 1 }, { path: "Other" }];
    for (const upstream of cases)
      expect(next([inbox, made, { ...there, upstream: { ...at("Proj"), ...upstream } }])).toMatchObject({ kind: "number" });
    const leaving = { ...there, pending: { verb: "remove", at: 1, deviceId: null, fence: null } } as const;
    expect(next([inbox, made, leaving])).toMatchObject({ kind: "wait", outcome: "name_in_use" });
    expect(next([inbox, made, leaving], { attempts: 10 })).toMatchObject({ kind: "end", status: "failed" });
  });

  it("D11: makes no one of two that are there, and gives its own name back to one", () => {
    const rename = { ...fence, step: "rename", from: "Work" } as const;
    expect(next([inbox, { ...made, upstream: at("Work") }, there], { fence: rename })).toEqual({
      kind: "number",
      name: "proj (2)",
    });
    expect(next([inbox, { ...made, upstream: at("Proj") }], { fence: rename })).toEqual({ kind: "adopt", name: "Proj" });
    const below = { ...made, parentId: there.id, upstream: at("Proj/Sub"), name: "sub" };
    expect(next([inbox, there, below], { fence: { ...rename, path: "Proj/sub" } })).toEqual({ kind: "adopt", name: "Sub" });
  });
});

describe("a mailbox that ends in another", () => {
  const sub = box("Sub", { parentId: made.id, upstream: null });

  it("D11: leaves it what lies below, numbered where it has one of that name, and its role", () => {
    const old = box("sub", { id: "old" as MailboxId, parentId: there.id });
    const view = { ...made, role: "archive", roleSource: "api" } as const;
    const { mailboxes, changes, upstream, gone } = mergeMailbox({
      view,
      into: there,
      known: [inbox, view, there, sub, old],
      deviceId: "d",
    });
    expect([upstream, gone]).toEqual([[], []]);
    expect(mailboxes).toMatchObject([
      { id: "Sub", name: "Sub (2)", parentId: "Proj", lifecycle: "live", change: 0 },
      { id: "Proj", name: "Proj", parentId: null, role: "archive", roleSource: "api", lifecycle: "live", change: 1 },
      { id: "proj", role: null, lifecycle: "removed", change: 2 },
    ]);
    expect(changes.map(({ kind, mailboxId, rule }) => `${kind} ${mailboxId} ${rule}`)).toEqual([
      "mailbox.renamed Sub D11",
      "mailbox.renamed Proj D11",
      "mailbox.removed proj D11",
    ]);
    for (const { reason, deviceId, evidence } of changes)
      expect([reason, deviceId, evidence]).toMatchObject(["same_to_server", "d", [{ mailboxId: "Proj" }]]);
  });

  it("D11: takes no role from the one that stays", () => {
    const into = { ...there, role: "sent", roleSource: "special_use" } as const;
    const view = { ...made, role: "archive", roleSource: "api" } as const;
    const { mailboxes } = mergeMailbox({ view, into, known: [inbox, view, into], deviceId: null });
    expect(mailboxes.map(({ id, lifecycle }) => `${id} ${lifecycle}`)).toEqual(["proj removed"]);
  });
});

describe("a listing", () => {
  const listed = (path: string, known: readonly MailboxView[]) =>
    reconcileSurvey({
      endpointId: "e" as EndpointId,
      complete: true,
      surveyed: ["INBOX", path].map((one) => ({
        path: one,
        delimiter: "/",
        selectable: true,
        subscribed: true,
        role: one === "INBOX" ? "inbox" : null,
        roleSource: one === "INBOX" ? "special_use" : null,
        objectId: null,
        status: { messages: 0, uidNext: 1, uidValidity: one.length, unseen: 0, highestModseq: null },
        statusError: null,
      })),
      known,
      replaced: [],
      proven: [],
      answering: [],
      at: 5,
      freshIds: ["n1", "n2", "n3", "n4"],
    });

  it("D11: shows what was asked for in the server's case where nobody has that yet", () => {
    const { mailboxes, upstream, changes } = listed("Proj", [inbox, made]);
    expect(mailboxes).toMatchObject([{ id: "proj", created: false, name: "Proj" }]);
    expect(upstream).toMatchObject([{ mailboxId: "proj", path: "Proj" }]);
    expect(changes.map(({ kind, reason, rule }) => `${kind} ${reason} ${rule}`)).toEqual([
      "mailbox.renamed same_to_server D11",
      "conflict.resolved same_to_server D11",
    ]);
  });

  it("D11: shows another mailbox where the server did not say so, or the name is wanted no more", () => {
    const { exists: _, ...unsaid } = fence;
    const silent = { ...made, pending: { verb: "place", at: 1, deviceId: "d", fence: unsaid } } as const;
    expect(listed("Proj", [inbox, silent]).mailboxes).toMatchObject([{ created: true, name: "Proj" }]);
    const renamed = { ...made, name: "Other" };
    expect(listed("Proj", [inbox, renamed])).toMatchObject({ mailboxes: [], upstream: [{ mailboxId: "proj", path: "Proj" }] });
  });
});
