/** Whole messages of a maildrop into the store: the next ones are read while those before are stored and committed. */
import type { MaildropItem, MaildropSession } from "../endpoints/endpoint.ts";
import { batchBytes, batchMessages } from "../model/observation.ts";
import { keyOf } from "../reconciler/maildrop.ts";
import type { Scope } from "../reconciler/state.ts";
import type { BoundItem } from "../store/maildrops.ts";
import type { ArrivalWindow } from "./arrivals.ts";
import { Commits } from "./commits.ts";
import { commitRead, type MaildropContext, prepareItems, type PreparedItems, type WholeItem } from "./maildrop-commit.ts";
import type { ImapSide } from "./maildrop-identity.ts";
import { journalRetrievals } from "./retrievals.ts";

/** Sessions are short (K6): so long messages are read in one, then it ends and the next begins. */
const sessionMs = 20_000;

interface Reading {
  readonly context: MaildropContext;
  readonly session: MaildropSession;
  readonly scope: Scope;
  /**
   * `read`: nothing is made of it and nothing may be marked, for IMAP brings the mail. `down`: what is marked is journaled.
   * `lacking`: mail is made of what nothing here is like, and nothing may be marked, for IMAP does not show it.
   */
  readonly imap: ImapSide | "lacking";
  /** Items of the listing, and how many of them are bound already, of the first reading; null: it is over. */
  readonly first: { readonly total: number; readonly had: number } | null;
  /** What is bound, and lacks in the listing. */
  readonly lacked: readonly BoundItem[];
  /** When mail that is news may have come. */
  readonly came: ArrivalWindow;
  /** Is told of items that cannot be read. */
  readonly putAside: (item: MaildropItem) => void;
  readonly signal: AbortSignal;
}

interface ReadWhole {
  readonly bound: number;
  readonly created: number;
  /** Keys of items that the server may hide from now on, for they were retrieved. */
  readonly retrieved: ReadonlySet<string>;
}

/** Reads whole messages in the order given, as many as fit into a session; what it answers for is committed then. */
export const readWhole = async (reading: Reading, items: readonly MaildropItem[]): Promise<ReadWhole> => {
  const { context, session, scope, imap, first, lacked, came, signal } = reading;
  const began = Date.now();
  const mayCreate = imap !== "read";
  const mayMark = imap === "down" ? (some: readonly MaildropItem[]) => journalRetrievals(context, scope, some) : imap === "none";
  const reason = first === null ? "delivered" : "backfilled";
  const sums = { bound: 0, created: 0 };
  const retrieved = new Set<string>();
  const commits = new Commits<PreparedItems>();
  let batch: WholeItem[] = [];
  let bytes = 0;
  const handOver = async (): Promise<void> => {
    if (batch.length === 0) return;
    const [whole, size] = [batch, bytes];
    batch = [];
    bytes = 0;
    await commits.add(prepareItems(context, whole, mayCreate), size, {
      commit: async (prepared) => {
        const progress = first && { done: first.had + sums.bound + whole.length, total: first.total };
        const { bound, created } = await commitRead(context, prepared, {
          scope,
          reason,
          mayCreate,
          besideImap: imap === "down",
          onlyNews: imap === "lacking",
          lacked,
          progress,
          came,
        });
        sums.bound += bound;
        sums.created += created;
      },
      release: () => dispose(whole),
    });
  };
  try {
    for await (const read of session.octets(items, { mayMark }, signal)) {
      if (read.error !== null) {
        context.log.warn({ failure: read.error.kind, scope: read.error.scope, err: read.error }, "item put aside");
        reading.putAside(read.item);
        continue;
      }
      if (session.profile.wholeBy === "retr") retrieved.add(keyOf(read.item));
      batch.push(read);
      bytes += read.octets.size;
      if (batch.length >= batchMessages || bytes >= batchBytes) await handOver();
      if (Date.now() - began >= sessionMs) break;
    }
    await handOver();
  } finally {
    await dispose(batch);
    // Whatever happened, nothing of this session is written once it has ended.
    await commits.drain();
  }
  return { ...sums, retrieved };
};

const dispose = async (whole: readonly WholeItem[]): Promise<void> => {
  await Promise.all(whole.map(({ octets }) => octets.dispose()));
};
