/** Items that cannot be read are shown without their octets, by what their header blocks tell, and made whole later (K8). */
import type { MaildropItem, MaildropSession } from "../endpoints/endpoint.ts";
import { fingerprintOfHead } from "../mime/fingerprint.ts";
import { readHeaders } from "../mime/headers.ts";
import { readReceivedAt } from "../mime/received.ts";
import { invariant } from "../model/failure.ts";
import type { ListedItem } from "../model/maildrop.ts";
import { keyOf } from "../reconciler/maildrop.ts";
import { reconcileMaildrop } from "../reconciler/maildrop-items.ts";
import type { Scope } from "../reconciler/state.ts";
import { applyDecision, type MessageContent } from "../store/decisions.ts";
import { defineInput } from "../store/inputs.ts";
import { bindItems } from "../store/maildrops.ts";
import { completeStub, listStubs, type Stub } from "../store/stubs.ts";
import { boundOf, ingestMaildrop, type MaildropContext, prepareItems, type WholeItem } from "./maildrop-commit.ts";
import { keepContent, reviveContent } from "./kept-contents.ts";

interface StubsFacts {
  readonly scope: Scope;
  readonly items: readonly ListedItem[];
  readonly contents: readonly MessageContent[];
  readonly reason: "backfilled" | "delivered";
}

const stubsSeen = defineInput("observation", "pop3.stubs", async (account, { scope, items, contents, reason }: StubsFacts) => {
  const decision = reconcileMaildrop({
    scope,
    identified: items.map(() => ({ kind: "create", rule: "ID-7" })),
    receivedAt: contents.map(({ receivedAt }) => receivedAt.getTime()),
    views: new Map(),
    freshIds: Array.from({ length: 2 * items.length }, () => account.input.freshId()),
    reason,
  });
  await applyDecision(account, decision, { scope, contents, existing: new Set() });
  await bindItems(account, scope, boundOf(items, decision.items));
});

interface WholeFacts {
  readonly scope: Scope;
  readonly stub: Stub;
  readonly content: MessageContent;
}

const stubRead = defineInput(
  "observation",
  "pop3.stub-read",
  async (account, { scope, stub, content }: WholeFacts) => {
    const { headers, octets, fingerprint } = content;
    invariant(octets !== null && fingerprint !== undefined, "what was read whole has octets");
    await completeStub(account, scope, { stub, source: "pop3", receivedAt: null, headers, octets, fingerprint });
  },
  {
    keep: (facts: WholeFacts) => ({ ...facts, content: keepContent(facts.content) }),
    revive: async (kept, stored) => ({ ...kept, content: await reviveContent(kept.content, stored) }),
  },
);

/** By its header block; null: the server does not give that either. */
const contentOf = async (
  session: MaildropSession,
  item: MaildropItem,
  now: Date,
  signal: AbortSignal,
): Promise<MessageContent | null> => {
  for await (const { octets } of session.heads([item], signal)) {
    if (octets === null) return null;
    try {
      const parts: Buffer[] = [];
      for await (const part of octets.parts()) parts.push(part);
      const { hHead, dropped } = fingerprintOfHead(Buffer.concat(parts));
      const headers = readHeaders(octets.head);
      const said = readReceivedAt(octets.head) ?? headers.sentAt;
      const receivedAt = said === null || said > now ? now : said;
      return { receivedAt, headers, octets: null, fingerprint: { hFull: null, hHead, size: item.size - dropped } };
    } finally {
      await octets.dispose();
    }
  }
  return null;
};

/**
 * Makes a message without octets of each item that has at least a header block: what gives neither may be no mail at all, as
 * the one that Courier lists when it runs out of memory. @returns how many
 */
export const commitStubs = async (
  { context, session, signal }: { context: MaildropContext; session: MaildropSession; signal: AbortSignal },
  scope: Scope,
  listed: readonly MaildropItem[],
  reason: "backfilled" | "delivered",
): Promise<number> => {
  const at = new Date();
  const contents: MessageContent[] = [];
  const shown: MaildropItem[] = [];
  for (const item of listed) {
    const content = await contentOf(session, item, at, signal);
    if (content === null) continue;
    contents.push(content);
    shown.push(item);
  }
  if (shown.length === 0) return 0;
  const items = shown.map(({ uidl, occurrence, size }) => ({ uidl, occurrence, size }));
  await ingestMaildrop(context, stubsSeen, { scope, items, contents, reason });
  return shown.length;
};

/** Stores what a stub lacks. */
const commitWhole = async (context: MaildropContext, scope: Scope, stub: Stub, item: WholeItem): Promise<void> => {
  const [prepared] = await prepareItems(context, [item], true);
  invariant(prepared !== undefined, "one was given");
  await ingestMaildrop(context, stubRead, { scope, stub, content: prepared.content });
};

/** Before an item that could not be read is tried again, in ms. */
export const refusedMs = 3_600_000;

export interface StubReading {
  readonly context: MaildropContext;
  readonly session: MaildropSession;
  /** When items that could not be read are tried again, in ms since 1970. */
  readonly refusedUntil: Map<string, number>;
  readonly signal: AbortSignal;
}

/** Reads again what could not be read before, one by one: most of it is large. @returns whether some of it was had. */
export const readStubs = async (
  { context, session, refusedUntil, signal }: StubReading,
  scope: Scope,
  listed: readonly MaildropItem[],
): Promise<boolean> => {
  const places = new Map(listed.map((item) => [keyOf(item), item]));
  let had = false;
  for (const stub of await listStubs(context.db, context.accountId, context.endpointId)) {
    const item = places.get(keyOf(stub));
    if (item === undefined || refusedUntil.has(keyOf(stub))) continue;
    for await (const read of session.octets([item], { mayMark: true }, signal)) {
      if (read.error !== null) {
        refusedUntil.set(keyOf(stub), Date.now() + refusedMs);
        continue;
      }
      try {
        await commitWhole(context, scope, stub, read);
      } finally {
        await read.octets.dispose();
      }
      had = true;
    }
  }
  return had;
};
