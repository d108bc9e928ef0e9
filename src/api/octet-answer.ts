/** Answers of octets that never change: conditional requests and single ranges (RFC 9110 §13, §14). */
import { Readable } from "node:stream";
import type { FastifyReply, FastifyRequest } from "fastify";
import parseRange from "range-parser";
import { ProblemError } from "./problem.ts";

export interface OctetSource {
  readonly size: number;
  /** Opaque, without quotes; equal only for equal octets. */
  readonly tag: string;
  /** Octets `from` to `to`, both included. Called at most once, and not at all for HEAD and empty answers. */
  read(from: number, to: number): AsyncIterable<Buffer>;
}

/** `If-None-Match` names this tag, weakly compared. */
const isKnown = (header: string | undefined, tag: string): boolean =>
  header !== undefined &&
  (header.trim() === "*" || header.split(",").some((one) => one.trim().replace(/^W\//, "") === `"${tag}"`));

/**
 * The one range asked for; null: answer the whole. More than one range, another unit and nonsense are ignored, which
 * RFC 9110 §14.2 allows.
 * @throws ProblemError `range_not_satisfiable`.
 */
const rangeOf = (request: FastifyRequest, source: OctetSource): { from: number; to: number } | null => {
  const { range } = request.headers;
  const ifRange = request.headers["if-range"];
  if (range === undefined || request.method !== "GET" || (ifRange !== undefined && ifRange !== `"${source.tag}"`)) return null;
  const ranges = parseRange(source.size, range);
  if (ranges === -1)
    throw new ProblemError("range_not_satisfiable", `The content has ${source.size} octets.`, {
      headers: { "content-range": `bytes */${source.size}` },
    });
  const only = ranges !== -2 && ranges.type === "bytes" && ranges.length === 1 ? ranges[0] : undefined;
  return only === undefined ? null : { from: only.start, to: only.end };
};

/** Sends the octets as they are asked for. The reply's other headers must be set before. */
export const sendOctets = (request: FastifyRequest, reply: FastifyReply, source: OctetSource): FastifyReply => {
  // Mail is private, and whoever asks again must still be allowed to: caches may keep it but have to ask.
  void reply.headers({ etag: `"${source.tag}"`, "accept-ranges": "bytes", "cache-control": "private, no-cache" });
  if (isKnown(request.headers["if-none-match"], source.tag)) return reply.code(304).send();
  const range = rangeOf(request, source);
  const { from, to } = range ?? { from: 0, to: source.size - 1 };
  if (range !== null) void reply.code(206).header("content-range", `bytes ${from}-${to}/${source.size}`);
  void reply.header("content-length", to - from + 1);
  const octets = request.method === "HEAD" || to < from ? [] : source.read(from, to);
  return reply.send(Readable.from(octets, { objectMode: false, highWaterMark: 64 * 1024 }));
};
