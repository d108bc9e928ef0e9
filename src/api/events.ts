/**
 * Following an account live. The stream is the log itself, read page by page from where the client stands: first what it
 * missed, then whatever commits, in one loop, so that there is no seam to lose a change in. A notification only says
 * "look"; nothing is buffered for a client but the page it is being sent.
 */
import type { FastifyReply, FastifyRequest } from "fastify";
import { Type } from "typebox";
import { formatState } from "../model/change.ts";
import { toChangeJson } from "../model/change-json.ts";
import type { AccountId } from "../model/ids.ts";
import { type LogState, readChanges } from "../store/change-reads.ts";
import { sseClients } from "../telemetry/metrics.ts";
import { authorize, identify, maySee, requireScope } from "./auth.ts";
import { cannotCalculate, readState } from "./change-json.ts";
import { EventStream } from "./event-stream.ts";
import { AccountParams, loadAccount } from "./load-account.ts";
import { notFound, ProblemError } from "./problem.ts";
import { Strict } from "./schemas.ts";
import type { ApiDeps, App } from "./types.ts";

/** Changes read and sent at once. */
const pageSize = 100;
const heartbeatMs = 15_000;
/** Heartbeats between two looks at whether the key still opens this stream. */
const checkEvery = 4;
/** Of one account, in this process: each of them reads every change. */
const mostStreams = 50;
/** How long a client waits before it comes back, in its own words. */
const retryMs = 2_000;

type EventsRequest = FastifyRequest<{ Params: { accountId: string }; Querystring: { since?: string } }>;

/** Where the client stands: what it saw last, else what it asks for, else now. */
const startOf = (request: EventsRequest, now: LogState): LogState => {
  const seen = request.headers["last-event-id"];
  if (typeof seen === "string" && seen !== "") return readState(seen, "header", "/last-event-id");
  return request.query.since === undefined ? now : readState(request.query.since, "query", "/since");
};

/** @throws ProblemError when the key was deleted, has run out or lost the account. */
const checkCaller = async (deps: ApiDeps, request: FastifyRequest, accountId: AccountId): Promise<void> => {
  const caller = await identify(deps, request);
  authorize(caller, ["mail:read"]);
  if (!maySee(caller, accountId)) throw notFound("account");
};

const follow = async (
  deps: ApiDeps,
  stream: EventStream,
  account: { id: AccountId; start: LogState },
  check: () => Promise<void>,
): Promise<void> => {
  const { epoch } = account.start;
  let { seq } = account.start;
  let heartbeats = 0;
  // An id without data sets the client's Last-Event-ID: one that loses us before the first event resumes from here.
  await stream.write(`retry: ${retryMs}\nid: ${formatState(epoch, seq)}\n\n`);
  while (stream.isOpen && !deps.draining()) {
    const page = await readChanges(deps.db, account.id, { epoch, seq }, pageSize);
    // The account is gone, or the log was cut under a client that fell far behind: coming back, it gets told.
    if (page.outcome !== "changes") return;
    const events = page.changes.map((change) => {
      const json = toChangeJson(change);
      return `id: ${json.state}\nevent: ${json.kind}\ndata: ${JSON.stringify(json)}\n\n`;
    });
    seq = page.changes.at(-1)?.seq ?? seq;
    if (events.length > 0) await stream.write(events.join(""));
    if (page.hasMore) continue;
    if ((await stream.wait(heartbeatMs)) !== "timeout") continue;
    heartbeats += 1;
    if (heartbeats % checkEvery === 0) await check();
    // Reading goes on after a heartbeat, too: should a notification ever be lost, it costs seconds.
    await stream.write(": still here\n\n");
  }
};

/** Sends the head itself: what follows is written as it happens, past Fastify. */
const open = (reply: FastifyReply): EventStream => {
  reply.hijack();
  // What hooks and plugins have set for every answer holds for this one, too.
  for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) reply.raw.setHeader(name, value);
  reply.raw.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no" });
  return new EventStream(reply.raw);
};

export const registerEvents = (app: App, deps: ApiDeps): void => {
  const streams = new Map<EventStream, AccountId>();
  const closeAll = (): void => {
    for (const stream of streams.keys()) stream.close();
  };
  const countOf = (accountId: AccountId): number => [...streams.values()].filter((id) => id === accountId).length;
  app.addHook("preClose", (done) => {
    closeAll();
    done();
  });
  app.get(
    "/v1/accounts/:accountId/events",
    {
      config: requireScope("mail:read"),
      exposeHeadRoute: false,
      schema: {
        tags: ["changes"],
        summary: "Changes as they happen: server-sent events; `id:` is the state, so that Last-Event-ID resumes without a gap",
        params: AccountParams,
        querystring: Strict({
          since: Type.Optional(Type.String({ description: "Begin after this state; without it and Last-Event-ID, now." })),
        }),
        response: {
          200: { description: "A stream that does not end.", content: { "text/event-stream": { schema: Type.String() } } },
        },
      },
    },
    async (request: EventsRequest, reply) => {
      const account = await loadAccount(deps, request);
      const start = startOf(request, { epoch: account.stateEpoch, seq: account.headSeq });
      const first = await readChanges(deps.db, account.id, start, 1);
      if (first.outcome === "account_gone") throw notFound("account");
      if (first.outcome === "cannot_calculate") throw cannotCalculate(first.head);
      if (deps.draining())
        throw new ProblemError("unavailable", "This server is stopping. Come again.", { headers: { "retry-after": "1" } });
      if (countOf(account.id) >= mostStreams)
        throw new ProblemError("rate_limited", `At most ${mostStreams} streams follow an account at once.`, {
          headers: { "retry-after": "60" },
        });
      const stream = open(reply);
      streams.set(stream, account.id);
      sseClients.inc();
      const unsubscribe = deps.changes.subscribe(account.id, () => stream.wake());
      try {
        await follow(deps, stream, { id: account.id, start }, () => checkCaller(deps, request, account.id));
      } catch (err) {
        // The head is sent, so nothing can be told any more; the client comes back and hears it then.
        request.log.debug({ account: account.id, err }, "event stream ended");
      } finally {
        unsubscribe();
        stream.close();
        streams.delete(stream);
        sseClients.dec();
      }
    },
  );
};
