/**
 * All mailboxes and their counters. One command where the server has LIST-STATUS (RFC 5819); else LIST, LSUB and one
 * STATUS each. A mailbox that will not tell its status is listed without one; the rest of the survey stands.
 */
import { SyncError } from "../../model/failure.ts";
import type { MailboxStatus, Survey, SurveyedMailbox } from "../../model/observation.ts";
import { isNameable, nameArguments, pathOf } from "./names.ts";
import { mailboxIdItemsOf } from "./object-ids.ts";
import { assignRoles } from "./roles.ts";
import { bigintOf, type Line, listOf, objectIdOf, textOf, textsOf, type Token, uint32Of } from "./tokens.ts";
import { type Completion, type Handlers, refusalOf, type Wire } from "./wire.ts";

const listMs = 120_000;
const statusMs = 30_000;
/** More than this is not a person's mail, or not a server to believe. */
const maxMailboxes = 100_000;

interface Listed {
  readonly path: string;
  readonly attributes: Set<string>;
  delimiter: string | null;
  selectable: boolean;
  subscribed: boolean;
}

interface StatusAnswer {
  readonly status: MailboxStatus | null;
  readonly objectId: string | null;
}

interface Answers {
  readonly listed: Map<string, Listed>;
  readonly statuses: Map<string, StatusAnswer>;
  overflow: boolean;
}

export interface SurveyResult {
  readonly survey: Survey;
  /** Whether one LIST carried every STATUS. */
  readonly listStatus: boolean;
}

/** Of LIST, and of XLIST. */
const viewsOfAll = ["\\all", "\\allmail"];

const atom = (value: string) => ({ type: "ATOM", value });

const statusItems = (wire: Wire): readonly { type: string; value: string }[] => {
  const items = ["MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN"];
  if (wire.can("CONDSTORE") || wire.can("QRESYNC")) items.push("HIGHESTMODSEQ");
  return [...items, ...mailboxIdItemsOf(wire.objectIds)].map(atom);
};

/** What to ask of an extended LIST (RFC 5258); empty where the server has none. */
const returnOptions = (wire: Wire): unknown[] => {
  const status = wire.can("LIST-STATUS");
  const extended = wire.can("LIST-EXTENDED");
  const options: unknown[] = [];
  if (extended) options.push(atom("SUBSCRIBED"));
  // Told only when asked for, once there are RETURN options at all (seen on Dovecot 2.4).
  if (wire.can("SPECIAL-USE") && (extended || status)) options.push(atom("SPECIAL-USE"));
  if (status) options.push(atom("STATUS"), statusItems(wire));
  return options;
};

const readStatus = (token: Token | undefined): StatusAnswer => {
  const values = new Map<string, Token | undefined>();
  const items = listOf(token) ?? [];
  for (let index = 0; index + 1 < items.length; index += 2)
    values.set(textOf(items[index])?.toUpperCase() ?? "", items[index + 1]);
  const messages = uint32Of(values.get("MESSAGES"));
  const uidNext = uint32Of(values.get("UIDNEXT"));
  const uidValidity = uint32Of(values.get("UIDVALIDITY"));
  const mailboxId = values.get("MAILBOXID") ?? values.get("X-GUID");
  const objectId = objectIdOf(textOf(listOf(mailboxId)?.[0] ?? mailboxId));
  if (messages === null || uidNext === null || uidValidity === null) return { status: null, objectId };
  const unseen = uint32Of(values.get("UNSEEN"));
  return { status: { messages, uidNext, uidValidity, unseen, highestModseq: bigintOf(values.get("HIGHESTMODSEQ")) }, objectId };
};

/** The same mailbox may be listed more than once, with other attributes each time: what any line says holds. */
const addListed = (answers: Answers, line: Line, wire: Wire): void => {
  const path = pathOf(line.attributes?.[2], wire.client);
  if (path === null || !isNameable(path)) return;
  const attributes = textsOf(line.attributes?.[0]).map((attribute) => attribute.toLowerCase());
  const has = (...names: string[]): boolean => names.some((name) => attributes.includes(name));
  const selectable = !has("\\noselect", "\\nonexistent");
  const known = answers.listed.get(path);
  if (known === undefined) {
    answers.overflow ||= answers.listed.size >= maxMailboxes;
    if (answers.overflow) return;
    const delimiter = textOf(line.attributes?.[1]) || null;
    answers.listed.set(path, { path, attributes: new Set(attributes), delimiter, selectable, subscribed: has("\\subscribed") });
    return;
  }
  for (const attribute of attributes) known.attributes.add(attribute);
  known.delimiter ??= textOf(line.attributes?.[1]) || null;
  known.selectable ||= selectable;
  known.subscribed ||= has("\\subscribed");
};

const collecting = (verb: "LIST" | "XLIST", answers: Answers, wire: Wire): Handlers => ({
  [verb]: (line) => Promise.resolve(addListed(answers, line, wire)),
  STATUS: (line) => {
    const path = pathOf(line.attributes?.[0], wire.client);
    if (path !== null) answers.statuses.set(path, readStatus(line.attributes?.[1]));
    return Promise.resolve();
  },
});

interface Listing extends Answers {
  readonly completion: Completion;
  /** Whether the server told subscriptions. */
  readonly extended: boolean;
}

const list = async (wire: Wire, verb: "LIST" | "XLIST", options: readonly unknown[], signal: AbortSignal): Promise<Listing> => {
  const answers: Answers = { listed: new Map(), statuses: new Map(), overflow: false };
  const attributes = options.length === 0 ? ["", "*"] : ["", "*", atom("RETURN"), options];
  const completion = await wire.command(verb, attributes, { untagged: collecting(verb, answers, wire), ms: listMs, signal });
  const extended = options.length > 0 && wire.can("LIST-EXTENDED");
  return Object.assign(answers, { completion, extended });
};

/** Asks for everything at once; a server that refuses, or answers with nothing at all (Strato), is asked plainly. */
const listAll = async (wire: Wire, verb: "LIST" | "XLIST", signal: AbortSignal): Promise<Listing> => {
  const options = verb === "LIST" && !wire.plainListOnly ? returnOptions(wire) : [];
  if (options.length === 0) return list(wire, verb, [], signal);
  try {
    const listing = await list(wire, verb, options, signal);
    if (listing.listed.size > 0) return listing;
  } catch (error) {
    if (refusalOf(error) === null) throw error;
  }
  const plain = await list(wire, verb, [], signal);
  wire.plainListOnly = true;
  return plain;
};

/** Marks subscriptions by LSUB. Where the server will not tell, every mailbox counts as subscribed. */
const addSubscriptions = async (wire: Wire, listing: Listing, signal: AbortSignal): Promise<void> => {
  const LSUB = (line: Line): Promise<void> => {
    const mailbox = listing.listed.get(pathOf(line.attributes?.[2], wire.client) ?? "");
    if (mailbox !== undefined) mailbox.subscribed = true;
    return Promise.resolve();
  };
  try {
    await wire.command("LSUB", ["", "*"], { untagged: { LSUB }, ms: listMs, signal });
  } catch (error) {
    if (refusalOf(error) === null) throw error;
    for (const mailbox of listing.listed.values()) mailbox.subscribed = true;
  }
};

/** Why there is no status; `refused`: with a response code, or with none (""), null: it was not refused. */
interface NoStatus {
  readonly why: string;
  readonly refused: string | null;
}

const noStatus: NoStatus = { why: "The server gave no STATUS.", refused: null };

/** STATUS of one mailbox; a refusal is told by its response code, and never fails the survey. */
const askStatus = async (wire: Wire, path: string, signal: AbortSignal): Promise<StatusAnswer | NoStatus> => {
  let refused: NoStatus = { why: "The server refused STATUS.", refused: "" };
  for (const name of nameArguments(path, wire.client)) {
    let own: StatusAnswer | null = null;
    let other: StatusAnswer | null = null;
    // A line under another spelling of the name answers too: nothing else was asked.
    const STATUS = (line: Line): Promise<void> => {
      const answer = readStatus(line.attributes?.[1]);
      if (pathOf(line.attributes?.[0], wire.client) === path) own = answer;
      else other = answer;
      return Promise.resolve();
    };
    try {
      await wire.command("STATUS", [name, statusItems(wire)], { untagged: { STATUS }, ms: statusMs, signal });
      return own ?? other ?? noStatus;
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal === null || refusal.throttled) throw error;
      if (refusal.code !== null) refused = { why: `The server refused STATUS: ${refusal.code}.`, refused: refusal.code };
    }
  }
  return refused;
};

const addStatuses = async (wire: Wire, listing: Listing, signal: AbortSignal): Promise<ReadonlyMap<string, string>> => {
  const errors = new Map<string, string>();
  const inline = listing.statuses.size > 0;
  for (const { path, selectable } of listing.listed.values()) {
    if (!selectable || listing.statuses.has(path)) continue;
    // With LIST-STATUS a missing line is the answer (RFC 5819 2); asking again one by one would cost a turn each.
    const answer = inline && wire.can("LIST-STATUS") && !wire.plainListOnly ? noStatus : await askStatus(wire, path, signal);
    if ("why" in answer) errors.set(path, answer.why);
    else listing.statuses.set(path, answer);
  }
  return errors;
};

/** A no with one of these says nothing of whether the mailbox is there (RFC 5530). */
const undecided: ReadonlySet<string | null> = new Set([
  "AUTHORIZATIONFAILED",
  "CONTACTADMIN",
  "INUSE",
  "LIMIT",
  "NOPERM",
  "SERVERBUG",
  "UNAVAILABLE",
]);

/** Those of the paths under which there is a mailbox, for all that the server says. */
export const answering = async (wire: Wire, paths: readonly string[], signal: AbortSignal): Promise<string[]> => {
  const there: string[] = [];
  for (const path of paths) {
    const answer = await askStatus(wire, path, signal);
    if (!("why" in answer) || answer.refused === null || undecided.has(answer.refused)) there.push(path);
  }
  return there;
};

const isWhole = (listing: Listing): boolean => listing.completion.whole && listing.listed.size > 0;

/**
 * Looks at all mailboxes.
 * @throws what the connection throws (to be classified); SyncError `bug`/endpoint past 100,000 mailboxes.
 */
export const survey = async (wire: Wire, signal: AbortSignal): Promise<SurveyResult> => {
  const startedAt = new Date();
  // The status of a selected mailbox is as old as the last look at it (RFC 9051 6.3.11; seen on Dovecot 2.3).
  if (wire.view !== null) await wire.command("NOOP", false, { ms: statusMs, signal });
  const xlist = wire.can("XLIST") && !wire.can("SPECIAL-USE");
  const listing = await listAll(wire, xlist ? "XLIST" : "LIST", signal);
  if (listing.overflow) {
    throw new SyncError("bug", "endpoint", {
      code: "endpoint_limit_exceeded",
      message: `The server lists more than ${maxMailboxes} mailboxes.`,
      action: "Check that the endpoint is a person's mail.",
    });
  }
  const listStatus = listing.statuses.size > 0;
  if (!listing.extended) await addSubscriptions(wire, listing, signal);
  const errors = await addStatuses(wire, listing, signal);
  const roles = assignRoles(
    [...listing.listed.values()].map((mailbox) => ({ ...mailbox, attributes: [...mailbox.attributes] })),
    xlist,
  );
  const mailboxes = [...listing.listed.values()].map((mailbox): SurveyedMailbox => {
    const { path, delimiter, selectable, subscribed } = mailbox;
    const answer = listing.statuses.get(path);
    const assigned = roles.get(path);
    const status = selectable ? (answer?.status ?? null) : null;
    const statusError = selectable && status === null ? (errors.get(path) ?? "The server gave an incomplete STATUS.") : null;
    const role = assigned?.role ?? null;
    return {
      path,
      delimiter,
      selectable,
      subscribed,
      role,
      roleSource: assigned?.source ?? null,
      showsAll: viewsOfAll.some((attribute) => mailbox.attributes.has(attribute)),
      objectId: answer?.objectId ?? null,
      status,
      statusError,
    };
  });
  return { survey: { startedAt, endedAt: new Date(), complete: isWhole(listing), mailboxes }, listStatus };
};
