/**
 * Which messages a list shows, newest first, as one statement per page. Two orders: of the account by
 * `(messages.received_at, message id)`, of one mailbox by `(placements.received_at, placement id)`; each is an index, so a page
 * costs the same wherever it begins, and no insert moves a row across a cursor.
 *
 * What wears a keyword, or lacks `$seen`, has its marks (placement_marks) in the same two orders.
 *
 * Words have no ordered index. Of a word that much mail has the newest rows ("probe") fill a page; where they do not, it is looked
 * for in the weeks before, a few and then more, for the week is in the index of words, too. Where that is not enough it is counted.
 * Of a rare one all messages are gathered and sorted ("sort"), a common one is looked for row by row ("walk"), and of one in between
 * the rows are looked up among all messages that have it ("found"): so a page of a million messages costs at most some 20,000
 * cheap looks. Left to itself the planner walks the whole account row by row for a word nobody uses.
 */
import type { AccountId, MessageId } from "../model/ids.ts";
import type { Queryable } from "./database.ts";
import {
  ListQuery,
  type ListPosition,
  many,
  markOf,
  type MessageFilter,
  microseconds,
  probeRows,
  type Strategy,
  type Weeks,
  weekMicroseconds,
} from "./list-query.ts";

interface ListRow extends ListPosition {
  readonly messageId: MessageId;
}

interface PageWanted {
  /** null: from the newest. */
  readonly after: ListPosition | null;
  readonly limit: number;
  /** The account was read to its end and is followed, so that only its newest mail may not be parsed yet. */
  readonly onlyNews: boolean;
}

/** Of so many hits all are sorted; of more, up to `many`, the rows of the list are looked up among them. */
const few = 2_000;
/** How many weeks of an account are searched for words before all of it is. */
const windows: readonly bigint[] = [4n, 32n];

const weekOf = (at: bigint): bigint => (at - (at < 0n ? weekMicroseconds - 1n : 0n)) / weekMicroseconds;

/** The week of the first message that may be on the page, or a later one. */
const newestWeek = async (
  db: Queryable,
  accountId: AccountId,
  { before }: MessageFilter,
  { after }: PageWanted,
): Promise<bigint> => {
  if (after !== null) return weekOf(after.at);
  if (before !== null) return weekOf(BigInt(before.getTime()) * 1000n);
  const { rows } = await db.query<{ at: bigint }>({
    name: "messages_newest",
    text: `select ${microseconds("received_at")} as at from messages where account_id = $1 order by received_at desc limit 1`,
    values: [accountId],
  });
  return weekOf(rows[0]?.at ?? 0n);
};

/**
 * At most `limit` rows after `after` (null: from the newest). Not prepared by name: each combination of filters and values
 * deserves its own plan.
 */
export const listMessageRows = async (
  db: Queryable,
  accountId: AccountId,
  filter: MessageFilter,
  page: PageWanted,
): Promise<ListRow[]> => {
  let probed: MessageId[] = [];
  const statement = (weeks: Weeks | null = null): ListQuery => new ListQuery(accountId, filter, { ...page, weeks, probed });
  const look = async (strategy: Strategy, weeks: Weeks | null = null): Promise<ListRow[]> => {
    const query = statement(weeks);
    const text = query.page(strategy, page.limit);
    const { rows } = await db.query<{ message_id: MessageId; id: string; at: bigint }>({ text, values: query.values });
    return rows.map((row) => ({ messageId: row.message_id, id: row.id, at: row.at }));
  };
  const count = async (what: "count" | "countMarks"): Promise<number> => {
    const query = statement();
    const text = query[what]();
    const { rows } = await db.query<{ n: bigint }>({ text, values: query.values });
    return Number(rows[0]?.n);
  };
  const { messageId, text, removed } = filter;
  const marked = markOf(filter) !== null && !removed;
  if (messageId !== null || (text === null && (marked || markOf(filter) === null))) return look("walk");
  const newest = await look("probe");
  if (newest.length >= page.limit) return newest;
  if (marked && (await count("countMarks")) <= probeRows) return newest;
  probed = newest.map((row) => row.messageId);
  // In a mailbox the order is not that of the messages' own dates.
  if (text !== null && filter.mailboxId === null) {
    const last = await newestWeek(db, accountId, filter, page);
    for (const length of windows) {
      const found = await look("sort", { first: last - length + 1n, last });
      if (found.length >= page.limit) return found;
    }
  }
  const n = await count("count");
  return look(n <= few ? "sort" : n <= many ? "found" : "walk");
};
