/**
 * A look at a POP3 endpoint: one listing, and one header block by TOP, which marks nothing. RETR and DELE are never said: what
 * they do is known of the server, or stays unknown.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Pop3Findings, ProbeRequest, ServerKind } from "../../model/diagnosis.ts";
import { SyncError } from "../../model/failure.ts";
import type { Practice } from "../diagnose.ts";
import type { DoorWords } from "../door.ts";
import { serverKindOf } from "../server-kind.ts";
import { adviseOnPop3 } from "./advice.ts";
import { Capabilities } from "./capabilities.ts";
import { classify, NoProtection, Refusal, responseCodeOf } from "./classify.ts";
import { openPop3, type Pop3Connection, type Pop3Timing } from "./connection.ts";
import { knownOf, windowOf } from "./known-servers.ts";
import { withPatience } from "./driver.ts";
import { pairListing } from "./session.ts";
import { lookOfUidls } from "./uidl-look.ts";

/** Dovecot lets who comes to a locked maildrop wait for ten seconds. */
const timing: Pop3Timing = { connectMs: 10_000, loginMs: 15_000, commandMs: 20_000, silenceMs: 15_000 };
const quitMs = 2_000;
/** RFC 1939 §7, in characters. */
const longestUidl = 70;
/** A second login that takes longer than this, and than a multiple of the first one, waits for something; in ms. */
const leastPatienceMs = 2_000;
const patienceFactor = 5;

const bodyOf = (lines: readonly string[]): Buffer | null =>
  /^\+OK/i.test(lines[0] ?? "") ? Buffer.from(lines.slice(1, -1).join("\n"), "latin1") : null;

const words: DoorWords = {
  greets: (line) => /^\+OK/i.test(line),
  turnedAway: (line) =>
    /^-ERR/i.test(line)
      ? new Refusal(line.slice("-ERR".length).trimStart())
      : Object.assign(new Error("the greeting is not that of a POP3 server"), { code: "ResponseProcessingFailed" }),
  capabilities: {
    command: "CAPA\r\n",
    ends: (line, before) => (before === 0 ? !/^\+OK/i.test(line) : line === "."),
    read: (lines) => {
      const body = bodyOf(lines);
      return body === null ? null : new Capabilities(body).lines;
    },
  },
  startTls: {
    command: "STLS\r\n",
    ends: () => true,
    accepted: ([line]) => /^\+OK/i.test(line ?? ""),
    refused: () => new NoProtection("the server offers no STLS"),
  },
  goodbye: "QUIT\r\n",
};

/** Does TOP give the header block of the newest message? Null where there is none. */
const tryTop = async (connection: Pop3Connection, number: number | undefined, signal: AbortSignal): Promise<boolean | null> => {
  if (connection.capabilities.known && !connection.capabilities.has("TOP")) return false;
  if (number === undefined) return null;
  try {
    const octets = await connection.top({ number, size: null }, 0, signal);
    await octets.dispose();
    return octets.size > 0;
  } catch (error) {
    if (!(error instanceof SyncError) || error.scope !== "message") throw error;
    return false;
  }
};

type Sessions = Pop3Findings["sessions"];

/** How a second login ended. */
type Second = "in" | "in_use" | "other";

/**
 * Comes a second time while the first session is open. It is let in, refused with `[IN-USE]`, or made to wait until the
 * first one leaves (`pop3_lock_session` of Dovecot). Leaves both sessions.
 */
const trySecond = async (
  first: Pop3Connection,
  open: () => Promise<Pop3Connection>,
  patienceMs: number,
  signal: AbortSignal,
): Promise<Sessions> => {
  const leave = async (connection: Pop3Connection): Promise<void> =>
    void (await connection.quit(AbortSignal.any([signal, AbortSignal.timeout(quitMs)])));
  const second = open().then(
    async (connection): Promise<Second> => {
      await leave(connection);
      return "in";
    },
    (error: unknown): Second => (error instanceof SyncError && responseCodeOf(error) === "IN-USE" ? "in_use" : "other"),
  );
  const settled = new AbortController();
  const waiting = pause(patienceMs, "waiting" as const, { signal: settled.signal }).catch(() => "waiting" as const);
  const early = await Promise.race([second, waiting]);
  settled.abort();
  await leave(first);
  if (early === "in") return "parallel";
  if (early === "in_use") return "exclusive";
  // Now that the maildrop is free, who waited for it is let in.
  return early === "waiting" && (await second) !== "other" ? "exclusive" : "not_tried";
};

const lookAt = async (
  connection: Pop3Connection,
  kind: ServerKind,
  signal: AbortSignal,
): Promise<Omit<Pop3Findings, "sessions">> => {
  const { capabilities } = connection;
  const stat = await connection.stat(signal);
  const sizes = await connection.list(signal);
  const uids = await connection.uidl(signal);
  const { complete, items } = pairListing(stat, sizes, uids ?? { messages: [], unreadable: 0 });
  const uidls = (uids?.messages ?? []).flatMap(({ uidl }) => uidl ?? []);
  const usable = await tryTop(connection, sizes.messages.at(-1)?.number, signal);
  const { retrSetsSeen, deleEffect } = knownOf(kind);
  const { loginDelayMs, expireDays } = capabilities;
  return {
    messages: stat.count ?? sizes.messages.length,
    listingComplete: uids === null ? stat.count === sizes.messages.length : complete,
    uidl: {
      offered: uids !== null,
      look: lookOfUidls(uidls),
      seen: uidls.length,
      duplicates: items.filter(({ occurrence }) => occurrence > 0).length,
      tooLong: uidls.filter(({ length }) => length > longestUidl).length,
    },
    top: { offered: capabilities.known ? capabilities.has("TOP") : usable === true, usable },
    pipelining: capabilities.has("PIPELINING"),
    retrSetsSeen,
    deleEffect,
    listingWindow: windowOf(kind, stat.count),
    expireDays,
    loginDelaySeconds: loginDelayMs === null ? null : loginDelayMs / 1000,
  };
};

const visit: Practice["visit"] = async ({ settings, credentials }, { chart, limits }, signal) => {
  const open = (): Promise<Pop3Connection> => openPop3({ settings, credentials, limits, timing }, signal);
  const began = performance.now();
  const connection = await withPatience(open());
  const tookMs = performance.now() - began;
  try {
    chart.login = "accepted";
    chart.step = "look";
    const { lines, known, implementation, loginDelayMs } = connection.capabilities;
    chart.afterLogin = known ? lines : null;
    chart.name = implementation?.slice(0, 100) ?? null;
    const kind = serverKindOf({ greeting: chart.greeting, name: chart.name, capabilities: lines });
    const findings = await lookAt(connection, kind, signal);
    chart.pop3 = { ...findings, sessions: "not_tried" };
    // Where logins are rationed a second one would be refused for that, and keep a device out.
    if (loginDelayMs !== null && loginDelayMs > 0) return;
    const patienceMs = Math.max(leastPatienceMs, patienceFactor * tookMs);
    chart.pop3 = { ...findings, sessions: await trySecond(connection, open, patienceMs, signal) };
  } finally {
    if (connection.usable) await connection.quit(AbortSignal.timeout(quitMs));
    connection.close();
  }
};

const failure = (error: unknown, { settings, credentials }: ProbeRequest, during: "login" | "work"): SyncError =>
  classify(error, { during, host: settings.host, user: credentials.user });

export const pop3Practice: Practice = { words, visit, failure, advise: adviseOnPop3 };
