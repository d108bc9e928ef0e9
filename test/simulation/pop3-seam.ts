/** The server model as the daemon sees it over POP3. */
import type {
  MaildropDriver,
  MaildropItem,
  MaildropListing,
  MaildropRemoval,
  MaildropSession,
  MayMark,
  ReadItem,
} from "../../src/endpoints/endpoint.ts";
import { memoryOctets } from "../../src/endpoints/octets.ts";
import { codecOf, decodeUidl, nextCodec } from "../../src/endpoints/pop3/uidl-codec.ts";
import type { EndpointProfile } from "../../src/model/endpoint.ts";
import { SyncError } from "../../src/model/failure.ts";
import type { PairedItem, UidlMeaning } from "../../src/model/maildrop.ts";
import { gone, type Life } from "./life.ts";
import { Pop3Model } from "./pop3-model.ts";
import type { ServerModel } from "./server-model.ts";

const missing = (): SyncError =>
  new SyncError("transient", "message", {
    code: "endpoint_unavailable",
    message: "The message cannot be read.",
    action: "Nothing; it is tried again by itself.",
  });

/** What the two kinds of session share. */
class Maildrop {
  protected readonly life: Life;
  protected readonly session: Pop3Model;
  protected readonly line;
  private readonly server: ServerModel;

  constructor(server: ServerModel, life: Life) {
    this.server = server;
    this.life = life;
    this.session = new Pop3Model(server);
    this.line = life.connect(() => this.session.drop());
  }

  list(): Promise<MaildropListing> {
    return this.life.ask("list", this.line, (cut) => {
      if (this.server.quirks.endlessUidl && this.server.once("endless listing")) {
        this.abandon();
        throw gone();
      }
      const occurrences = new Map<string, number>();
      const items = this.session.entries.map(({ number, uidl, size }) => {
        const occurrence = occurrences.get(uidl) ?? 0;
        occurrences.set(uidl, occurrence + 1);
        return { number, uidl, occurrence, size };
      });
      return cut ? { complete: false, items: items.slice(0, Math.floor(items.length / 2)) } : { complete: true, items };
    });
  }

  abandon(): void {
    if (this.line.alive && !this.life.crashed) this.session.drop();
    this.line.alive = false;
  }
}

class ModelMaildrop extends Maildrop implements MaildropSession {
  profile: EndpointProfile;

  constructor(server: ServerModel, life: Life, profile: EndpointProfile) {
    super(server, life);
    this.profile = { ...profile, push: "poll", wholeBy: server.quirks.top ? "top" : "retr" };
  }

  meaningOf(uidl: string, uidValidity: number): UidlMeaning | null {
    const codec = codecOf(this.profile);
    return codec === null ? null : decodeUidl(codec, uidl, uidValidity);
  }

  learnUidls(paired: readonly PairedItem[], items: number): void {
    if (paired.length === 0) return;
    const codec = nextCodec(codecOf(this.profile), paired, items);
    if (codec === null) return this.forgetUidls();
    this.profile = { ...this.profile, uidlFormat: { name: codec.format, uidValidity: codec.uidValidity } };
  }

  forgetUidls(): void {
    const { uidlFormat: _, ...rest } = this.profile;
    this.profile = rest;
  }

  async *heads(items: readonly MaildropItem[]): AsyncGenerator<ReadItem> {
    for (const item of items)
      yield await this.life.ask(`top ${item.number} 0`, this.line, () => {
        const whole = this.session.top(item.number);
        return whole === null ? unreadable(item) : readable(item, memoryOctets(whole).head);
      });
  }

  async *octets(items: readonly MaildropItem[], { mayMark }: { readonly mayMark: MayMark }): AsyncGenerator<ReadItem> {
    const byTop = this.profile.wholeBy === "top";
    for (const item of items) {
      if (!byTop && mayMark === false) {
        yield unreadable(item);
        continue;
      }
      if (!byTop && typeof mayMark === "function") await mayMark([item]);
      yield await this.life.ask(`${byTop ? "top" : "retr"} ${item.number}`, this.line, () => {
        const whole = byTop ? this.session.top(item.number) : this.session.retr(item.number);
        return whole === null ? unreadable(item) : readable(item, whole);
      });
    }
  }

  close(): Promise<void> {
    if (this.line.alive && !this.life.crashed) this.session.quit("daemon");
    this.line.alive = false;
    return Promise.resolve();
  }
}

const unreadable = (item: MaildropItem): ReadItem => ({ item, octets: null, error: missing() });
const readable = (item: MaildropItem, octets: Buffer): ReadItem => ({ item, octets: memoryOctets(octets), error: null });

class ModelRemoval extends Maildrop implements MaildropRemoval {
  mark(items: readonly MaildropItem[]): Promise<void> {
    return this.life.ask("dele", this.line, () => {
      for (const { number } of items) this.session.dele(number);
    });
  }

  async commit(): Promise<boolean> {
    try {
      await this.life.ask("quit", this.line, () => this.session.quit("daemon"));
      return true;
    } catch (error) {
      if (error instanceof SyncError) return false;
      throw error;
    }
  }
}

export const modelPop3 = (server: ServerModel, life: Life): MaildropDriver => ({
  open: async ({ profile }) => {
    await life.ask("open pop3", life.connect(), () => undefined);
    return new ModelMaildrop(server, life, profile);
  },
  openRemoval: async () => {
    await life.ask("open pop3", life.connect(), () => undefined);
    return new ModelRemoval(server, life);
  },
});
