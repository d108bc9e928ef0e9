import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readHeaders } from "../../src/mime/headers.ts";
import { openParser, type Parser } from "../../src/mime/parser.ts";
import type { ParsedMessage } from "../../src/model/mail.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { corpus, corpusIsHere } from "../support/corpus.ts";
import type { NamedMail } from "../support/hostile-mail.ts";

/** Headers take microseconds; what takes longer than this on a busy machine is not linear. */
const headersMs = 1000;
const timeoutMs = 10_000;
const unprintable = /[\p{Cc}\p{Zl}\p{Zp}]/u;

let parser: Parser;

beforeAll(() => {
  parser = openParser({ threads: 2, timeoutMs, maxHeapMb: 256, log: createLogger({ level: "silent" }) });
});
afterAll(() => parser[Symbol.asyncDispose]());

const problemsOfHeaders = ({ raw }: NamedMail): string[] => {
  const started = performance.now();
  const headers = readHeaders(raw.subarray(0, 256 * 1024));
  const took = performance.now() - started;
  const addresses = [...headers.from, ...headers.to, ...headers.cc, ...headers.bcc];
  const texts = [
    ...[headers.messageId, headers.inReplyTo, headers.subject, ...headers.references],
    ...addresses.flatMap(({ name, email }) => [name, email]),
  ].filter((text) => text !== null);
  return [
    ...(took > headersMs ? [`headers took ${Math.round(took)} ms`] : []),
    ...texts
      .filter((text) => unprintable.test(text) || !text.isWellFormed())
      .map((text) => `not one line: ${JSON.stringify(text)}`),
  ];
};

const problemsOfSummary = (parsed: ParsedMessage): string[] => {
  if (parsed.status === "failed") return /^(?:too_many_parts|too_deep)$/.test(parsed.reason) ? [] : [`failed: ${parsed.reason}`];
  const problems: string[] = [];
  if (unprintable.test(parsed.preview) || Array.from(parsed.preview).length > 256) problems.push(`preview: ${parsed.preview}`);
  if (Buffer.byteLength(parsed.searchText) > 64 * 1024) problems.push("search text too long");
  if (new Set(parsed.attachments.map(({ partId }) => partId)).size < parsed.attachments.length) problems.push("part twice");
  return problems;
};

/** Every attachment of the list can be had, in the size that the list says. */
const problemsOfParts = async (raw: Buffer, parsed: ParsedMessage): Promise<string[]> => {
  const problems: string[] = [];
  for (const { partId, size } of parsed.status === "parsed" ? parsed.attachments.slice(0, 20) : []) {
    const part = await parser.part(raw, partId);
    if (part?.status !== "found") problems.push(`part ${partId} is not there`);
    else {
      let length = 0;
      for await (const chunk of part.chunks()) length += chunk.length;
      if (length !== size || part.size !== size) problems.push(`part ${partId}: ${length} octets, not ${size}`);
    }
  }
  return problems;
};

const problemsOf = async (mail: NamedMail): Promise<{ readonly failed: boolean; readonly problems: string[] }> => {
  const parsed = await parser.parse(mail.raw);
  const body = await parser.body(mail.raw);
  const problems = [...problemsOfHeaders(mail), ...problemsOfSummary(parsed), ...(await problemsOfParts(mail.raw, parsed))];
  if (body.status !== parsed.status) problems.push(`the body is ${body.status}, the summary ${parsed.status}`);
  return { failed: parsed.status === "failed", problems: problems.map((problem) => `${mail.name}: ${problem}`) };
};

describe.for(["hostile", "mail"] as const)("the %s corpus", (kind) => {
  it("goes through header reading and parser without a crash, a hang or a part that is not what the list says", async () => {
    const outcomes: Promise<{ failed: boolean; problems: string[] }>[] = [];
    for (const mail of corpus(kind)) {
      outcomes.push(problemsOf(mail));
      if (outcomes.length % 50 === 0) await Promise.all(outcomes);
    }
    const all = await Promise.all(outcomes);
    expect(all.flatMap(({ problems }) => problems)).toEqual([]);
    expect(all.length).toBeGreaterThanOrEqual(corpusIsHere ? 500 : 25);
    // Real mail is never a bomb.
    if (kind === "mail") expect(all.filter(({ failed }) => failed)).toEqual([]);
  }, 120_000);
});
