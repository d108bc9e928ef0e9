/** Looks at an account's mailboxes upstream and lays what is there beside what is here. Writes nothing, here or there. */
import type { Session } from "../endpoints/endpoint.ts";
import type { SurveyedMailbox } from "../model/observation.ts";
import { compareLegs, type Legs } from "../reconciler/legs.ts";
import type { AccountState, EndpointState } from "../store/account-state.ts";
import { readUpstream } from "../store/mailbox-writes.ts";
import { loadBound } from "../store/slices.ts";
import type { LaneServices } from "./lane-services.ts";

export interface MailboxLegs {
  readonly path: string;
  /** Why there are no legs; null where there are. */
  readonly trouble: string | null;
  readonly legs: Legs;
}

type Services = Pick<LaneServices, "db" | "drivers" | "log" | "unseal">;
type Upstream = Awaited<ReturnType<typeof readUpstream>>[number];

const noLegs: Legs = { equal: 0, unequal: [] };

const legsOf = async (
  { db }: Services,
  { session, accountId, endpointId }: { session: Session; accountId: AccountState["id"]; endpointId: EndpointState["id"] },
  { mailboxId, epoch, uidValidity, path }: Upstream,
  signal: AbortSignal,
): Promise<MailboxLegs> => {
  const seen = await session.observe({ path, since: null, boundCount: null }, signal);
  if (uidValidity !== seen.uidValidity)
    return { path, trouble: "the server has numbered it anew: the next pass finds every item again", legs: noLegs };
  const scope = { endpointId, mailboxId, epoch };
  const { bound } = await db.transaction((tx) => loadBound({ tx, accountId }, scope, null));
  const observed = new Map(seen.flags.map(({ uid, flags }) => [uid, flags]));
  return { path, trouble: null, legs: compareLegs(observed, bound) };
};

const withoutLegs = (mailbox: SurveyedMailbox, known: Upstream | undefined): MailboxLegs | null => {
  const trouble = (text: string): MailboxLegs => ({ path: mailbox.path, trouble: text, legs: noLegs });
  if (!mailbox.selectable) return null;
  if (mailbox.status === null) return trouble(`the server does not open it: ${mailbox.statusError ?? "it says nothing"}`);
  return known === undefined ? trouble("new on the server: the next pass takes it over") : null;
};

/** Mailbox by mailbox; only the one of that path where `path` is given. @throws SyncError as a session does. */
export async function* explainEndpoint(
  services: Services,
  { account, endpoint }: { readonly account: AccountState; readonly endpoint: EndpointState },
  path: string | null,
  signal: AbortSignal,
): AsyncGenerator<MailboxLegs> {
  const credentials = await services.unseal(account, endpoint);
  const { settings, profile } = endpoint;
  const session = await services.drivers.imap.open({ settings, credentials, profile, log: services.log }, signal);
  try {
    const known = new Map((await readUpstream(services.db, account.id, endpoint.id)).map((one) => [one.path, one]));
    const survey = await session.survey(signal);
    const shown = new Set(survey.mailboxes.map((mailbox) => mailbox.path));
    for (const mailbox of survey.mailboxes) {
      if (path !== null && mailbox.path !== path) continue;
      const upstream = known.get(mailbox.path);
      const without = withoutLegs(mailbox, upstream);
      if (without !== null) yield without;
      else if (mailbox.selectable && upstream !== undefined)
        yield await legsOf(services, { session, accountId: account.id, endpointId: endpoint.id }, upstream, signal);
    }
    for (const { path: gone } of known.values())
      if (!shown.has(gone) && (path === null || path === gone))
        yield { path: gone, trouble: "gone from the server: believed when two lists, a minute apart, lack it", legs: noLegs };
  } finally {
    await session.close();
  }
}
