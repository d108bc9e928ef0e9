/** How an account is doing, in plain words. */
import { type Static, Type } from "typebox";
import { formatState } from "../model/change.ts";
import type { EndpointProfile } from "../model/endpoint.ts";
import { formatId } from "../model/ids.ts";
import { type Pop3DevicesView, pop3Signs, viewPop3Devices } from "../model/pop3-devices.ts";
import type { AccountStanding, Suspicion } from "../store/account-status.ts";
import type { AccountRow, EndpointRow } from "../store/accounts.ts";
import type { Hold } from "../store/hold-reads.ts";
import { LastError, Profile, SyncStateWord } from "./account-schemas.ts";
import { requireScope } from "./auth.ts";
import { ShownHold, showHold } from "./hold-schemas.ts";
import { AccountParams, loadStanding } from "./load-account.ts";
import { Nullable, Time, Words } from "./schemas.ts";
import { noticesOf } from "./server-notices.ts";
import { SuspectedDevice, suspectedDevices } from "./suspected-devices.ts";
import type { ApiDeps, App } from "./types.ts";

const Seconds = Type.Number({ minimum: 0 });

const Progress = Type.Object({
  done: Type.Integer({ description: "Messages of the first reading that are stored." }),
  total: Type.Integer(),
  etaSeconds: Nullable(Type.Number({ description: "At the speed so far; null: not known yet." })),
});

const EndpointStatus = Type.Object({
  id: Type.String(),
  protocol: Words(["imap", "pop3"]),
  syncState: SyncStateWord,
  lastSuccessAt: Nullable(Time),
  lagSeconds: Nullable(Seconds),
  nextAttemptAt: Nullable(Type.String({ format: "date-time", description: "Backing off until then; null: not backing off." })),
  resyncSince: Nullable(
    Type.String({
      format: "date-time",
      description: "Everything is being read anew since that was asked for then; null: it is not.",
    }),
  ),
  watching: Type.Array(Type.String(), { description: "Mailboxes the server tells news of by itself; `*` is all of them." }),
  progress: Progress,
  lastError: Nullable(LastError),
  profile: Profile,
  notices: Type.Array(Type.String(), { description: "What the owner should know of this server, in plain words." }),
});

const Pop3Devices = Type.Object(
  {
    state: Words(["unknown", "declared", "learned", "denied"]),
    since: Nullable(Type.String({ format: "date-time", description: "Since when it is learned; else null." })),
    because: Nullable(Words(["policy", ...pop3Signs] as const)),
  },
  { description: "Are there devices that read the account over POP3, and may take mail off the server?" },
);

const Status = Type.Object(
  {
    syncState: SyncStateWord,
    state: Type.String(),
    lagSeconds: Nullable(
      Type.Number({
        minimum: 0,
        description: "Seconds since the endpoint that is furthest behind was last seen well; null: one never was.",
      }),
    ),
    progress: Progress,
    endpoints: Type.Array(EndpointStatus),
    pop3Devices: Pop3Devices,
    suspectedDevices: Type.Array(SuspectedDevice, {
      description: "Devices that were seen at work, with the reason, whether or not the owner says that there are any.",
    }),
    holds: Type.Array(ShownHold, { description: "The first 500." }),
    hints: Type.Array(
      Type.Object({
        hint: Type.String({
          description: "suspected_pop3_seen: mail counts as read that a POP3 device may only have retrieved.",
        }),
        mailboxId: Type.String(),
        count: Type.Integer({ description: "Messages it was so with." }),
        lastAt: Time,
        action: Type.String({ description: "What the owner can do." }),
      }),
    ),
  },
  { title: "AccountStatus" },
);

/** Seconds with three decimals. A clock that ran backwards is no lag. */
const secondsBetween = (from: Date, to: Date): number => Math.max(0, to.getTime() - from.getTime()) / 1000;

interface Reading {
  readonly done: number;
  readonly total: number;
  readonly startedAt: Date | null;
}

const estimate = ({ done, total, startedAt }: Reading, now: Date): number | null => {
  if (startedAt === null) return null;
  if (done >= total) return 0;
  return done === 0 ? null : Math.round((secondsBetween(startedAt, now) / done) * (total - done));
};

const showProgress = (reading: Reading, now: Date): Static<typeof Progress> => ({
  done: reading.done,
  total: Math.max(reading.total, reading.done),
  etaSeconds: estimate(reading, now),
});

const sumUp = (readings: readonly Reading[]): Reading => ({
  done: readings.reduce((sum, reading) => sum + reading.done, 0),
  total: readings.reduce((sum, reading) => sum + reading.total, 0),
  startedAt: readings
    .map((reading) => reading.startedAt)
    .reduce((first, at) => (first === null || (at !== null && at < first) ? at : first), null),
});

const watchedBy = (push: EndpointProfile["push"]): string[] => (push === "notify" ? ["*"] : push === "idle" ? ["INBOX"] : []);

const damagedNotices = (holds: readonly Hold[]): string[] =>
  holds
    .filter(({ reason }) => reason === "octets_damaged")
    .map(
      ({ count }) =>
        `Messages that stay on the server although the policy serverCopy wants them removed: ${count}. What is stored of them here is not what was read. Check the database's disk, and restore it from a backup.`,
    );

/** V18 and V21 need a server that takes mail back. */
const restoreNotices = ({ policy }: AccountRow): string[] => [
  ...(policy.onPop3Drain === "restore"
    ? ["What a POP3 device takes cannot be put back over POP3: the policy onPop3Drain restore keeps it here, as keep does."]
    : []),
  ...(policy.preserveAhead ? ["POP3 has no place for copies: the policy preserveAhead needs an IMAP endpoint."] : []),
];

/** What is around an endpoint that its notices depend on. */
interface NoticeGround {
  readonly account: AccountRow;
  readonly hasImap: boolean;
  readonly holds: readonly Hold[];
}

const showNotices = ({ settings, profile }: EndpointRow, { account, hasImap, holds }: NoticeGround): string[] => [
  ...noticesOf(settings.protocol, profile),
  ...(settings.protocol === "pop3" ? damagedNotices(holds) : []),
  ...(hasImap ? [] : restoreNotices(account)),
];

const showEndpoint = (row: EndpointRow, ground: NoticeGround, now: Date): Static<typeof EndpointStatus> => {
  const syncState = ground.account.paused ? "paused" : row.syncState;
  return {
    id: formatId("end", row.id),
    protocol: row.settings.protocol,
    syncState,
    lastSuccessAt: row.lastSuccessAt?.toISOString() ?? null,
    lagSeconds: row.lastSuccessAt === null ? null : secondsBetween(row.lastSuccessAt, now),
    nextAttemptAt: row.nextAttemptAt?.toISOString() ?? null,
    resyncSince: row.resyncAskedAt?.toISOString() ?? null,
    watching: syncState === "live" || syncState === "backfilling" ? watchedBy(row.profile.push) : [],
    progress: showProgress(row.progress, now),
    lastError: row.lastError,
    profile: { ...row.profile },
    notices: showNotices(row, ground),
  };
};

const showDevices = ({ since, ...rest }: Pop3DevicesView): Static<typeof Pop3Devices> => ({
  ...rest,
  since: since === null ? null : new Date(since).toISOString(),
});

const showSuspicion = ({ mailboxId, count, lastAt }: Suspicion): Static<typeof Status>["hints"][number] => ({
  hint: "suspected_pop3_seen",
  mailboxId: formatId("mbx", mailboxId),
  count,
  lastAt: lastAt.toISOString(),
  action: "If a device reads this mail over POP3, set the policy pop3Devices to declared: what it retrieves then stays unread.",
});

const showStatus = ({ account, holds, suspicions, endpoints: rows }: AccountStanding, now: Date): Static<typeof Status> => {
  const ground = { account, hasImap: rows.some(({ settings }) => settings.protocol === "imap"), holds };
  const endpoints = rows.map((row) => showEndpoint(row, ground, now));
  const lags = endpoints.map((endpoint) => endpoint.lagSeconds);
  return {
    syncState: account.syncState,
    state: formatState(account.stateEpoch, account.headSeq),
    lagSeconds: lags.length === 0 || lags.includes(null) ? null : Math.max(...lags.map(Number)),
    progress: showProgress(sumUp(rows.map((row) => row.progress)), now),
    endpoints,
    pop3Devices: showDevices(viewPop3Devices(account.policy, account.pop3Evidence)),
    suspectedDevices: suspectedDevices(account.pop3Evidence, suspicions),
    holds: holds.map(showHold),
    hints: suspicions.map(showSuspicion),
  };
};

export const registerAccountStatus = (app: App, deps: ApiDeps): void => {
  app.get(
    "/v1/accounts/:accountId/status",
    {
      config: requireScope("accounts", "mail:read"),
      schema: { tags: ["accounts"], summary: "How the account is doing", params: AccountParams, response: { 200: Status } },
    },
    async (request) => showStatus(await loadStanding(deps, request), new Date()),
  );
};
