/** `Idempotency-Key`: the same request sent twice has one effect and one answer. */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Tx } from "../store/database.ts";
import { type Once, once } from "../store/idempotency.ts";
import { noteAction } from "../store/audit.ts";
import { digestFields, toEntry } from "./audit.ts";
import { callerOf } from "./auth.ts";
import { invalid, ProblemError } from "./problem.ts";
import type { ApiDeps } from "./types.ts";

/** null: the header is not there. @throws ProblemError `invalid_request`. */
export const readKey = (request: FastifyRequest): string | null => {
  const header = request.headers["idempotency-key"];
  if (header === undefined) return null;
  if (typeof header === "string" && /^[\x21-\x7e]{1,255}$/.test(header)) return header;
  throw invalid("header", "/idempotency-key", "The Idempotency-Key must be 1 to 255 printable ASCII characters without a space.");
};

export interface Answer<Body> {
  readonly status: number;
  readonly body: Body;
}

/** An answer with a secret in it is kept sealed; any other as it is. */
type Keeping = "plain" | "sealed";

/** Why there is no answer, neither a new one nor the first one. */
const refusals: Readonly<Record<Exclude<Once<never>["outcome"], "done" | "replayed">, () => ProblemError>> = {
  running: () =>
    new ProblemError("idempotency_in_progress", "A request with this Idempotency-Key is still running. Try again in a moment.", {
      headers: { "retry-after": "1" },
    }),
  reused: () => new ProblemError("idempotency_key_reused", "This Idempotency-Key was used for another request. Use a new one."),
  lost: () =>
    new ProblemError(
      "idempotency_answer_lost",
      "A request with this Idempotency-Key was carried out before the installation's secret key was changed. Look at what it did, and use a new Idempotency-Key for the next.",
    ),
};

/**
 * Runs `work` in a transaction, once for each Idempotency-Key of the tenant, and sets the answer's status. What `work` throws
 * undoes it all, and the key stays free.
 * @returns the body to answer with: of this run, or of the first one.
 * @throws ProblemError `idempotency_in_progress`, `idempotency_key_reused`, `idempotency_answer_lost`; what `work` throws.
 */
export const answerOnce = async <Body>(
  deps: Pick<ApiDeps, "db" | "sealer">,
  exchange: {
    readonly request: FastifyRequest;
    readonly reply: Pick<FastifyReply, "code" | "header">;
    readonly keep?: Keeping;
    /** A digest of the body where that is not JSON. */
    readonly content?: Buffer;
  },
  work: (tx: Tx) => Promise<Answer<Body>>,
): Promise<Body> => {
  const { request, reply } = exchange;
  const key = readKey(request);
  /** With a note of it, which stands or falls with it. */
  const audited = async (tx: Tx): Promise<Answer<Body>> => {
    const answer = await work(tx);
    const fields = digestFields(request, deps.sealer, exchange.content === undefined);
    await noteAction(tx, toEntry(request, answer.status, { body: answer.body, fields }));
    return answer;
  };
  if (key === null) {
    const answer = await deps.db.transaction(audited);
    request.audited = true;
    reply.code(answer.status);
    return answer.body;
  }
  const { tenantId, keyId } = callerOf(request);
  const context = ["idempotency", tenantId, key];
  const fingerprints = deps.sealer.digests([
    keyId ?? "operator",
    request.method,
    request.url,
    exchange.content ?? JSON.stringify(request.body) ?? "",
  ]);
  const result = await once(deps.db, { tenantId, key, fingerprints }, async (tx) => {
    const answer = await audited(tx);
    const body =
      exchange.keep === "sealed" ? { sealed: deps.sealer.sealText(context, JSON.stringify(answer.body)) } : answer.body;
    return { answer, stored: { status: answer.status, body } };
  });
  switch (result.outcome) {
    case "done":
      request.audited = true;
      reply.code(result.answer.status);
      return result.answer.body;
    case "replayed": {
      reply.code(result.stored.status).header("idempotent-replayed", "true");
      if (exchange.keep !== "sealed") return result.stored.body as Body;
      return JSON.parse(deps.sealer.openText(context, (result.stored.body as { sealed: string }).sealed)) as Body;
    }
    default:
      throw refusals[result.outcome]();
  }
};
