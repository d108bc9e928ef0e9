/** The statements that lists of messages are made of; which of them are run is told in message-list.ts. */
import type { AccountId, MailboxId, MessageId } from "../model/ids.ts";

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

/** How a page is looked for: see message-list.ts. */
export type Strategy = "walk" | "probe" | "longProbe" | "sort" | "found";

/** Rows that a probe looks through: a few milliseconds. */
export const probeRows = 1_000;
/** Messages not parsed yet that a word is looked for in, newest first; each costs about 20 microseconds. */
const unparsedRows = 5_000;
/** Hits are counted, and a long probe looks, up to so many: some tenths of a second. */
export const many = 20_000;
export const weekMicroseconds = 604_800_000_000n;

const newestFirst = (alias: string): string => `order by ${alias}.received_at desc, ${alias}.id desc`;

/** Counted from 1970; both are in it. */
export interface Weeks {
  readonly first: bigint;
  readonly last: bigint;
}

/** What a statement is for. */
interface Looked {
  /** null: from the newest. */
  readonly after: ListPosition | null;
  readonly onlyNews: boolean;
  /** Messages received in them only; null: in any. */
  readonly weeks: Weeks | null;
  /** What the probe has found. */
  readonly probed: readonly MessageId[];
}

/** One statement in the making: its parameters, and the predicates of the filter. */
export class ListQuery {
  readonly values: unknown[];
  private readonly filter: MessageFilter;
  private readonly after: ListPosition | null;
  private readonly onlyNews: boolean;
  private readonly weeks: Weeks | null;
  private readonly probed: readonly MessageId[];
  private bound: string | null = null;

  constructor(accountId: AccountId, filter: MessageFilter, { after, onlyNews, weeks, probed }: Looked) {
    this.values = [accountId];
    this.filter = filter;
    this.after = after;
    this.onlyNews = onlyNews;
    this.weeks = weeks;
    this.probed = probed;
  }

  /** The parameter that is the mailbox; null: the list is of the account. A statement must say all parameters that it has. */
  private get mailbox(): string | null {
    if (this.filter.mailboxId !== null) this.bound ??= this.bind(this.filter.mailboxId);
    return this.bound;
  }

  private bind(value: unknown): string {
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
    if (this.weeks !== null) {
      const [from, to] = [this.weeks.first, this.weeks.last + 1n].map((week) =>
        timestamp(this.bind(String(week * weekMicroseconds))),
      );
      tests.push(`${alias}.received_at >= ${from} and ${alias}.received_at < ${to}`);
    }
    if (this.after !== null)
      tests.push(
        `(${alias}.received_at, ${alias}.id) < (${timestamp(this.bind(String(this.after.at)))}, ${this.bind(this.after.id)}::uuid)`,
      );
    return tests;
  }

  private words(text: string): string {
    return `websearch_to_tsquery('simple', ${this.bind(text)})`;
  }

  /** Ids of all parsed messages with the words, or else of those that the keyword may be found on, some twice. */
  private known(): string {
    const { text } = this.filter;
    if (text !== null) return `select samebox_messages_with_words($1, ${this.words(text)}${this.inWeeks(text)}) as message_id`;
    return `select message_id from (${this.marks()}) k
            union all select p.message_id from placements p where p.account_id = $1 and p.removed_at is not null and ${this.wanted("p")}`;
  }

  /** And the week that was stored beside the words (samebox_week in the migrations): of no words at all nothing is to be found. */
  private inWeeks(text: string): string {
    if (this.weeks === null) return "";
    const { first, last } = this.weeks;
    const named = Array.from({ length: Number(last - first) + 1 }, (_, n) => `'week ${first + BigInt(n)}'`).join(" | ");
    return ` && case when numnode(${this.words(text)}) = 0 then '' else ${this.bind(named)}::tsquery end`;
  }

  private hits(): string {
    const { text } = this.filter;
    if (text === null) return this.known();
    return `${this.known()}
            union all
            select m.id from (select * from ${this.mayBeUnparsed()} m
                              where not exists (select from message_contents c where c.account_id = $1 and c.message_id = m.id offset 0)
                              order by m.received_at desc, m.id desc limit ${unparsedRows}) m
            where ${headerWords("m")} @@ ${this.words(text)}`;
  }

  /**
   * To find that all is parsed costs a look at each message: where only news can be unparsed, and what has no octets to parse,
   * nothing else is looked at. The news of an account are what the probe has looked through; in a mailbox others may be the newest.
   */
  private mayBeUnparsed(): string {
    const within = this.mailbox === null ? this.bounds("m") : [];
    const all = `select * from messages m where ${["account_id = $1", ...within].join(" and ")}`;
    if (!this.onlyNews) return `(${all})`;
    const news =
      this.mailbox === null
        ? `${all} and durability <> 'stub' and id = any(${this.bind(this.probed)}::uuid[])`
        : `select * from (${all} order by received_at desc, id desc limit ${probeRows}) n where durability <> 'stub'`;
    return `(${news} union all ${all} and durability = 'stub')`;
  }

  /** A keyword test that some placement must pass; only where something is `marked`. */
  private wanted(alias: string): string {
    const { keyword, notKeyword } = this.filter;
    return keyword !== null && keyword !== "$seen" ? this.has(alias, keyword) : `not ${this.has(alias, notKeyword ?? "$seen")}`;
  }

  /** The marks of live placements that pass that test, as rows of the list of the account or of the mailbox. */
  private marks(): string {
    const of = `placement_marks where account_id = $1 and keyword = ${this.bind(markOf(this.filter))}`;
    return this.mailbox === null
      ? `select distinct received_at, message_id as id, message_id from ${of} order by received_at desc, message_id desc`
      : `select placed_at as received_at, placement_id as id, message_id from ${of} and mailbox_id = ${this.mailbox}`;
  }

  /** All rows that may be of the list, and few others. */
  private rows(): string {
    if (markOf(this.filter) !== null && !this.filter.removed) return this.marks();
    return this.mailbox === null
      ? `select received_at, id, id as message_id from messages where account_id = $1`
      : `select received_at, id, message_id from placements p
         where account_id = $1 and mailbox_id = ${this.mailbox} and ${[this.lifecycle("p"), ...this.placementTests("p")].join(" and ")}`;
  }

  /** Those of them within dates and cursor. */
  private within(): string {
    return `(select * from (${this.rows()}) r where ${["true", ...this.bounds("r")].join(" and ")})`;
  }

  /**
   * The rows among which `strategy` looks, within dates and cursor, in the order of the list. "offset 0" has what is asked of each
   * row asked of it first, and only of as many as the page takes.
   */
  private base(strategy: Strategy): string {
    switch (strategy) {
      case "walk":
        return this.worded(this.within());
      case "probe":
      case "longProbe":
        return this.worded(
          `(select * from ${this.within()} r ${newestFirst("r")} limit ${strategy === "probe" ? probeRows : many})`,
        );
      case "found":
        return `(select * from ${this.within()} r where coalesce(r.message_id in (select message_id from hits), false) ${newestFirst("r")} offset 0)`;
      case "sort": {
        const [table, id] = this.mailbox === null ? ["messages", "id"] : ["placements", "message_id"];
        const tests = [
          `t.account_id = $1`,
          ...(this.mailbox === null ? [] : [`t.mailbox_id = ${this.mailbox}`]),
          ...this.bounds("t"),
        ];
        return `(select t.received_at, t.id, t.${id} as message_id from (select distinct message_id from hits) h join ${table} t on t.${id} = h.message_id
                 where ${tests.join(" and ")} ${newestFirst("t")} offset 0)`;
      }
    }
  }

  /** Those of the rows that have the words. */
  private worded(rows: string): string {
    const { text, messageId } = this.filter;
    if (text === null) return rows;
    const named = messageId === null ? "true" : this.named("r.message_id", messageId);
    const header = `select ${headerWords("m")} from messages m where m.account_id = $1 and m.id = r.message_id`;
    // Joined, the contents of the whole account would be hashed.
    const parsed = `select c.search from message_contents c where c.account_id = $1 and c.message_id = r.message_id`;
    return `(select * from ${rows} r where ${named} and coalesce((${parsed}), (${header})) @@ ${this.words(text)} ${newestFirst("r")} offset 0)`;
  }

  /** The message has the Message-ID header. */
  private named(id: string, header: string): string {
    return `${id} = any(array(select samebox_messages_named($1, ${this.bind(header)})))`;
  }

  /**
   * Keywords of the whole message: any placement has it, `$seen` only if all have it (api.md). Two wanted keywords may be
   * found on two placements.
   */
  private keywordTests(): string[] {
    const { keyword, notKeyword } = this.filter;
    // "offset 0" keeps it an index look-up per row: for a page's worth of rows the planner would hash the whole account.
    const some = (test: string) =>
      `exists (select from placements p where p.account_id = $1 and p.message_id = m.id and ${this.lifecycle("p")} and ${test} offset 0)`;
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
  private newerTwin(): string {
    const tests = [
      `q.account_id = $1 and q.mailbox_id = ${this.mailbox} and q.message_id = p.message_id`,
      this.lifecycle("q"),
      ...this.placementTests("q"),
    ];
    if (this.filter.before !== null) tests.push(`q.received_at < ${this.bind(this.filter.before)}`);
    return `exists (select from placements q where ${tests.join(" and ")} and (q.received_at, q.id) > (p.received_at, p.id) offset 0)`;
  }

  /** The page, found by `strategy`. */
  page(strategy: Strategy, limit: number): string {
    const { messageId } = this.filter;
    const hits = strategy === "sort" || strategy === "found" ? `with hits as materialized (${this.hits()})` : "";
    const tests = ["m.durability <> 'purged'"];
    if (messageId !== null) tests.push(this.named("m.id", messageId));
    if (this.mailbox === null) tests.push(...this.keywordTests());
    else tests.push(this.lifecycle("p"), ...this.placementTests("p"), `not ${this.newerTwin()}`);
    const placement = this.mailbox === null ? "" : `join placements p on p.account_id = $1 and p.id = b.id`;
    return `${hits} select b.message_id, b.id, ${microseconds("b.received_at")} as at
            from ${this.base(strategy)} b ${placement} join messages m on m.account_id = $1 and m.id = b.message_id
            where ${tests.join(" and ")} ${newestFirst("b")} limit ${limit}`;
  }

  /** How many messages are `known` to be worth a look, but at most one more than `many`. */
  count(): string {
    return `select count(*) as n from (select from (${this.known()}) h limit ${many + 1}) h`;
  }

  /** How many rows a probe would look through that had no end, but at most one more than `many`. */
  countRows(): string {
    return `select count(*) as n from (select from ${this.within()} r limit ${many + 1}) r`;
  }
}

/** Words of the header, spelled as where the words of parsed messages are made (contents.ts). */
const headerWords = (m: string): string =>
  `to_tsvector('simple', concat_ws(' ', ${m}.subject, ${m}.from_addresses::text, ${m}.to_addresses::text, ${m}.cc_addresses::text))`;

export const microseconds = (column: string): string => `(extract(epoch from ${column}) * 1000000)::bigint`;

const timestamp = (text: string): string => `('epoch'::timestamptz + (${text}::text || ' microseconds')::interval)`;

/**
 * The keyword whose marks are those of the placements, one of which a message must have. null: there is none; the other tests
 * (`$seen`, not another keyword) are for all placements of a message.
 */
export const markOf = ({ keyword, notKeyword }: MessageFilter): string | null => {
  if (keyword !== null && keyword !== "$seen") return keyword;
  return notKeyword === "$seen" ? "$seen" : null;
};
