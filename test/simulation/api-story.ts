/**
 * What clients of the API said, as a part of the true story: what may be removed or made because of it, which flag of which
 * occurrence was said to be what, and where mail was sent. Where it cannot be known of which occurrence something is said, or what
 * somebody else said meanwhile, all that it could concern is contested.
 */
import { flagOfKeyword } from "../../src/model/mail.ts";
import type { IntentResult, MailOp } from "../../src/model/intent.ts";
import { type Action, contentOf } from "./devices.ts";
import { type Item, type Occurrence, say, type ServerModel } from "./server-model.ts";
import type { Held, HeldPlacement } from "./state.ts";

export interface Noted {
  readonly action: Extract<Action, { device: number }>;
  /** null: an import. */
  readonly op: MailOp | null;
  readonly result: IntentResult;
  readonly before: Held;
  readonly after: Held;
  /** Did something happen to a message that whoever speaks cannot know? */
  readonly stale: (messageId: string) => boolean;
}

const flags = ["\\Seen", "\\Flagged", "\\Answered", "urgent"];

const add = (counts: Map<string, number>, content: string, count: number): void => {
  counts.set(content, (counts.get(content) ?? 0) + count);
};

export class ApiStory {
  /** Of each content so many placements may be removed because of what was said. */
  readonly removals = new Map<string, number>();
  /** Of each content so many placements were made. */
  readonly made = new Map<string, number>();
  /** Of each content so often a flag was said to be something. */
  readonly words = new Map<string, number>();
  /** Who said last what a flag of an occurrence is to be. */
  readonly #opinions = new Map<string, number>();
  /** Messages that nobody can read any more, as somebody wanted. */
  readonly purged = new Set<string>();
  readonly #server: ServerModel;

  constructor(server: ServerModel) {
    this.#server = server;
  }

  note(noted: Noted): void {
    const { action, op, result, before, after } = noted;
    if (result.status === "rejected") return;
    const messageId = result.messageId ?? "";
    const placements = before.placements.filter((one) => one.messageId === messageId);
    const content = action.do === "api imports" ? contentOf(action.content) : (placements[0]?.content ?? "");
    add(this.made, content, Math.max(0, after.placements.length - before.placements.length));
    if (op?.op === "purge") this.purged.add(messageId);
    // What is moved to where it is already is there once.
    const joins = op?.op === "patch" && placements.some(({ mailboxId }) => mailboxId in op.mailboxIds) && placements.length > 1;
    if (op?.op === "purge" || op?.op === "undo" || joins) add(this.removals, content, placements.length);
    if (action.do !== "api moves") add(this.words, content, 1);
    if (action.do === "api marks") return this.#noteMark(noted, placements, action);
    const alike = this.#server.occurrences.filter((one) => one.content === content);
    // What is purged, and is there again because a device had moved it, has no flags but its own.
    if (after.placements.length > before.placements.length || op?.op === "undo" || op?.op === "purge") contest(alike);
    this.#notePlace(noted, placements, alike);
  }

  /** What the message's one placement is sent to, or that nobody can tell. */
  #notePlace({ op, before, stale, result }: Noted, placements: readonly HeldPlacement[], alike: readonly Occurrence[]): void {
    for (const of of alike) Object.assign(of, { sentTo: null, rescued: false });
    const [placement] = placements;
    const item = placement === undefined ? null : this.#itemOf(placement);
    const target = op === null ? null : targetOf(op, before);
    const certain = placements.length === 1 && alike.length === 1 && item !== null && placement?.path === placement?.boundPath;
    const to = this.#server.mailboxes.get(target ?? "");
    if (!certain || to === undefined || result.status !== "applied" || stale(placement?.messageId ?? "")) return;
    item.of.sentTo = { to, shown: to.items.includes(item) };
  }

  #noteMark(
    { stale }: Noted,
    placements: readonly HeldPlacement[],
    { keyword, set, device }: Extract<Action, { do: "api marks" }>,
  ): void {
    for (const placement of placements)
      if (placement.lifecycle === "live") this.#mark(placement, { keyword, set, device, stale: stale(placement.messageId) });
  }

  /** Into the true story of the occurrence that the placement stands for. */
  #mark(
    placement: HeldPlacement,
    { keyword, set, device, stale }: { keyword: string; set: boolean; device: number; stale: boolean },
  ): void {
    const item = this.#itemOf(placement);
    const flag = flagOfKeyword(keyword);
    // Which of several copies it will be said to is not ours to tell.
    for (const other of this.#server.occurrences) {
      if (other === item?.of || other.content !== placement.content) continue;
      if (item === null) contest([other]);
      else other.contested.add(flag);
    }
    if (item === null) return;
    const { of } = item;
    // Somebody has said something of it that the client cannot have seen.
    if (stale || item.flags.has(flag) !== placement.keywords.includes(keyword)) of.contested.add(flag);
    // So has another client: what changes nothing is an opinion all the same (F2).
    const opinion = `${of.id} ${flag}`;
    if (of.pending.has(flag) && this.#opinions.get(opinion) !== device) of.contested.add(flag);
    this.#opinions.set(opinion, device);
    say(of, { flag, value: set, by: "api" });
    // Until the daemon has looked, whatever a device says was said without knowing of it, also where nothing is to be changed (S39).
    of.pending.set(flag, set);
  }

  #itemOf({ boundPath, uid, content }: HeldPlacement): Item | null {
    const items = this.#server.mailboxes.get(boundPath ?? "")?.items ?? [];
    return items.find((one) => one.uid === uid && one.of.content === content) ?? null;
  }
}

const contest = (occurrences: readonly Occurrence[]): void => {
  for (const of of occurrences) for (const flag of flags) of.contested.add(flag);
};

/** The path to which an operation sends mail; null: it sends none, or nobody can tell where. */
const targetOf = (op: MailOp, { mailboxes }: Held): string | null => {
  if (op.op === "delete") return mailboxes.find(({ role }) => role === "trash")?.path ?? null;
  if (op.op !== "patch") return null;
  const entries = Object.entries(op.mailboxIds);
  const to = entries.find(([, there]) => there)?.[0];
  return entries.length === 2 ? (mailboxes.find(({ id }) => id === to)?.path ?? null) : null;
};
