/** A look at an IMAP endpoint: what it can do, and whether what it says of changes may be believed. EXAMINE and FETCH of flags only. */
import { withDeadline } from "../deadline.ts";
import type { ImapFindings, ProbeRequest } from "../../model/diagnosis.ts";
import { SyncError } from "../../model/failure.ts";
import type { MailboxStatus } from "../../model/observation.ts";
import { budgetKey, connectionBudget } from "../budget.ts";
import type { Practice } from "../diagnose.ts";
import type { DoorWords } from "../door.ts";
import { resolveHost } from "../egress.ts";
import { adviseOnImap } from "./advice.ts";
import { classify } from "./classify.ts";
import { connect } from "./connect.ts";
import { examine } from "./examine.ts";
import { learnProfile } from "./profile.ts";
import { survey } from "./survey.ts";
import { fetchLineOf } from "./tokens.ts";
import { refusalOf, type Wire } from "./wire.ts";

const placeMs = 5_000;
const fetchMs = 20_000;
const byeMs = 2_000;

const tagged = (tag: string) => (line: string) => line.startsWith(`${tag} `);
const isOk = (line: string | undefined): boolean => /^\S+ OK\b/i.test(line ?? "");

const words: DoorWords = {
  greets: (line) => /^\* (?:OK|PREAUTH)\b/i.test(line),
  turnedAway: (line) =>
    /^\* BYE\b/i.test(line)
      ? Object.assign(new Error("the server said BYE"), { code: "EConnectionClosed", reason: line })
      : Object.assign(new Error("the greeting is not that of an IMAP server"), { code: "ResponseProcessingFailed" }),
  capabilities: {
    command: "d1 CAPABILITY\r\n",
    ends: tagged("d1"),
    read: (lines) => {
      const told = lines.findLast((line) => /^\* CAPABILITY /i.test(line));
      return told === undefined ? null : told.slice("* CAPABILITY ".length).toUpperCase().trim().split(/ +/);
    },
  },
  startTls: {
    command: "d0 STARTTLS\r\n",
    ends: tagged("d0"),
    accepted: (lines) => isOk(lines.at(-1)),
    // How imapflow marks the same, and what `classify` looks for.
    refused: () => Object.assign(new Error("the server offers no STARTTLS"), { tlsFailed: true }),
  },
  goodbye: "d2 LOGOUT\r\n",
};

const atom = (value: string) => ({ type: "ATOM", value });
const sequence = (value: string) => ({ type: "SEQUENCE", value });

/** The mod-sequences a UID FETCH of flags brings; flags are read, never set. */
const modseqsOf = async (wire: Wire, set: string, modifier: readonly unknown[], signal: AbortSignal): Promise<bigint[]> => {
  const found: bigint[] = [];
  const FETCH = (line: Parameters<typeof fetchLineOf>[0]): Promise<void> => {
    const { uid, modseq } = fetchLineOf(line);
    if (uid !== null) found.push(modseq ?? 0n);
    return Promise.resolve();
  };
  const items = [atom("UID"), atom("FLAGS"), atom("MODSEQ")];
  const attributes = [sequence(set), items, ...(modifier.length === 0 ? [] : [modifier])];
  await wire.command("UID FETCH", attributes, { untagged: { FETCH }, ms: fetchMs, signal });
  return found;
};

type Condstore = ImapFindings["condstore"];

/**
 * Compares what the server says of one state of INBOX in four ways; on an honest one (RFC 7162) they agree. What comes in
 * meanwhile only raises the mark, so "later" never means "lower".
 */
const judgeModseq = async (wire: Wire, status: MailboxStatus | null, signal: AbortSignal): Promise<Condstore> => {
  if (!wire.can("CONDSTORE") && !wire.can("QRESYNC")) return { verdict: "absent", evidence: ["It is not offered."] };
  const { highestModseq: mark, exists } = await examine(wire, "INBOX", null, signal);
  if (mark === null) return { verdict: "unproven", evidence: ["EXAMINE of INBOX gives no HIGHESTMODSEQ."] };
  const evidence: string[] = [`EXAMINE gives INBOX the mark ${mark}.`];
  let honest = true;
  const note = (holds: boolean, yes: string, no: string): void => {
    honest &&= holds;
    evidence.push(holds ? yes : no);
  };
  const told = status?.highestModseq ?? null;
  if (told === null) note(false, "", "STATUS gives no HIGHESTMODSEQ for it.");
  else note(told <= mark, `STATUS agrees (${told}).`, `STATUS gave a higher one before (${told}).`);
  if (exists === 0) return { verdict: honest ? "unproven" : "dishonest", evidence: [...evidence, "INBOX is empty."] };
  const newest = (await modseqsOf(wire, "*", [], signal)).at(-1) ?? 0n;
  const now = (): bigint => ((wire.view?.highestModseq ?? mark) > mark ? (wire.view?.highestModseq ?? mark) : mark);
  const fits = newest > 0n && newest <= now();
  note(fits, "The newest message lies at or below it.", "The newest message has no mod-sequence, or one above it.");
  const changed = await modseqsOf(wire, "1:*", [atom("CHANGEDSINCE"), atom(mark.toString())], signal);
  // Whoever names changes since the mark has to name them above it.
  const late = changed.filter((modseq) => modseq <= mark).length;
  note(
    late === 0,
    "Nothing is said to have changed since.",
    `${late} messages are said to have changed since, though they have not.`,
  );
  return { verdict: honest ? "honest" : "dishonest", evidence };
};

/** A server that refuses one of the questions leaves the rest of the look as it is. */
const tryModseq = async (wire: Wire, status: MailboxStatus | null, signal: AbortSignal): Promise<Condstore> => {
  try {
    return await judgeModseq(wire, status, signal);
  } catch (error) {
    if (refusalOf(error) === null && !(error instanceof SyncError && error.scope !== "endpoint")) throw error;
    return { verdict: "unproven", evidence: ["The server refused a question about INBOX."] };
  }
};

const look = async (wire: Wire, signal: AbortSignal): Promise<ImapFindings> => {
  const { changeDetection = "full", push = "poll" } = learnProfile(wire, {});
  const { survey: seen, listStatus } = await survey(wire, signal);
  const status = seen.mailboxes.find(({ path }) => path === "INBOX")?.status ?? null;
  const roles = seen.mailboxes.flatMap(({ role }) => role ?? []);
  return {
    changeDetection,
    condstore: await tryModseq(wire, status, signal),
    push,
    listStatus,
    specialUse: seen.mailboxes.some(({ path, roleSource }) => path !== "INBOX" && roleSource === "special_use"),
    roles: roles.toSorted(),
    mailboxes: seen.mailboxes.length,
    inboxMessages: status?.messages ?? null,
  };
};

const noPlace = (host: string): SyncError =>
  new SyncError("throttle", "endpoint", {
    code: "endpoint_throttled",
    message: `All connections that ${host} allows this login are in use.`,
    action: "Try again in a minute.",
  });

const visit: Practice["visit"] = async ({ settings, credentials }, { chart, limits }, signal) => {
  const { host } = settings;
  // Looks have a place of their own: who asks has proven nothing yet, and must not take those of an account that is synced.
  const place = { ms: placeMs, signal };
  const lease = await connectionBudget.acquire(budgetKey(host, `look\0${credentials.user}`), 1, place);
  if (lease === null) throw noPlace(host);
  try {
    const address = await resolveHost(host, limits, signal);
    const wire = await connect({ settings, credentials, address, limits }, signal);
    try {
      chart.login = "accepted";
      chart.step = "look";
      const { capabilities = [], serverName = null } = learnProfile(wire, {});
      chart.afterLogin = capabilities;
      chart.name = serverName;
      chart.imap = await look(wire, signal);
    } finally {
      const bye = (): Promise<unknown> => wire.command("LOGOUT", false, { ms: byeMs, signal });
      // Whatever goes wrong with a goodbye, the connection is closed next.
      await withDeadline(bye, byeMs, signal, () => undefined).catch(() => undefined);
      wire.client.close();
    }
  } finally {
    lease.release();
  }
};

const failure = (error: unknown, { settings, credentials }: ProbeRequest, during: "login" | "work"): SyncError =>
  classify(error, { during, host: settings.host, user: credentials.user });

export const imapPractice: Practice = { words, visit, failure, advise: adviseOnImap };
