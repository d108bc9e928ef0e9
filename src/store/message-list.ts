/**
 * Which messages a list shows, newest first, as one statement per page. Two orders: of the account by
 * `(messages.received_at, message id)`, of one mailbox by `(placements.received_at, placement id)`; each is an index, so a page
 * costs the same wherever it begins, and no insert moves a row across a cursor.
 *
 * What wears a keyword, or lacks `$seen`, has its marks (placement_marks) in the same two orders ("marked").
 *
 * Words and removed mail have no ordered index. A list that asks for them first looks through the newest rows ("probe"),
 * where most lists find a page; only when those do not fill it, all rows that match are gathered and sorted ("whole").
 * Left to itself the planner walks the whole account row by row for a word nobody uses: 0.2 s at 100,000 messages.
 */
import type { AccountId, MailboxId, MessageId } from "../model/ids.ts";
import type { Queryable } from "./database.ts";

/** The last row of a page; the next page starts after it. */
export interface ListPosition {
  /** Microseconds since 1970: the database's own precision, so that no row is skipped or shown twice. */
  readonly at: bigint;
  readonly id: string;
}

/** Every filter must hold. With a mailbox, keywords and dates are those of the message's placement there. */
export interface MessageFilter {
  readonly mailboxId: MailboxId | null;
  readonly keyword: string | null;
  readonly notKeyword: string | null;
  /** The Message-ID header with its angle brackets. */
  readonly messageId: string | null;
  /** Words as people type them into a search box (PostgreSQL's websearch syntax). */
  readonly text: string | null;
  /** Received at or after. */
  readonly since: Date | null;
  /** Received before. */
  readonly before: Date | null;
  /** Messages that are only removed (and can be brought back) as well. */
  readonly removed: boolean;
}

export interface ListRow extends ListPosition {
  readonly messageId: MessageId;
}

export interface PageWanted {
  /** null: from the newest. */
  readonly after: ListPosition | null;
  readonly limit: number;
  /** The account was read to its end and is followed, so that only its newest mail may not be parsed yet. */
  readonly onlyNews: boolean;
}

type Strategy = "direct" | "marked" | "probe" | "whole";

/** Rows that a probe looks through: a few milliseconds. */
const probeRows = 1_000;
/** Messages not parsed yet that a word is looked for in, newest first; each costs about 20 microseconds. */
const unparsedRows = 5_000;

/** One statement in the making: its parameters, and the predicates of the filter. */
class ListQuery {
  readonly values: unknown[];
  private readonly filter: MessageFilter;
  private readonly after: ListPosition | null;
  private readonly onlyNews: boolean;

  constructor(accountId: AccountId, filter: MessageFilter, { after, onlyNews }: Pick<PageWanted, "after" | "onlyNews">) {
    this.values = [accountId];
    this.filter = filter;
    this.after = after;
    this.onlyNews = onlyNews;
  }

  bind(value: unknown): string {
    return `$${this.values.push(value)}`;
  }

  private lifecycle(alias: string): string {
    return this.filter.removed ? `${alias}.lifecycle <> 'purged'` : `${alias}.lifecycle = 'live'`;
  }

  private has(alias: string, keyword: string): string {
    return `${alias}.keywords @> array[${this.bind(keyword)}]`;
  }

  /** Dates and cursor, on the columns the list is ordered by. */
  private bounds(alias: string): string[] {
    const { since, before } = this.filter;
    const tests: string[] = [];
    if (since !== null) tests.push(`${alias}.received_at >= ${this.bind(since)}`);
    if (before !== null) tests.push(`${alias}.received_at < ${this.bind(before)}`);
    if (this.after !== null)
      tests.push(
        `(${alias}.received_at, ${alias}.id) < (${timestamp(this.bind(String(this.after.at)))}, ${this.bind(this.after.id)}::uuid)`,
      );
    return tests;
  }

  /** Tests on a message, except for words that `whole` has looked up already. */
  private messageTests(strategy: Strategy): string[] {
    const { messageId, text } = this.filter;
    const tests = ["m.durability <> 'purged'"];
    if (messageId !== null) tests.push(`m.id = any(array(select samebox_messages_named($1, ${this.bind(messageId)})))`);
    if (text !== null && strategy !== "whole") tests.push(`${wordsOf("m", "c")} @@ ${this.words(text)}`);
    return tests;
  }

  private words(text: string): string {
    return `websearch_to_tsquery('simple', ${this.bind(text)})`;
  }

  private contents(strategy: Strategy): string {
    return this.filter.text !== null && strategy !== "whole"
      ? `left join message_contents c on c.account_id = $1 and c.message_id = m.id`
      : "";
  }

  /** Ids of all messages with the words, or else those that the keyword may be found on. */
  private hits(mailbox: string | null): string {
    const { text } = this.filter;
    if (text === null)
      return `select message_id from (${this.marks(mailbox)}) k
              union select p.message_id from placements p where p.account_id = $1 and p.removed_at is not null and ${this.wanted("p")}`;
    return `select samebox_messages_with_words($1, ${this.words(text)}) as message_id
            union all
            select m.id from (select * from ${this.mayBeUnparsed()} m
                              where not exists (select from message_contents c where c.account_id = $1 and c.message_id = m.id offset 0)
                              order by m.received_at desc, m.id desc limit ${unparsedRows}) m
            where ${headerWords("m")} @@ ${this.words(text)}`;
  }

  /**
   * To find that all is parsed costs a look at each message: where only news can be unparsed, and what has no octets to parse,
   * nothing else is looked at.
   */
  private mayBeUnparsed(): string {
    const all = `select * from messages where account_id = $1`;
    if (!this.onlyNews) return `(${all})`;
    const news = `select * from (${all} order by received_at desc, id desc limit ${probeRows}) n where durability <> 'stub'`;
    return `(${news} union all ${all} and durability = 'stub')`;
  }

  /** A keyword test that some placement must pass; only where something is `marked`. */
  private wanted(alias: string): string {
    const { keyword, notKeyword } = this.filter;
    return keyword !== null && keyword !== "$seen" ? this.has(alias, keyword) : `not ${this.has(alias, notKeyword ?? "$seen")}`;
  }

  /** The marks of live placements that pass that test, as rows of the list of the account or of the mailbox. */
  private marks(mailbox: string | null): string {
    const of = `placement_marks where account_id = $1 and keyword = ${this.bind(markOf(this.filter))}`;
    return mailbox === null
      ? `select distinct received_at, message_id as id, message_id from ${of}`
      : `select placed_at as received_at, placement_id as id, message_id from ${of} and mailbox_id = ${mailbox}`;
  }

  /**
   * Keywords of the whole message: any placement has it, `$seen` only if all have it (api.md). Two wanted keywords may be
   * found on two placements.
   */
  private keywordTests(strategy: Strategy): string[] {
    const { keyword, notKeyword } = this.filter;
    // "offset 0" keeps it an index look-up per row: for a page's worth of rows the planner would hash the whole account.
    const fence = strategy === "whole" ? "" : "offset 0";
    const some = (test: string) =>
      `exists (select from placements p where p.account_id = $1 and p.message_id = m.id and ${this.lifecycle("p")} and ${test} ${fence})`;
    const tests = markOf(this.filter) === null ? [some("true")] : [];
    if (keyword !== null)
      tests.push(keyword === "$seen" ? `not ${some(`not ${this.has("p", keyword)}`)}` : some(this.has("p", keyword)));
    if (notKeyword !== null)
      tests.push(notKeyword === "$seen" ? some(`not ${this.has("p", notKeyword)}`) : `not ${some(this.has("p", notKeyword))}`);
    return tests;
  }

  /** Tests on the keywords of the placement in the mailbox. */
  private placementTests(alias: string): string[] {
    const { keyword, notKeyword } = this.filter;
    const tests: string[] = [];
    if (keyword !== null) tests.push(this.has(alias, keyword));
    if (notKeyword !== null) tests.push(`not ${this.has(alias, notKeyword)}`);
    return tests;
  }

  /** A message that lies twice in the mailbox is listed once, where its newest placement that passes the filter stands. */
  private newerTwin(mailbox: string): string {
    const tests = [
      `q.account_id = $1 and q.mailbox_id = ${mailbox} and q.message_id = p.message_id`,
      this.lifecycle("q"),
      ...this.placementTests("q"),
    ];
    if (this.filter.before !== null) tests.push(`q.received_at < ${this.bind(this.filter.before)}`);
    return `exists (select from placements q where ${tests.join(" and ")} and (q.received_at, q.id) > (p.received_at, p.id) offset 0)`;
  }

  ofAccount(strategy: Strategy, limit: number): string {
    const by = strategy === "marked" ? "k" : "m";
    const rows = ["m.account_id = $1", ...this.bounds(by)];
    const tests = [...this.messageTests(strategy), ...this.keywordTests(strategy)];
    const { hits, source } = this.source(strategy, { table: "messages", alias: "m", rows, mailbox: null, key: "m.id = k.id" });
    return `${hits} select m.id as message_id, m.id, ${microseconds(`${by}.received_at`)} as at
            from ${hits === "" ? source : `hits join ${source} on m.id = hits.message_id`} ${this.contents(strategy)}
            where ${[...rows, ...tests].join(" and ")} order by ${by}.received_at desc, ${by}.id desc limit ${limit}`;
  }

  ofMailbox(mailboxId: MailboxId, strategy: Strategy, limit: number): string {
    const mailbox = this.bind(mailboxId);
    const by = strategy === "marked" ? "k" : "p";
    const rows = ["p.account_id = $1", `p.mailbox_id = ${mailbox}`, this.lifecycle("p"), ...this.bounds(by)];
    const tests = [...this.placementTests("p"), ...this.messageTests(strategy), `not ${this.newerTwin(mailbox)}`];
    const { hits, source } = this.source(strategy, { table: "placements", alias: "p", rows, mailbox, key: "p.id = k.id" });
    return `${hits} select p.message_id, p.id, ${microseconds("p.received_at")} as at
            from ${hits === "" ? source : `hits join ${source} on p.message_id = hits.message_id`}
            join messages m on m.account_id = $1 and m.id = p.message_id ${this.contents(strategy)}
            where ${[...rows, ...tests].join(" and ")} order by ${by}.received_at desc, ${by}.id desc limit ${limit}`;
  }

  private source(
    strategy: Strategy,
    from: { table: string; alias: string; rows: readonly string[]; mailbox: string | null; key: string },
  ): { hits: string; source: string } {
    const { table, alias, rows, mailbox } = from;
    const all = `${table} ${alias}`;
    switch (strategy) {
      case "direct":
        return { hits: "", source: all };
      case "marked":
        return { hits: "", source: `(${this.marks(mailbox)}) k join ${all} on ${from.key}` };
      case "probe": {
        const order = `${alias}.received_at desc, ${alias}.id desc`;
        return {
          hits: "",
          source: `(select * from ${all} where ${rows.join(" and ")} order by ${order} limit ${probeRows}) ${alias}`,
        };
      }
      case "whole":
        return { hits: `with hits as materialized (${this.hits(mailbox)})`, source: all };
    }
  }
}

/** Words of the header, spelled as where the words of parsed messages are made (contents.ts). */
const headerWords = (m: string): string =>
  `to_tsvector('simple', concat_ws(' ', ${m}.subject, ${m}.from_addresses::text, ${m}.to_addresses::text, ${m}.cc_addresses::text))`;

const wordsOf = (m: string, c: string): string => `coalesce(${c}.search, ${headerWords(m)})`;

const microseconds = (column: string): string => `(extract(epoch from ${column}) * 1000000)::bigint`;

const timestamp = (text: string): string => `('epoch'::timestamptz + (${text}::text || ' microseconds')::interval)`;

/**
 * The keyword whose marks are those of the placements, one of which a message must have. null: there is none; the other tests
 * (`$seen`, not another keyword) are for all placements of a message.
 */
const markOf = ({ keyword, notKeyword }: MessageFilter): string | null => {
  if (keyword !== null && keyword !== "$seen") return keyword;
  return notKeyword === "$seen" ? "$seen" : null;
};

/** With all or almost all rows passing, the order of the index alone finds a page at once. */
const strategiesFor = (filter: MessageFilter): readonly Strategy[] => {
  const { messageId, text, removed } = filter;
  const marked = markOf(filter) !== null;
  if (messageId !== null || (text === null && !marked)) return ["direct"];
  if (text === null && !removed) return ["marked"];
  return ["probe", "whole"];
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
  let found: ListRow[] = [];
  for (const strategy of strategiesFor(filter)) {
    const query = new ListQuery(accountId, filter, page);
    const text =
      filter.mailboxId === null ? query.ofAccount(strategy, page.limit) : query.ofMailbox(filter.mailboxId, strategy, page.limit);
    const { rows } = await db.query<{ message_id: MessageId; id: string; at: bigint }>({ text, values: query.values });
    found = rows.map((row) => ({ messageId: row.message_id, id: row.id, at: row.at }));
    if (found.length >= page.limit) break;
  }
  return found;
};
