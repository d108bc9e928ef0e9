/** Devices of the API beside an IMAP device, each with its own knowledge of the account: keywords, places, what is destroyed. */
import { describe, expect, it } from "vitest";
import { changesOf, mailboxesOf, messagesOf, type SeenChange } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, waitLive } from "../support/daemon.ts";
import type { Dovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { useGround } from "../support/ground.ts";
import { commandsOf, shadowsOf } from "../support/owed-writes.ts";
import { pop3Account, staysQuiet } from "../support/pop3-account.ts";
import type { FreshDatabase } from "../support/postgres.ts";

let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;

const users = 14;

useGround({ users, pop3: {} }, (ground) => {
  ({ server, fresh, daemon } = ground);
});

const patient = { timeoutMs: 60_000, everyMs: 50 };

interface Written {
  readonly status: string;
  readonly reason: string;
  readonly state: string;
  readonly code?: string;
  readonly warnings?: readonly string[];
}

/** One account with one mail "m" in INBOX, and a mailbox Work. */
class Box {
  readonly n: number;
  readonly id: string;
  private readonly message: string;

  private constructor(n: number, id: string, message: string) {
    this.n = n;
    this.id = id;
    this.message = message;
  }

  static async open(n: number, flags: readonly string[] = []): Promise<Box> {
    {
      await using device = await server.device(n);
      await device.create("Work");
      await device.append("INBOX", { raw: Buffer.from("Subject: m\r\n\r\nm\r\n"), flags });
    }
    const id = await liveAccount(daemon, dovecotAccount(server, n));
    return new Box(n, id, (await messagesOf(daemon, id)).get("m")?.id ?? "");
  }

  get path(): string {
    return `/v1/accounts/${this.id}/messages/${this.message}`;
  }

  async state(): Promise<string> {
    return (await daemon.call<{ state: string }>("GET", `/v1/accounts/${this.id}`)).body.state;
  }

  async send(device: string, base: string | null, method: string, path: string, body?: unknown): Promise<Written> {
    const headers = { "x-device-id": device, ...(base !== null && { "if-match": `"${base}"` }) };
    return (await daemon.call<Written>(method, path, body, headers)).body;
  }

  keywords(device: string, base: string | null, keywords: Record<string, boolean | null>): Promise<Written> {
    return this.send(device, base, "PATCH", this.path, { keywords });
  }

  async move(device: string, base: string | null, from: string, to: string): Promise<Written> {
    const known = await mailboxesOf(daemon, this.id);
    const mailboxIds = { [known.get(from)?.id ?? ""]: null, [known.get(to)?.id ?? ""]: true };
    return this.send(device, base, "PATCH", this.path, { mailboxIds });
  }

  /** Flags of the one item of a mailbox; null: it is not there. */
  async upstream(mailbox = "INBOX"): Promise<string | null> {
    await using device = await server.device(this.n);
    try {
      await device.select(mailbox);
    } catch {
      return null;
    }
    const items = [...(await device.flags()).values()];
    expect(items.length).toBeLessThan(2);
    return (
      items.map((flags) =>
        flags
          .filter((flag) => flag !== "\\Recent")
          .toSorted()
          .join(" "),
      )[0] ?? null
    );
  }

  /** It is in that mailbox and no more in INBOX, with those flags. */
  arrives(mailbox: string, flags: string): Promise<boolean> {
    return this.until<boolean>(`it is in ${mailbox}`, async () => {
      const found = await this.upstream(mailbox);
      return found === flags && (mailbox === "INBOX" || (await this.upstream()) === null);
    });
  }

  async imap(how: "+" | "-", flag: string): Promise<void> {
    await using device = await server.device(this.n);
    await device.select("INBOX");
    await device.store("1:*", how, [flag]);
  }

  /** Slowly, as people do, so that it is seen to be meant (V9). */
  async expunge(): Promise<void> {
    await using device = await server.device(this.n);
    await device.select("INBOX");
    await device.store("1:*", "+", ["\\Deleted"]);
    await this.until("the mark is seen", async () => (await shadowsOf(fresh.url, this.id)).includes("\\Deleted"));
    await device.expunge("1:*");
  }

  until<T>(what: string, look: () => Promise<T | false>): Promise<T> {
    return eventually(what, look, patient);
  }

  change(kind: string, reason?: string): Promise<SeenChange> {
    return this.until(`${kind} ${reason ?? ""}`, async () => {
      const found = (await changesOf(daemon, this.id)).findLast(
        (one) => one.kind === kind && (reason === undefined || one.reason === reason),
      );
      return found ?? false;
    });
  }

  async seen(): Promise<{ readonly in: readonly string[]; readonly keywords: readonly string[] } | null> {
    const found = (await messagesOf(daemon, this.id)).get("m");
    return found === undefined ? null : { in: found.in, keywords: found.keywords };
  }

  /** Nobody looks at the server meanwhile. */
  async whilePaused(work: () => Promise<void>): Promise<void> {
    await daemon.call("POST", `/v1/accounts/${this.id}/pause`);
    await work();
    await daemon.call("POST", `/v1/accounts/${this.id}/resume`);
    await waitLive(daemon, this.id);
  }

  async settled(): Promise<void> {
    await this.until("nothing is owed", async () =>
      (await commandsOf(fresh.url, this.id)).every(({ status }) => !["planned", "sent", "unknown"].includes(status)),
    );
  }
}

describe("keywords", () => {
  it("S38 what is marked unread here becomes so upstream, though polls still show it read", async () => {
    const box = await Box.open(1, ["\\Seen"]);
    expect(await box.keywords("A1", null, { $seen: null })).toMatchObject({ status: "applied", reason: "updated" });
    await box.until("it is unread upstream", async () => (await box.upstream()) === "");
    await box.settled();
    expect(await box.seen()).toEqual({ in: ["INBOX"], keywords: [] });
    const kinds = (await changesOf(daemon, box.id)).filter(({ messageId }) => messageId !== null).map(({ kind }) => kind);
    expect(kinds).toEqual(["message.created", "message.keywords", "write.applied"]);
    await staysQuiet(daemon, box.id, fresh.url);
  });

  it("S39 what is to stay unread does, though an IMAP device read it, which had not seen that", async () => {
    const box = await Box.open(2);
    await box.whilePaused(async () => {
      expect(await box.keywords("A1", await box.state(), { $seen: null })).toMatchObject({
        status: "applied",
        reason: "unchanged",
      });
      await box.imap("+", "\\Seen");
    });
    expect(await box.change("conflict.resolved")).toMatchObject({ rule: "F4", evidence: [{ keyword: "$seen", loser: "set" }] });
    await box.until("it is unread upstream", async () => (await box.upstream()) === "");
    expect(await box.seen()).toEqual({ in: ["INBOX"], keywords: [] });
    // Who reads it now has seen that.
    await box.settled();
    await box.imap("+", "\\Seen");
    await box.until("it is read", async () => (await box.seen())?.keywords.includes("$seen") === true);
    await staysQuiet(daemon, box.id, fresh.url);
    expect(await box.upstream()).toBe("\\Seen");
  });

  it("S43 an answer is a fact, whichever of the two comes first", async () => {
    const box = await Box.open(3);
    const stale = await box.state();
    await box.whilePaused(async () => {
      await box.keywords("A1", stale, { $answered: null });
      await box.imap("+", "\\Answered");
    });
    await box.until("it is answered", async () => (await box.seen())?.keywords.includes("$answered") === true);
    expect(await box.keywords("A2", stale, { $answered: null })).toMatchObject({
      status: "superseded",
      reason: "concurrent_keywords",
    });
    await box.settled();
    expect([await box.seen(), await box.upstream()]).toEqual([{ in: ["INBOX"], keywords: ["$answered"] }, "\\Answered"]);
  });

  it("S42 S41 a star that one device sets and another takes away stays; the same device has its way", async () => {
    const box = await Box.open(4, ["\\Flagged"]);
    const base = await box.state();
    expect(await box.keywords("A1", base, { $flagged: null })).toMatchObject({ status: "applied" });
    expect(await box.keywords("A2", base, { $flagged: true })).toMatchObject({ status: "applied", reason: "updated" });
    await box.settled();
    expect([await box.seen(), await box.upstream()]).toEqual([{ in: ["INBOX"], keywords: ["$flagged"] }, "\\Flagged"]);
    expect(await box.keywords("A2", base, { $flagged: null })).toMatchObject({ status: "applied" });
    await box.until("it has no star upstream", async () => (await box.upstream()) === "");
  });

  it("S49 a keyword is one, however it is spelt", async () => {
    const box = await Box.open(5, ["$Junk"]);
    expect(await box.keywords("A1", null, { $junk: true })).toMatchObject({ status: "applied", reason: "unchanged" });
    expect(await box.keywords("A1", null, { $notjunk: true })).toMatchObject({ status: "applied", reason: "updated" });
    await box.until("upstream has one of the two", async () => /^\$notjunk$/i.test((await box.upstream()) ?? ""));
    expect((await box.seen())?.keywords).toEqual(["$notjunk"]);
  });
});

describe("places", () => {
  it("S73 a move of what an IMAP device expunged: it is where it was moved to", async () => {
    const box = await Box.open(7, ["\\Flagged"]);
    const stale = await box.state();
    await box.expunge();
    await box.change("message.removed", "user_expunge");
    expect(await box.move("A1", stale, "INBOX", "Work")).toMatchObject({ status: "applied", reason: "updated" });
    expect(await box.seen()).toEqual({ in: ["Work"], keywords: ["$flagged"] });
    expect(await box.change("conflict.resolved")).toMatchObject({
      rule: "P2",
      evidence: [{ loser: { mailboxId: null, rank: 2 } }],
    });
  });

  it("S75 both want it gone: it lies in Trash, here only", async () => {
    const box = await Box.open(8);
    const stale = await box.state();
    await box.expunge();
    await box.change("message.removed", "user_expunge");
    expect(await box.send("A1", stale, "DELETE", box.path)).toMatchObject({ status: "applied" });
    const { body } = await daemon.call<{ placements: unknown[] }>("GET", box.path);
    expect(body.placements).toMatchObject([{ state: "kept", sync: "canonical_only", reason: "api_trash" }]);
    await staysQuiet(daemon, box.id, fresh.url);
    expect(await box.upstream()).toBeNull();
  });

  it("S69 a move that had not seen another wins, for it is later", async () => {
    const box = await Box.open(9);
    const stale = await box.state();
    {
      await using device = await server.device(9);
      await device.create("Other");
      await device.select("INBOX");
      await device.move("1:*", "Work");
    }
    await box.change("message.moved", "upstream_move");
    await box.until("Other is known", async () => (await mailboxesOf(daemon, box.id)).has("Other"));
    expect(await box.move("A1", stale, "INBOX", "Other")).toMatchObject({ status: "applied", reason: "updated" });
    expect(await box.change("conflict.resolved")).toMatchObject({ rule: "P4" });
    expect((await box.seen())?.in).toEqual(["Other"]);
    await box.arrives("Other", "");
    expect(await box.upstream("Work")).toBeNull();
  });

  it("S71 a star meets a trash: it lies in Trash with the star", async () => {
    const box = await Box.open(10);
    const stale = await box.state();
    await box.whilePaused(async () => {
      expect(await box.send("A1", stale, "DELETE", box.path)).toMatchObject({ status: "applied" });
      await box.imap("+", "\\Flagged");
    });
    await box.until("it has its star", async () => (await box.seen())?.keywords.includes("$flagged") === true);
    expect((await box.seen())?.in).toEqual(["Trash"]);
    // The server had no Trash.
    await box.arrives("Trash", "\\Flagged");
  });

  it("S86 what is gone upstream is brought back, with its octets", async () => {
    const box = await Box.open(11);
    await box.expunge();
    await box.change("message.removed", "user_expunge");
    expect(await box.send("A1", null, "POST", `${box.path}/restore`)).toMatchObject({ status: "applied", reason: "updated" });
    expect(await box.seen()).toEqual({ in: ["INBOX"], keywords: [] });
    expect(await box.change("message.restored")).toMatchObject({ reason: "api_restore" });
    await box.arrives("INBOX", "");
    await staysQuiet(daemon, box.id, fresh.url);
  });

  it("S85 what was moved since is not destroyed", async () => {
    const box = await Box.open(12);
    const stale = await box.state();
    await box.move("A2", null, "INBOX", "Work");
    expect(await box.send("A1", stale, "DELETE", `${box.path}?purge=true`)).toMatchObject({ code: "state_mismatch" });
    expect((await box.seen())?.in).toEqual(["Work"]);
  });
});

describe("an account that has POP3 only (K2)", () => {
  it("is written here alone, and owes its server nothing", async () => {
    await server.deliver({ user: server.account(13).user, mailbox: "INBOX", messages: [Buffer.from("Subject: m\r\n\r\nm\r\n")] });
    const id = await liveAccount(daemon, pop3Account(server, 13));
    const message = (await messagesOf(daemon, id)).get("m")?.id ?? "";
    const mailboxes = await mailboxesOf(daemon, id);
    const path = `/v1/accounts/${id}/messages/${message}`;
    const archive = { [mailboxes.get("INBOX")?.id ?? ""]: null, [mailboxes.get("Archive")?.id ?? ""]: true };
    const moved = await daemon.call<{ message: object }>("PATCH", path, { keywords: { $seen: true }, mailboxIds: archive });
    expect(moved.body.message).toMatchObject({
      keywords: { $seen: true },
      placements: [{ state: "live", sync: "canonical_only" }],
    });
    expect((await messagesOf(daemon, id)).get("m")?.in).toEqual(["Archive"]);
    await daemon.call("DELETE", path);
    expect((await messagesOf(daemon, id)).get("m")?.in).toEqual(["Trash"]);
    await staysQuiet(daemon, id, fresh.url);
    expect(await commandsOf(fresh.url, id)).toEqual([]);
    expect((await messagesOf(daemon, id)).get("m")).toMatchObject({ in: ["Trash"], keywords: ["$seen"] });
  });
});
