/**
 * Which messages a list shows, newest first, as one statement per page. Two orders: of the account by
 * `(messages.received_at, message id)`, of one mailbox by `(placements.received_at, placement id)`; each is an index, so a page
 * costs the same wherever it begins, and no insert moves a row across a cursor.
 *
 * What wears a keyword, or lacks `$seen`, has its marks (placement_marks) in the same two orders.
 *
 * Words have no ordered index. Of a word that much mail has the newest rows ("probe") fill a page. Where they do not, all messages that
 * have it in some weeks are gathered, from the weeks next to the page back, for the week is in the index of words, too; or, where it is
 * rare, in all. Weeks are taken so few at a time that at most 20,000 messages are gathered, or those of one week. They are sorted
 * ("sort"), or the marks are looked up among them ("found"). A mailbox has an order of its own, which is not that of the weeks: there
 * 20,000 rows are looked through ("longProbe") before a word that is not rare is gathered from all of the account, and only of a word
 * of more than 20,000 messages the rows of the mailbox are looked up among them. Left to itself the planner walks the whole account row
 * by row for a word nobody uses.
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

/** In a mailbox of so many hits all are sorted at once; for more, a long probe comes first. */
const few = 2_000;
/** How many weeks of an account are searched for words at first, how many at most, and by how many times more each time. */
const weeksAtFirst = 4n;
const mostWeeks = 256n;
const growth = 8n;
/** After so many weeks a word is counted in all. */
const weeksBeforeCount = 36n;

const weekOf = (at: bigint): bigint => (at - (at < 0n ? weekMicroseconds - 1n : 0n)) / weekMicroseconds;

/** The weeks of the messages that may be on the page: the newest or a later one, the oldest or an earlier one. */
const weeksOf = async (
  db: Queryable,
  accountId: AccountId,
  { since, before }: MessageFilter,
  { after }: PageWanted,
): Promise<Weeks> => {
  const { rows } = await db.query<{ newest: bigint | null; oldest: bigint | null }>({
    name: "messages_span",
    text: `select (select ${microseconds("received_at")} from messages where account_id = $1 order by received_at desc, id desc limit 1) as newest,
             (select ${microseconds("received_at")} from messages where account_id = $1 order by received_at, id limit 1) as oldest`,
    values: [accountId],
  });
  const { newest, oldest } = rows[0] ?? { newest: null, oldest: null };
  const latest = [newest ?? 0n, after?.at, before === null ? undefined : BigInt(before.getTime()) * 1000n];
  const earliest = [oldest ?? 0n, since === null ? undefined : BigInt(since.getTime()) * 1000n];
  const known = (instants: readonly (bigint | undefined)[]) => instants.filter((at) => at !== undefined);
  return {
    last: weekOf(known(latest).reduce((a, b) => (a < b ? a : b))),
    first: weekOf(known(earliest).reduce((a, b) => (a > b ? a : b))),
  };
};

type Look = (weeks: Weeks | null, limit?: number) => Promise<ListRow[]>;
type Count = (weeks: Weeks | null) => Promise<number>;

/** The newest `limit` rows with the words, from the last of the weeks back. Few weeks at first, and fewer where they hold too many. */
const searchWeeks = async ({ first, last }: Weeks, limit: number, look: Look, count: Count): Promise<ListRow[]> => {
  const found: ListRow[] = [];
  let common = false;
  let end = last;
  let length = weeksAtFirst;
  while (found.length < limit && end >= first) {
    if (!common && last - end >= weeksBeforeCount) {
      if ((await count(null)) <= many) return look(null);
      common = true;
    }
    const weeks = { first: end - length + 1n, last: end };
    if (length > 1n && (await count(weeks)) > many) {
      length = length > growth ? length / growth : 1n;
      continue;
    }
    found.push(...(await look(weeks, limit - found.length)));
    end = weeks.first - 1n;
    length = length * growth < mostWeeks ? length * growth : mostWeeks;
  }
  return found;
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
  const statement = (weeks: Weeks | null): ListQuery => new ListQuery(accountId, filter, { ...page, weeks, probed });
  const look = async (strategy: Strategy, limit = page.limit, weeks: Weeks | null = null): Promise<ListRow[]> => {
    const query = statement(weeks);
    const text = query.page(strategy, limit);
    const { rows } = await db.query<{ message_id: MessageId; id: string; at: bigint }>({ text, values: query.values });
    return rows.map((row) => ({ messageId: row.message_id, id: row.id, at: row.at }));
  };
  const count = async (what: "count" | "countRows", weeks: Weeks | null = null): Promise<number> => {
    const query = statement(weeks);
    const text = query[what]();
    const { rows } = await db.query<{ n: bigint }>({ text, values: query.values });
    return Number(rows[0]?.n);
  };
  const { messageId, text, removed } = filter;
  const marked = markOf(filter) !== null && !removed;
  if (messageId !== null || (text === null && (marked || markOf(filter) === null))) return look("walk");
  const newest = await look("probe");
  if (newest.length >= page.limit) return newest;
  probed = newest.map((row) => row.messageId);
  const rows = marked || filter.mailboxId !== null ? await count("countRows") : Infinity;
  if (rows <= probeRows) return newest;
  const gather = marked ? "found" : "sort";
  if (text !== null && filter.mailboxId === null) {
    const gathered: Look = async (weeks, limit = page.limit) => look(gather, limit, weeks);
    return searchWeeks(await weeksOf(db, accountId, filter, page), page.limit, gathered, async (weeks) => count("count", weeks));
  }
  const n = await count("count");
  if (n <= few) return look(gather);
  const newer = await look("longProbe");
  if (newer.length >= page.limit || rows <= many) return newer;
  return look(n > many && filter.mailboxId !== null ? "found" : gather);
};
