/** What the daemon holds of an account, read in one statement. */
import type { ChangeKind, DecidedChange } from "../../src/model/change.ts";
import { toChangeFacts } from "../../src/model/change-json.ts";
import type { AccountId } from "../../src/model/ids.ts";
import { storyOf } from "../../src/model/story.ts";
import type { Database } from "../../src/store/database.ts";

export interface HeldPlacement {
  readonly id: string;
  readonly messageId: string;
  /** The message's subject: which content it is; null while only its headers are unknown. */
  readonly content: string | null;
  readonly mailboxId: string;
  readonly path: string | null;
  readonly keywords: readonly string[];
  readonly lifecycle: "live" | "removed" | "purged";
  readonly kept: boolean;
  readonly absent: boolean;
  readonly reason: string;
  /** Over IMAP. */
  readonly uid: number | null;
  readonly boundPath: string | null;
  readonly uidl: string | null;
  readonly bindings: number;
}

export interface LogEntry {
  readonly seq: number;
  readonly kind: string;
  readonly reason: string;
  readonly rule: string | null;
  readonly source: string;
  readonly message_id: string | null;
  readonly placement_id: string | null;
  readonly before: Readonly<Record<string, unknown>> | null;
  readonly after: Readonly<Record<string, unknown>> | null;
  readonly evidence: readonly Readonly<Record<string, unknown>>[];
}

export interface Held {
  /** By path. */
  readonly mailboxes: readonly { readonly id: string; readonly path: string; readonly role: string | null }[];
  readonly head: number;
  readonly placements: readonly HeldPlacement[];
  readonly messages: readonly { readonly id: string; readonly content: string | null; readonly readable: boolean }[];
  readonly log: readonly LogEntry[];
  /** Commands that are not ended. */
  readonly owed: number;
  readonly appends: number;
  readonly holds: number;
  /** Why bindings were closed. */
  readonly closed: readonly string[];
}

const noWords = /[0-9a-f]{8}-[0-9a-f]{4}-|[{}]/;

/** What its readers cannot make anything of: an id that is none of the API, or a story that is none; null: there is nothing. */
export const unreadableIn = (entry: LogEntry): string | null => {
  const change = {
    ...{ messageId: entry.message_id, mailboxId: null, placementId: entry.placement_id, endpointId: null, deviceId: null },
    ...{ kind: entry.kind as ChangeKind, source: entry.source, reason: entry.reason, rule: entry.rule, confidence: null },
    ...{ before: entry.before, after: entry.after, evidence: entry.evidence },
  } as DecidedChange;
  const shown = toChangeFacts({ ...change, accountId: "" as AccountId, seq: BigInt(entry.seq), stateEpoch: 0, at: new Date(0) });
  const { before, after, evidence } = shown;
  const values = JSON.stringify({ before, after, evidence });
  const { text: told } = storyOf({ ...change, before, after, evidence });
  return [values.replaceAll(/[{}]/g, ""), told].find((one) => noWords.test(one)) ?? null;
};

const text = `
  select json_build_object(
    'head', (select head_seq from accounts where id = $1),
    'placements', (select coalesce(json_agg(p order by p.id), '[]') from (
      select p.id, p.message_id as "messageId", m.subject as content, p.mailbox_id as "mailboxId",
        (select path from upstream_mailboxes u where u.account_id = $1 and u.mailbox_id = p.mailbox_id) as path,
        p.keywords, p.lifecycle, p.kept, p.absent_since is not null as absent, p.reason,
        i.uid, i.path as "boundPath", d.uidl,
        (select count(*)::int from bindings b where b.account_id = $1 and b.placement_id = p.id and b.active) as bindings
      from placements p join messages m on m.account_id = $1 and m.id = p.message_id
      left join lateral (select b.uid, u.path from bindings b
        join upstream_mailboxes u on u.account_id = $1 and u.endpoint_id = b.endpoint_id and u.mailbox_id = b.mailbox_id
        where b.account_id = $1 and b.placement_id = p.id and b.active and b.uidl = '' limit 1) i on true
      left join lateral (select b.uidl from bindings b
        where b.account_id = $1 and b.placement_id = p.id and b.active and b.uidl <> '' limit 1) d on true
      where p.account_id = $1) p),
    'mailboxes', (select coalesce(json_agg(b order by b.path), '[]') from (
      select u.mailbox_id as id, u.path, b.role from upstream_mailboxes u join mailboxes b on b.account_id = $1 and b.id = u.mailbox_id
      where u.account_id = $1) b),
    'messages', (select coalesce(json_agg(m order by m.id), '[]') from (
      select m.id, m.subject as content, m.durability = 'durable' and exists (
        select from blobs b where b.account_id = $1 and b.sha256 = m.sha256) as readable
      from messages m where m.account_id = $1) m),
    'log', (select coalesce(json_agg(c order by c.seq), '[]') from (
      select seq, kind, reason, rule, source, message_id, placement_id, before, after, evidence from changes where account_id = $1 and seq > $2) c),
    'owed', (select count(*) from commands where account_id = $1 and ended_at is null),
    'appends', (select count(*) from commands where account_id = $1 and verb = 'append'),
    'holds', (select count(*) from holds where account_id = $1 and closed_at is null),
    'closed', (select coalesce(json_agg(distinct closed_reason), '[]') from bindings where account_id = $1 and closed_reason is not null)
  ) as held`;

/** The log from after `since` on, and the rest as it is now. */
export const readHeld = async (db: Database, accountId: AccountId, since: number): Promise<Held> => {
  const { rows } = await db.query<{ held: Held }>({ name: "simulation_held", text, values: [accountId, since] });
  const [row] = rows;
  if (row === undefined) throw new Error("the account is not there");
  return row.held;
};
