/**
 * Reading everything of an endpoint anew. Nothing of it is remembered but the wish itself, in PostgreSQL: a lane that has to
 * begin again, in this process or in another one, forgets what it knew and looks at all there is.
 */
import type { EndpointProfile } from "../model/endpoint.ts";
import type { EndpointId } from "../model/ids.ts";
import { inAccount } from "../store/account-tx.ts";
import type { EndpointState } from "../store/account-state.ts";
import { endResync } from "../store/resync.ts";
import type { LaneGround } from "./endpoint-health.ts";

/** What must be known before a login can tell it again. */
const forget = ({ loginDelayMs }: EndpointProfile): EndpointProfile => (loginDelayMs === undefined ? {} : { loginDelayMs });

export class Resync {
  private readonly ground: LaneGround;
  /** The wish that is being answered; null: none is. */
  private askedAt: Date | null = null;
  /** Of the last that was answered, in ms since 1970: what a lane has in memory may still hold it. */
  private answered = 0;

  constructor(ground: LaneGround) {
    this.ground = ground;
  }

  get isUnderWay(): boolean {
    return this.askedAt !== null;
  }

  /** @returns the endpoint as if nothing had been learned of it, where a wish is to be answered from now on; else null. */
  begin(endpoint: EndpointState): EndpointState | null {
    const { resyncAskedAt } = endpoint;
    if (this.isUnderWay || resyncAskedAt === null || resyncAskedAt.getTime() <= this.answered) return null;
    this.askedAt = resyncAskedAt;
    return { ...endpoint, profile: forget(endpoint.profile) };
  }

  /** What was read may not be durable: the next pass begins again. */
  drop(): void {
    this.askedAt = null;
  }

  /** Everything was read. @returns false where somebody has asked again meanwhile. */
  async end(endpointId: EndpointId): Promise<boolean> {
    const { askedAt, ground } = this;
    if (askedAt === null) return true;
    const { services, fence, accountId } = ground;
    const done = await inAccount(services.db, fence, accountId, (account) => endResync(account, endpointId, askedAt));
    this.askedAt = null;
    this.answered = askedAt.getTime();
    return done;
  }
}
