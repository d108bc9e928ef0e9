/**
 * Puts octets where an operation wants them, back where a POP3 device took them (V18), or where none takes them (V21): once, and never again on a guess. What was put there is bound by
 * the commit that every new item goes through; nothing else confirms it (C3, ID-1, ID-2).
 */
import type { Appended, MailboxWriter, Refused } from "../endpoints/endpoint.ts";
import { fingerprint } from "../mime/fingerprint.ts";
import { readHeaders } from "../mime/headers.ts";
import type { CommandFence } from "../model/command.ts";
import { InvariantError, SyncError } from "../model/failure.ts";
import { flagOfKeyword } from "../model/mail.ts";
import type { Octets } from "../model/octets.ts";
import {
  afterLook,
  afterSetback,
  end,
  goesAside,
  octetsMissing,
  outOfReach,
  restoreMailboxName,
  restorePlace,
  reviewAppend,
  type Setback,
  wait,
} from "../reconciler/commands.ts";
import type { PlacementView } from "../reconciler/state.ts";
import { type BlobRef, storedOctets } from "../store/blob-reads.ts";
import { hasPlace, hasStubs, type OpenCommand, thereAlready } from "../store/commands.ts";
import { ingest } from "../store/inputs.ts";
import { readSpellings } from "../store/spellings.ts";
import { step } from "../telemetry/failpoint.ts";
import { commandsFenced, noAnswer, settle, whyNotInto, type WriteRun } from "./command-run.ts";
import { commitItems } from "./commit.ts";
import { backfillDone, type MailboxLane, scopeOf, lookAtAll } from "./lane-state.ts";

/** A mailbox just made is known after the next look. */
const newMailboxMs = 1000;

const setBack = (run: WriteRun, command: OpenCommand, setback: Setback): Promise<void> =>
  settle(run, [{ command, step: afterSetback(setback, command.attempts, run.retryFirstMs) }]);

/** A no before anything was sent counts as no attempt, so it does not come more often than looks at the rest. */
const notNow = (run: WriteRun, command: OpenCommand, setback: Setback): Promise<void> =>
  setback === "try_later" ? settle(run, [{ command, step: outOfReach() }]) : setBack(run, command, setback);

interface Sending {
  readonly command: OpenCommand;
  readonly placement: PlacementView;
  readonly octets: Octets;
  readonly target: MailboxLane;
  readonly fence: CommandFence & { readonly uidNext: number };
}

/** The mailbox's present life and where the next item will lie there; null: it is to be looked at first. */
export const fenceFor = async (run: WriteRun, target: MailboxLane): Promise<Omit<Sending["fence"], "hFull"> | Refused | null> => {
  const position = await (await run.writer()).position(target.path, run.signal);
  if ("kind" in position) return position;
  if (position.uidValidity !== target.cursor?.uidValidity) return null;
  return { mailboxId: target.mailboxId, epoch: scopeOf(run.context, target).epoch, ...position };
};

const keywordsRefused = "keywords_refused";

/** As they were spelt; a server that would not take a keyword is given its own flags only. */
const flagsOf = async ({ context }: WriteRun, { keywords, messageId }: PlacementView, { outcome }: OpenCommand) => {
  const { db, accountId, endpointId } = context;
  const spellings = keywords.length === 0 ? [] : await readSpellings(db, accountId, endpointId, messageId);
  return keywords
    .map((keyword) => flagOfKeyword(keyword, spellings))
    .filter((flag) => outcome !== keywordsRefused || flag.startsWith("\\"));
};

const appendOrUnknown = async (run: WriteRun, sending: Sending, writer: MailboxWriter): Promise<Appended | Refused> => {
  const { command, placement, octets, target, fence } = sending;
  const { uidValidity, said = { flags: [] } } = fence;
  const internalDate = new Date(placement.receivedAt);
  const request = { path: target.path, uidValidity, internalDate, octets };
  try {
    return await writer.append({ ...request, flags: said.flags }, run.signal);
  } catch (error) {
    if (error instanceof SyncError && error.kind !== "stopped") await noAnswer(run, [command]);
    throw error;
  }
};

/** Binds what was read back at once, so that its octets are not fetched again; the cursor passes it when it is the next one. */
const commitAppended = async (run: WriteRun, { octets, target }: Sending, item: NonNullable<Appended["item"]>): Promise<void> => {
  const { cursor, backfillLow } = target;
  const { uid, flags, modseq, internalDate, objectId = null } = item;
  const { sha256, size } = octets;
  const fact = { uid, flags, modseq, objectId, receivedAt: internalDate.getTime(), sha256: sha256.toString("hex") };
  const content = { receivedAt: internalDate, headers: readHeaders(octets.head), octets: { sha256, size } };
  const isNext = cursor !== null && backfillLow !== null && uid === cursor.uidNext;
  await commitItems(run.context, target, {
    batch: { items: [{ uid, octets }], facts: [fact], contents: [content], seen: [sha256] },
    reason: "delivered",
    move: isNext ? { cursor: { ...cursor, uidNext: uid + 1 }, backfillLow } : null,
  });
};

/** C5: one APPEND is refused for itself or for all; `false`: the others need not be tried now. */
const refuse = async (run: WriteRun, { command, placement }: Sending, { why }: Refused): Promise<boolean> => {
  if (why === "unsupported" && command.outcome !== keywordsRefused && placement.keywords.length > 0)
    await settle(run, [{ command, step: wait(0, keywordsRefused) }]);
  else await setBack(run, { ...command, attempts: command.attempts + 1 }, why);
  return why !== "over_quota";
};

const transmit = async (run: WriteRun, sending: Sending, writer: MailboxWriter): Promise<boolean> => {
  const { context } = run;
  const { command, fence } = sending;
  step("before fence");
  await ingest(context, commandsFenced, { commands: [{ id: command.id, fence }] });
  step("after fence");
  const outcome = await appendOrUnknown(run, sending, writer);
  step("after write");
  if (outcome.kind === "refused") return refuse(run, sending, outcome);
  if (outcome.item !== null) await commitAppended(run, sending, outcome.item);
  else {
    // The server gave no number: the next look shows it.
    run.lookAround();
    await settle(run, [{ command, step: afterLook(0, true, run.retryFirstMs), fence: { ...sending.fence, answered: true } }]);
  }
  return true;
};

/** @returns whether it is worth while to try others now. */
const send = async (run: WriteRun, command: OpenCommand, target: MailboxLane): Promise<boolean> => {
  const { placement, content } = command;
  if (placement === null || content === null) return settle(run, [{ command, step: octetsMissing() }]).then(() => true);
  const position = await fenceFor(run, target);
  if (position === null) return lookFirst(run, command).then(() => true);
  if ("kind" in position) return notNow(run, command, position.why).then(() => true);
  const whole = await readWhole(run, content);
  if (whole === null) return settle(run, [{ command, step: octetsMissing() }]).then(() => true);
  const { octets, hFull } = whole;
  const said = { change: "add", flags: await flagsOf(run, placement, command) } as const;
  return transmit(run, { command, placement, octets, target, fence: { ...position, hFull, said } }, await run.writer());
};

/** Octets with the hash of their normal form; null: the store does not have all of them. */
const readWhole = async (run: WriteRun, content: BlobRef): Promise<{ octets: Octets; hFull: string } | null> => {
  try {
    const octets = await storedOctets(run.context.db, run.context.accountId, content);
    const { hFull } = await fingerprint(octets.parts());
    return { octets, hFull: hFull.toString("hex") };
  } catch (error) {
    if (!(error instanceof InvariantError)) throw error;
    run.context.log.error({ err: error }, "stored octets are not whole");
    return null;
  }
};

export const lookFirst = async (run: WriteRun, command: OpenCommand): Promise<void> => {
  run.lookAround();
  await settle(run, [{ command, step: outOfReach() }]);
};

/** Everything in the mailbox up to its newest item was read, so that what is not known of is not there. */
const isRead = async (run: WriteRun, mailbox: MailboxLane, fence: CommandFence): Promise<boolean> => {
  const position = await fenceFor(run, mailbox);
  if (position === null || "kind" in position || !backfillDone(mailbox)) return false;
  if ((mailbox.cursor?.uidNext ?? 0) < position.uidNext) return false;
  const scope = scopeOf(run.context, mailbox);
  return !(await hasStubs(run.context.db, run.context.accountId, scope, scope.epoch === fence.epoch ? (fence.uidNext ?? 0) : 0));
};

/** Was it done? A look that shows nothing up to the newest item counts against it; a mailbox that is gone holds nothing. */
export const look = async (run: WriteRun, command: OpenCommand): Promise<void> => {
  const { fence } = command;
  const target = fence === null ? undefined : run.context.mailboxes.get(fence.mailboxId);
  const whole = fence === null || target === undefined || (await isRead(run, target, fence));
  const looks = whole ? (fence?.looks ?? 0) + 1 : null;
  if (!whole) run.lookAround();
  const next = afterLook(looks, fence?.answered === true, run.retryFirstMs);
  // It was done, and is not there: a listing tells whether it was there (V20), and looks for changes may have passed over that.
  const isUnlisted = next.kind === "end" && fence?.listed !== true && target !== undefined;
  if (isUnlisted) {
    lookAtAll(target);
    run.lookAround();
  }
  const verdict = isUnlisted ? afterLook(null, true, run.retryFirstMs) : next;
  const seen = { ...(looks !== null && { looks }), ...(isUnlisted && { listed: true }) };
  await settle(run, [{ command, step: verdict, ...(fence !== null && looks !== null && { fence: { ...fence, ...seen } }) }]);
};

const placeToRestore = async (run: WriteRun): Promise<MailboxLane | Refused | "made"> => {
  const place = restorePlace([...run.context.mailboxes.values()]);
  if (place !== null) return place;
  const writer = await run.writer();
  const made = await writer.create(`${await writer.rootPrefix(run.signal)}${restoreMailboxName}`, run.signal);
  return made.kind === "refused" ? made : "made";
};

/** Where it is wanted; null: there is no such mailbox upstream, or not yet. */
const placeOf = ({ context }: WriteRun, { placement }: OpenCommand): MailboxLane | null => {
  const mailbox = placement === null ? undefined : context.mailboxes.get(placement.mailboxId);
  return mailbox?.selectable === true ? mailbox : null;
};

/** V21: somebody else has put it where its copy is to go. */
const isThere = async ({ context }: WriteRun, { reason, placement }: OpenCommand, { mailboxId }: MailboxLane): Promise<boolean> =>
  reason === "preserved_ahead" &&
  placement !== null &&
  (await hasPlace(context.db, context.accountId, { messageId: placement.messageId, mailboxId }));

/** By the account's present policy, and by where it is now: what an operation took from INBOX needs no copy. */
const isWanted = ({ context }: WriteRun, { reason, placement }: OpenCommand): boolean => {
  const { policy, mailboxes } = context;
  if (reason !== "preserved_ahead") return policy.onPop3Drain === "restore";
  return policy.preserveAhead && placement !== null && mailboxes.get(placement.mailboxId)?.role === "inbox";
};

/** @returns whether it is worth while to try others now. */
const place = async (
  run: WriteRun,
  command: OpenCommand,
  toRestore: () => ReturnType<typeof placeToRestore>,
): Promise<boolean> => {
  const where = goesAside(command.reason) ? await toRestore() : placeOf(run, command);
  if (where === null) await settle(run, [{ command, step: await whyNotInto(run, command.placement?.mailboxId) }]);
  else if (where === "made") await settle(run, [{ command, step: wait(newMailboxMs, "no_mailbox") }]);
  else if ("kind" in where) await notNow(run, command, where.why);
  else if (where.cursor === null || where.parkedUntil > Date.now()) await lookFirst(run, command);
  else if (await isThere(run, command, where)) await settle(run, [{ command, step: end("superseded", thereAlready) }]);
  else return send(run, command, where);
  return true;
};

/** Sends every append of a run that is still wanted, one after the other. */
export const putBack = async (run: WriteRun): Promise<void> => {
  const reviewed = run.commands.map((command) => ({
    command,
    next: reviewAppend(command, { ...command, wanted: isWanted(run, command) }),
  }));
  const settled = reviewed.flatMap(({ command, next }) =>
    next.kind === "end" || next.kind === "wait" ? [{ command, step: next }] : [],
  );
  if (settled.length > 0) await settle(run, settled);
  for (const { command, next } of reviewed) if (next.kind === "look") await look(run, command);
  const toSend = reviewed.flatMap(({ command, next }) => (next.kind === "send" ? [command] : []));
  let asked: ReturnType<typeof placeToRestore> | null = null;
  const toRestore = async () => {
    asked ??= placeToRestore(run);
    if ((await asked) === "made") run.lookAround();
    return asked;
  };
  for (const [at, command] of toSend.entries()) {
    if (Date.now() > run.until) return;
    if (await place(run, command, toRestore)) continue;
    const others = toSend.slice(at + 1).map((other) => ({ command: other, step: afterSetback("over_quota", 0, 0) }));
    if (others.length > 0) await settle(run, others);
    return;
  }
};
