/** For machines that watch this one: alive, ready, figures. */
import { Type } from "typebox";
import type { ReadinessProbe } from "../store/readiness.ts";
import { registry } from "../telemetry/metrics.ts";
import { within } from "./deadline.ts";
import { ProblemError } from "./problem.ts";
import { Words } from "./schemas.ts";
import type { ApiDeps, App } from "./types.ts";

const config = { access: "public", rateLimit: false } as const;
const tags = ["operations"];

const Alive = Type.Object({ status: Words(["alive"]) });
const Ready = Type.Object({
  status: Words(["ready"]),
  queue: Words(["reachable", "unreachable"], { description: "Out of reach, mail is read all the same, only later." }),
});

const Figures = {
  description: "Prometheus' text format, version 0.0.4.",
  content: { "text/plain": { schema: Type.String() } },
};

/** Why this process should get no requests; null: it should. */
const findObstacle = async (deps: Pick<ApiDeps, "draining">, probe: ReadinessProbe): Promise<string | null> => {
  if (deps.draining()) return "The process is stopping.";
  const { reachable, pendingMigrations } = await probe.check();
  if (!reachable) return "PostgreSQL did not answer within a second.";
  return pendingMigrations === 0 ? null : "The database is not migrated to this version.";
};

const queueDeadlineMs = 500;

const askQueue = async ({ bell }: Pick<ApiDeps, "bell">): Promise<"reachable" | "unreachable"> =>
  within(queueDeadlineMs, () => bell.depth(0)).then(
    () => "reachable",
    () => "unreachable",
  );

/** `/livez` never asks PostgreSQL or the queue: a restart would not mend them. */
export const registerHealth = (app: App, deps: Pick<ApiDeps, "draining" | "bell">, probe: ReadinessProbe): void => {
  app.get("/livez", { config, schema: { tags, summary: "Does the process answer?", response: { 200: Alive } } }, async () => ({
    status: "alive" as const,
  }));
  app.get("/readyz", { config, schema: { tags, summary: "Should it get requests?", response: { 200: Ready } } }, async () => {
    const obstacle = await findObstacle(deps, probe);
    if (obstacle !== null) throw new ProblemError("not_ready", obstacle, { headers: { "retry-after": "2" } });
    return { status: "ready" as const, queue: await askQueue(deps) };
  });
};

export const registerMetrics = (app: App): void => {
  app.get(
    "/metrics",
    { config, schema: { tags, summary: "Figures for Prometheus", response: { 200: Figures } } },
    async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()),
  );
};
