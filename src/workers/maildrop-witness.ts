/**
 * What the maildrop of an account says about mail that IMAP lacks (V4): the IMAP side of the lane asks, and the maildrop side
 * answers at its next complete listing. Nothing is kept but the answers to what was asked last; a lane that was dropped asks
 * again. Instants are milliseconds since 1970.
 */
import type { SyncState } from "../model/account.ts";
import type { EndpointId, PlacementId } from "../model/ids.ts";
import { type ListedLast, readSecondView, type SecondView } from "../reconciler/second-view.ts";

/** A candidate that the maildrop had. */
export interface AskedItem {
  readonly placementId: PlacementId;
  /** Names its item of the maildrop. */
  readonly key: string;
  readonly absentSince: number;
  /** The views disagreed about its mailbox before. */
  readonly disputed: boolean;
}

/** The maildrop's side of the lane. */
interface Source {
  readonly endpointId: EndpointId | null;
  readonly state: SyncState;
}

/** What was heard of a maildrop: data. */
export interface Testimony {
  /** null: the account has no maildrop. */
  readonly endpointId: EndpointId | null;
  readonly reachable: boolean;
  readonly askedSince: number;
  /** Of what was asked before, by key. */
  readonly listed: ReadonlyMap<string, ListedLast | null>;
}

/** What is known of items now. */
export const testify = (
  { reachable, askedSince, listed }: Testimony,
  items: readonly AskedItem[],
  at: number,
): ReadonlyMap<PlacementId, SecondView> =>
  new Map(
    items.map(({ placementId, key, ...item }) => [
      placementId,
      readSecondView({ ...item, listed: listed.get(key) ?? null, askedSince, reachable, at }),
    ]),
  );

export class MaildropWitness {
  private readonly askedSince = Date.now();
  private readonly source: () => Source | null;
  private asked = new Map<string, { readonly absentSince: number; readonly listed: ListedLast | null }>();
  private news = false;

  constructor(source: () => Source | null) {
    this.source = source;
  }

  /** null: the account has no maildrop. */
  get endpointId(): EndpointId | null {
    return this.source()?.endpointId ?? null;
  }

  /** Has to be listed for the sake of what was asked. */
  get isWanted(): boolean {
    return [...this.asked.values()].some(({ absentSince, listed }) => listed === null || listed.beganAt <= absentSince);
  }

  /** What is known, for a decision to be made of it. */
  get testimony(): Testimony {
    const source = this.source();
    const reachable = source !== null && source.state !== "needs_reauth" && source.state !== "needs_attention";
    const { askedSince, endpointId } = this;
    return { endpointId, reachable, askedSince, listed: new Map([...this.asked].map(([key, { listed }]) => [key, listed])) };
  }

  /** Asks about these from here on, and no others any more. */
  ask(items: readonly AskedItem[]): void {
    const before = this.asked;
    this.asked = new Map(
      items.map(({ key, absentSince }) => [key, { absentSince, listed: before.get(key)?.listed ?? null }] as const),
    );
  }

  /** Takes a complete listing of a session that began at `beganAt`. */
  hear(beganAt: number, keys: ReadonlySet<string>): void {
    for (const [key, { absentSince, listed }] of this.asked) {
      const shown = keys.has(key);
      this.asked.set(key, { absentSince, listed: { beganAt, shown } });
      if (beganAt > absentSince && (listed === null || listed.beganAt <= absentSince || listed.shown !== shown)) this.news = true;
    }
  }

  /** Is there an answer that nobody has taken? */
  takeNews(): boolean {
    const { news } = this;
    this.news = false;
    return news;
  }
}
