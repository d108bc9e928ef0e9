/** How the whole installation is doing. The operator sees every tenant's accounts, a key those it is for. */
import { type Static, Type } from "typebox";
import { type FleetShard, listShards, readFleetAccounts } from "../store/account-status.ts";
import { countUnderOtherKeys } from "../store/key-rotation.ts";
import { callerOf, requireScope } from "./auth.ts";
import { Nullable, Time } from "./schemas.ts";
import type { ApiDeps, App } from "./types.ts";

const Count = Type.Integer({ minimum: 0 });
const Seconds = Nullable(Type.Number({ minimum: 0 }));

const Fleet = Type.Object(
  {
    version: Type.String(),
    accounts: Type.Object({}, { additionalProperties: Count, description: "Accounts by sync state." }),
    lagSeconds: Type.Object(
      { p50: Seconds, p95: Seconds, p99: Seconds },
      { description: "Seconds since the last good look, over endpoints." },
    ),
    queue: Type.Object({
      depth: Nullable(
        Type.Object(
          { waiting: Count, active: Count, delayed: Count },
          { description: "Hints in the queues; null: the queue is out of reach." },
        ),
      ),
      overdueSeconds: Type.Number({ minimum: 0, description: "How long the longest waiting endpoint has been due." }),
    }),
    shards: Type.Array(
      Type.Object({
        id: Type.Integer(),
        owner: Nullable(Type.String()),
        host: Nullable(Type.String()),
        epoch: Type.String(),
        heartbeatExpiresAt: Nullable(Time),
      }),
    ),
    underOtherKeys: Nullable(
      Type.Integer({
        minimum: 0,
        description:
          "Data keys and webhook secrets not yet sealed under today's SAMEBOX_SECRET_KEY. For the operator; null: not told.",
      }),
    ),
  },
  { title: "Fleet" },
);

const depthDeadlineMs = 1_000;

const readDepth = async (deps: ApiDeps, shards: readonly FleetShard[]): Promise<Static<typeof Fleet>["queue"]["depth"]> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), depthDeadlineMs);
  });
  const depths = Promise.all(shards.map((shard) => deps.bell.depth(shard.id))).then((all) => ({
    waiting: all.reduce((sum, depth) => sum + depth.waiting, 0),
    active: all.reduce((sum, depth) => sum + depth.active, 0),
    delayed: all.reduce((sum, depth) => sum + depth.delayed, 0),
  }));
  // Only a figure: what is wrong with the queue is said by its own log and metrics.
  return Promise.race([depths.catch(() => null), late]).finally(() => clearTimeout(timer));
};

export const registerFleet = (app: App, deps: ApiDeps): void => {
  app.get(
    "/v1/status",
    {
      config: requireScope("ops"),
      schema: { tags: ["operations"], summary: "How the installation is doing", response: { 200: Fleet } },
    },
    async (request) => {
      const { kind, tenantId, accountIds } = callerOf(request);
      const part = { tenantId: kind === "operator" ? null : tenantId, among: accountIds === null ? null : [...accountIds] };
      const [accounts, shards] = await Promise.all([
        readFleetAccounts(kind === "operator" ? deps.everyTenant : deps.db, part),
        listShards(deps.everyTenant),
      ]);
      return {
        version: deps.config.version,
        accounts: { ...accounts.byState },
        lagSeconds: accounts.lagSeconds,
        queue: { depth: await readDepth(deps, shards), overdueSeconds: accounts.overdueSeconds },
        underOtherKeys: kind === "operator" ? await countUnderOtherKeys(deps.everyTenant, deps.sealer) : null,
        shards: shards.map((shard) => ({
          id: shard.id,
          owner: shard.owner,
          host: shard.host,
          epoch: String(shard.epoch),
          heartbeatExpiresAt: shard.expiresAt?.toISOString() ?? null,
        })),
      };
    },
  );
};
