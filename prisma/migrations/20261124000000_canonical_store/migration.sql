-- The canonical store. Needs PostgreSQL 15 (unique nulls not distinct).
--
-- account_id comes first in every key of an account's tables, which are hash-partitioned by it: one server today,
-- Citus or cells later, without a schema change. Tables written on the ingest path carry no foreign keys: a check per
-- row costs a fifth of the ingest, and every such row is written under the account's row lock by one code path.

create table installation (
  id smallint primary key default 1,
  virtual_shards integer not null,
  shards integer not null,
  created_at timestamptz not null default now(),
  constraint installation_is_one_row check (id = 1)
);

create table tenants (
  id uuid primary key,
  name text not null,
  created_at timestamptz not null default now(),
  constraint tenants_name_is_unique unique (name)
);

create table api_keys (
  id uuid primary key,
  tenant_id uuid not null,
  name text not null,
  secret_sha256 bytea not null,
  scopes text[] not null,
  account_ids uuid[],
  expires_at timestamptz,
  last_used_at timestamptz,
  created_at timestamptz not null default now(),
  constraint api_keys_secret_is_unique unique (secret_sha256),
  constraint api_keys_belong_to_a_tenant foreign key (tenant_id) references tenants (id) on delete cascade on update cascade
);
create index api_keys_of_tenant on api_keys (tenant_id, id);

create table idempotency_keys (
  tenant_id uuid not null,
  key text not null,
  fingerprint bytea not null,
  status integer,
  body jsonb,
  created_at timestamptz not null default now(),
  completed_at timestamptz,
  constraint idempotency_keys_pkey primary key (tenant_id, key),
  constraint idempotency_answer_is_whole check ((status is null) = (completed_at is null))
);
create index idempotency_keys_by_age on idempotency_keys (created_at);

-- Who did what over the API: only ever added to, and kept when the account is gone. Holds ids, never contents or secrets.
create table audit_log (
  id uuid not null,
  tenant_id uuid not null,
  at timestamptz not null default now(),
  key_id uuid,
  method text not null,
  route text not null,
  account_id uuid,
  objects jsonb not null,
  fields jsonb not null,
  status integer not null,
  address text not null,
  request_id text not null,
  constraint audit_log_pkey primary key (id)
);
create index audit_log_of_tenant on audit_log (tenant_id, id);
create index audit_log_by_age on audit_log (at);

-- Heartbeats and ownership are apart, so that renewing a heartbeat never waits for a fenced write.
create table processes (
  id uuid primary key,
  host text not null,
  started_at timestamptz not null default now(),
  expires_at timestamptz not null
);

create table shards (
  id smallint primary key,
  owner uuid,
  epoch bigint not null default 0,
  constraint shards_epoch_never_negative check (epoch >= 0)
);

create table accounts (
  id uuid not null,
  tenant_id uuid not null,
  name text not null,
  email text not null,
  virtual_shard integer not null,
  policy jsonb not null,
  policy_version integer not null default 1,
  -- What was seen of devices that read the account over POP3: src/model/pop3-devices.ts.
  pop3_evidence jsonb not null default '{}',
  paused boolean not null default false,
  sync_state text not null default 'connecting',
  state_epoch integer not null default 0,
  head_seq bigint not null default 0,
  -- The hash of the change of that number; empty before the first.
  head_hash bytea not null default '',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  constraint accounts_pkey primary key (id),
  constraint accounts_seq_never_negative check (head_seq >= 0),
  constraint accounts_sync_state_is_known check
    (sync_state in ('connecting', 'backfilling', 'live', 'paused', 'needs_reauth', 'needs_attention', 'held'))
) partition by hash (id);
create index accounts_of_tenant on accounts (tenant_id, id);
create index accounts_of_shard on accounts (virtual_shard, id);

create table data_keys (
  account_id uuid not null,
  id uuid not null,
  tenant_id uuid not null,
  kek_id text not null,
  wrapped text not null,
  created_at timestamptz not null default now(),
  constraint data_keys_pkey primary key (account_id, id)
) partition by hash (account_id);

create table endpoints (
  account_id uuid not null,
  id uuid not null,
  tenant_id uuid not null,
  protocol text not null,
  host text not null,
  port integer not null,
  security text not null,
  tls_ca_pem text,
  tls_reject_unauthorized boolean not null default true,
  auth_type text not null,
  auth_user text not null,
  credentials text not null,
  credentials_version integer not null default 1,
  profile jsonb not null default '{}',
  sync_state text not null default 'connecting',
  last_error jsonb,
  attempts integer not null default 0,
  next_attempt_at timestamptz,
  last_success_at timestamptz,
  progress_done bigint not null default 0,
  progress_total bigint not null default 0,
  backfill_started_at timestamptz,
  maildrop_epoch integer not null default 0,
  -- Everything is to be read anew since then; null: nobody asks for that.
  resync_asked_at timestamptz,
  created_at timestamptz not null default now(),
  constraint endpoints_pkey primary key (account_id, id),
  constraint endpoints_protocol_is_known check (protocol in ('imap', 'pop3')),
  constraint endpoints_security_is_known check (security in ('tls', 'starttls', 'none')),
  constraint endpoints_port_is_a_port check (port between 1 and 65535)
) partition by hash (account_id);

create table mailboxes (
  account_id uuid not null,
  id uuid not null,
  tenant_id uuid not null,
  name text not null,
  parent_id uuid,
  role text,
  role_source text,
  subscribed boolean not null default true,
  lifecycle text not null default 'live',
  created_seq bigint not null,
  changed_seq bigint not null,
  -- Live placements, and those of them without $seen. Kept by triggers on placements (below).
  total_messages bigint not null default 0,
  unread_messages bigint not null default 0,
  constraint mailboxes_pkey primary key (account_id, id),
  constraint mailboxes_role_is_known check (role in ('inbox', 'archive', 'drafts', 'sent', 'junk', 'trash')),
  constraint mailboxes_role_needs_source check (case when role is null then coalesce(role_source, 'api') = 'api' else role_source is not null end),
  constraint mailboxes_lifecycle_is_known check (lifecycle in ('live', 'removed'))
) partition by hash (account_id);
create unique index mailboxes_name_once_per_parent on mailboxes (account_id, parent_id, name) nulls not distinct where lifecycle = 'live';
create unique index mailboxes_role_once on mailboxes (account_id, role) where role is not null and lifecycle = 'live';

-- A mailbox as one endpoint shows it: address, epoch, cursor (the shadow of the mailbox).
create table upstream_mailboxes (
  account_id uuid not null,
  endpoint_id uuid not null,
  mailbox_id uuid not null,
  tenant_id uuid not null,
  path text not null,
  delimiter text,
  selectable boolean not null,
  object_id text,
  -- A view of all mail: what it shows is in other mailboxes, or in none.
  shows_all boolean not null default false,
  epoch integer not null default 0,
  uid_validity bigint,
  uid_next bigint,
  highest_modseq bigint,
  backfill_low bigint,
  permanent_flags text[] not null default '{}',
  stored_flags text[] not null default '{}',
  scan_id bigint not null default 0,
  audited_at timestamptz,
  absent_since timestamptz,
  failures integer not null default 0,
  parked_until timestamptz,
  park_reason text,
  pop3_seen jsonb,
  constraint upstream_mailboxes_pkey primary key (account_id, endpoint_id, mailbox_id),
  constraint upstream_cursor_needs_epoch check (uid_next is null or uid_validity is not null)
) partition by hash (account_id);
-- One that is missing only remembers where it was: another one may stand there now.
create unique index upstream_mailboxes_path_once on upstream_mailboxes (account_id, endpoint_id, path) where absent_since is null;

-- Raw octets by content, in parts of at most 1 MiB, never compressed by PostgreSQL (pglz halves the ingest).
create table blobs (
  account_id uuid not null,
  sha256 bytea not null,
  part integer not null,
  tenant_id uuid not null,
  data bytea not null,
  constraint blobs_pkey primary key (account_id, sha256, part),
  constraint blobs_hash_is_sha256 check (octet_length(sha256) = 32)
) partition by hash (account_id);
alter table blobs alter column data set storage external;

create table messages (
  account_id uuid not null,
  id uuid not null,
  tenant_id uuid not null,
  sha256 bytea,
  size bigint not null,
  durability text not null,
  message_id text,
  in_reply_to text,
  reference_ids text[] not null default '{}',
  subject text,
  from_addresses jsonb not null default '[]',
  to_addresses jsonb not null default '[]',
  cc_addresses jsonb not null default '[]',
  bcc_addresses jsonb not null default '[]',
  sent_at timestamptz,
  received_at timestamptz not null,
  thread_id uuid not null,
  h_full bytea,
  h_head bytea,
  h_sem bytea,
  normal_size bigint,
  upstream_id text,
  -- Stored octets of the same mail in other words (src/store/renderings.ts).
  renderings bytea[] not null default '{}',
  created_seq bigint not null,
  constraint messages_pkey primary key (account_id, id),
  constraint messages_durability_is_known check (durability in ('stub', 'durable', 'purged')),
  constraint messages_durable_has_octets check (durability <> 'durable' or sha256 is not null)
) partition by hash (account_id);
create unique index messages_octets_once on messages (account_id, sha256);
create index messages_newest_first on messages (account_id, received_at desc, id desc);
-- Only mail of accounts with a POP3 endpoint has these: elsewhere they cost the first reading nothing.
create index messages_by_normal_form on messages (account_id, h_full) where h_full is not null;
create index messages_by_head on messages (account_id, h_head) where h_head is not null;
-- What could not be read yet is looked for at each look at a maildrop.
create index messages_stubs on messages (account_id) where durability = 'stub';
create index messages_by_message_id on messages (account_id, "left"(message_id, 128));

create table message_contents (
  account_id uuid not null,
  message_id uuid not null,
  tenant_id uuid not null,
  status text not null,
  reason text,
  preview text not null default '',
  has_attachment boolean not null default false,
  attachments jsonb not null default '[]',
  search tsvector,
  constraint message_contents_pkey primary key (account_id, message_id),
  constraint message_contents_status_is_known check (status in ('parsed', 'failed')),
  constraint message_contents_failed_has_reason check ((status = 'failed') = (reason is not null))
) partition by hash (account_id);
create index message_contents_search on message_contents using gin (search);
-- Beside its words search has the week a message was received in, counted from 1970, as a word with a space in it, which no text has:
-- what is looked for can be looked for in some weeks only.
create function samebox_week(at timestamptz) returns tsvector language sql stable parallel safe
  as $$ select array_to_tsvector(array['week ' || floor(extract(epoch from at) / 604800)::integer]) $$;

create table placements (
  account_id uuid not null,
  id uuid not null,
  tenant_id uuid not null,
  message_id uuid not null,
  mailbox_id uuid not null,
  keywords text[] not null,
  lifecycle text not null,
  kept boolean not null default false,
  reason text not null,
  received_at timestamptz not null,
  absent_since timestamptz,
  -- What the read that missed the item showed beside it: src/reconciler/vanish-evidence.ts.
  absence jsonb,
  removed_at timestamptz,
  recoverable_until timestamptz,
  created_seq bigint not null,
  changed_seq bigint not null,
  constraint placements_pkey primary key (account_id, id),
  constraint placements_lifecycle_is_known check (lifecycle in ('live', 'removed', 'purged')),
  constraint placements_removed_has_time check ((lifecycle = 'live') = (removed_at is null)),
  constraint placements_kept_is_live check (not kept or lifecycle = 'live')
) partition by hash (account_id);
create index placements_newest_first on placements (account_id, mailbox_id, received_at desc, id desc);
create index placements_of_message on placements (account_id, message_id);
create index placements_kept on placements (account_id, mailbox_id) where kept;
create index placements_absent on placements (account_id, mailbox_id) where absent_since is not null;
create index placements_removed on placements (account_id, removed_at) where removed_at is not null;

-- What lists by keyword look through, in their two orders: for each keyword the live placements that wear it, but for $seen those
-- that lack it, for nearly all mail has it. Kept by triggers on placements (below). Keywords longer than anybody can ask for have none.
create table placement_marks (
  account_id uuid not null,
  keyword text not null,
  mailbox_id uuid not null,
  placed_at timestamptz not null,
  placement_id uuid not null,
  tenant_id uuid not null,
  message_id uuid not null,
  -- The message's; placed_at is the placement's.
  received_at timestamptz not null,
  constraint placement_marks_pkey primary key (account_id, keyword, mailbox_id, placed_at, placement_id)
) partition by hash (account_id);
create index placement_marks_newest_first on placement_marks (account_id, keyword, received_at desc, message_id desc);

-- Placement ↔ upstream item, with its shadow. IMAP fills uid, POP3 fills uidl and occurrence.
create table bindings (
  account_id uuid not null,
  endpoint_id uuid not null,
  mailbox_id uuid not null,
  epoch integer not null,
  uid bigint not null default 0,
  uidl text not null default '',
  occurrence smallint not null default 0,
  listed_size bigint,
  bound_at timestamptz,
  tenant_id uuid not null,
  placement_id uuid not null,
  active boolean not null default true,
  closed_reason text,
  shadow_flags text[] not null,
  shadow_modseq bigint,
  synced_seq bigint not null,
  -- By which the server knows the content, in whatever mailbox.
  object_id text,
  -- When the server has it from; with it, the size and the object id other mail under the same number is told.
  received_at timestamptz,
  constraint bindings_pkey primary key (account_id, endpoint_id, mailbox_id, epoch, uid, uidl, occurrence),
  constraint bindings_closed_has_reason check (active = (closed_reason is null)),
  constraint bindings_name_an_item check ((uid > 0) <> (uidl <> ''))
) partition by hash (account_id);
-- With the endpoint, so that no planner without statistics takes the primary key, whose first two columns match as well, and
-- reads a whole account for each placement.
create index bindings_of_placement on bindings (account_id, placement_id, endpoint_id);

create table observations (
  account_id uuid not null,
  id uuid not null,
  tenant_id uuid not null,
  endpoint_id uuid not null,
  mailbox_id uuid,
  scan_id bigint not null,
  kind text not null,
  complete boolean not null,
  started_at timestamptz not null,
  ended_at timestamptz not null,
  cursor_before jsonb,
  cursor_after jsonb,
  facts jsonb,
  first_seq bigint,
  last_seq bigint,
  ingested_at timestamptz not null default clock_timestamp(),
  constraint observations_pkey primary key (account_id, id)
) partition by hash (account_id);

create table intents (
  account_id uuid not null,
  op_id text not null,
  tenant_id uuid not null,
  device_id text not null,
  base_seq bigint not null,
  kind text not null,
  message_id uuid,
  args jsonb not null,
  -- What it asserts of keywords: src/reconciler/intent-keywords.ts.
  said jsonb,
  status text not null,
  reason text not null,
  warnings text[] not null default '{}',
  -- The last change when it was decided, and how many, up to it, are its own.
  seq bigint not null,
  changes integer not null default 0,
  -- Those of one transaction in their order.
  created_at timestamptz not null default clock_timestamp(),
  constraint intents_pkey primary key (account_id, op_id),
  constraint intents_status_is_known check (status in ('applied', 'superseded', 'rejected', 'pending', 'failed'))
) partition by hash (account_id);

create index intents_of_message on intents (account_id, message_id, seq);

create table commands (
  account_id uuid not null,
  id uuid not null,
  tenant_id uuid not null,
  endpoint_id uuid not null,
  placement_id uuid,
  mailbox_id uuid,
  op_id text,
  verb text not null,
  args jsonb not null,
  reason text not null,
  fence jsonb,
  status text not null,
  outcome text,
  attempts integer not null default 0,
  planned_at timestamptz not null default now(),
  due_at timestamptz,
  sent_at timestamptz,
  ended_at timestamptz,
  constraint commands_pkey primary key (account_id, id),
  constraint commands_status_is_known check (status in ('planned', 'sent', 'confirmed', 'unknown', 'failed', 'masked', 'superseded')),
  constraint commands_sent_has_time check (status not in ('sent', 'confirmed', 'unknown') or sent_at is not null),
  constraint commands_ended_has_time check ((status in ('planned', 'sent', 'unknown')) = (ended_at is null))
) partition by hash (account_id);
create index commands_open on commands (account_id, endpoint_id) where status in ('planned', 'sent', 'unknown');
-- What the daemon does of its own accord it does once for each placement and cause.
create unique index commands_once on commands (account_id, placement_id, reason) where op_id is null;
-- Every page of messages asks which of their writes were refused.
create index commands_refused on commands (account_id, placement_id) where status in ('masked', 'failed');
-- Of what a maildrop lacks it is asked whether it was ever put back.
create index commands_appended on commands (account_id, placement_id) where verb = 'append';
-- What goes only once something else is there.
create index commands_replaced on commands (account_id, (args->>'after')) where args ? 'after';
-- What operations want of a placement is said once while it is open.
create unique index commands_wanted on commands (account_id, placement_id, verb) where op_id is not null and ended_at is null;
-- What is wanted of a mailbox is one thing at a time.
create unique index commands_of_mailbox on commands (account_id, endpoint_id, mailbox_id) where placement_id is null and mailbox_id is not null and ended_at is null;
create index commands_ended_of_mailbox on commands (account_id, mailbox_id, planned_at) where placement_id is null and mailbox_id is not null;

-- Items that had to be RETRed while IMAP was down, noted before the server is asked: what is read then was read by nobody.
create table retrievals (
  account_id uuid not null,
  endpoint_id uuid not null,
  epoch integer not null,
  uidl text not null,
  occurrence smallint not null,
  tenant_id uuid not null,
  retrieved_at timestamptz not null,
  outcome text,
  constraint retrievals_pkey primary key (account_id, endpoint_id, epoch, uidl, occurrence),
  constraint retrievals_outcome_is_known check (outcome in ('cleared', 'read', 'unread', 'gone'))
) partition by hash (account_id);
create index retrievals_open on retrievals (account_id) where outcome is null;

-- What was decided, in the order of the decisions: replaying them rebuilds the account (src/store/inputs.ts).
create table inputs (
  account_id uuid not null,
  ordinal bigint not null,
  tenant_id uuid not null,
  id uuid not null,
  kind text not null,
  name text not null,
  -- The clock of the daemon that decided, and that of the transaction.
  at timestamptz not null,
  began_at timestamptz not null default now(),
  -- Of the log when it was decided, and after it.
  seq_before bigint not null,
  seq_after bigint not null,
  -- Compressed (RFC 8878).
  facts bytea not null,
  constraint inputs_pkey primary key (account_id, ordinal),
  constraint inputs_kind_is_known check (kind in ('observation', 'intent', 'outcome', 'tick'))
) partition by hash (account_id);
alter table inputs alter column facts set storage external;
create index inputs_by_age on inputs (at);

create table holds (
  account_id uuid not null,
  id uuid not null,
  tenant_id uuid not null,
  mailbox_id uuid,
  reason text not null,
  count integer not null,
  evidence jsonb not null default '[]',
  since timestamptz not null default now(),
  -- What somebody said of it; the worker that holds it back closes it.
  decision text,
  decided_by text,
  closed_at timestamptz,
  outcome text,
  constraint holds_pkey primary key (account_id, id),
  constraint holds_decision_is_known check (decision in ('approved', 'rejected')),
  constraint holds_decision_has_device check ((decision is null) = (decided_by is null)),
  constraint holds_closed_has_outcome check ((closed_at is null) = (outcome is null))
) partition by hash (account_id);

create table changes (
  account_id uuid not null,
  seq bigint not null,
  tenant_id uuid not null,
  state_epoch integer not null,
  at timestamptz not null,
  kind text not null,
  message_id uuid,
  mailbox_id uuid,
  placement_id uuid,
  before jsonb,
  after jsonb,
  source text not null,
  endpoint_id uuid,
  device_id text,
  input_id uuid,
  reason text not null,
  rule text,
  confidence double precision,
  evidence jsonb not null default '[]',
  -- SHA-256 of the hash before it and the entry: src/store/change-chain.ts.
  hash bytea not null,
  constraint changes_pkey primary key (account_id, seq),
  constraint changes_seq_is_positive check (seq > 0)
) partition by hash (account_id);
create index changes_of_message on changes (account_id, message_id, seq);
create index changes_of_mailbox on changes (account_id, mailbox_id, seq) where message_id is null;

create table webhooks (
  id uuid not null,
  tenant_id uuid not null,
  url text not null,
  account_ids uuid[],
  kinds text[],
  secret text not null,
  -- The secret before the last rotation: it signs, too, until then.
  old_secret text,
  old_secret_until timestamptz,
  disabled_because text,
  -- The breaker: failures in a row, of whichever account, and when to try again.
  failures integer not null default 0,
  failing_since timestamptz,
  open_until timestamptz,
  last_success_at timestamptz,
  -- The test event that waits to be sent.
  test_id uuid,
  -- Rises with each change by its owner: who still sends as it was before has no say any more.
  version integer not null default 0,
  created_at timestamptz not null default now(),
  constraint webhooks_pkey primary key (id),
  constraint webhooks_belong_to_a_tenant foreign key (tenant_id) references tenants (id) on delete cascade on update cascade,
  constraint webhooks_are_disabled_for_a_reason check (disabled_because in ('asked', 'gone', 'failing')),
  constraint webhooks_old_secret_ends check ((old_secret is null) = (old_secret_until is null))
);
create index webhooks_of_tenant on webhooks (tenant_id, id);

-- How far a webhook has come in an account's log. No row: it stands at the beginning.
create table webhook_lanes (
  account_id uuid not null,
  webhook_id uuid not null,
  tenant_id uuid not null,
  seq bigint not null,
  -- Rises when the lane is set elsewhere: who still sends from where it stood before has no say any more.
  generation integer not null default 0,
  attempts integer not null default 0,
  due_at timestamptz,
  constraint webhook_lanes_pkey primary key (account_id, webhook_id)
) partition by hash (account_id);
create index webhook_lanes_of_webhook on webhook_lanes (webhook_id);

create table webhook_deliveries (
  webhook_id uuid not null,
  id uuid not null,
  tenant_id uuid not null,
  account_id uuid,
  seq bigint,
  kind text not null,
  attempt integer not null,
  at timestamptz not null,
  result text not null,
  status integer,
  duration_ms integer not null,
  constraint webhook_deliveries_pkey primary key (webhook_id, id)
);
create index webhook_deliveries_by_age on webhook_deliveries (at);

do $$
declare
  parent text;
begin
  foreach parent in array array['accounts', 'data_keys', 'endpoints', 'mailboxes', 'upstream_mailboxes', 'blobs', 'messages',
    'message_contents', 'placements', 'placement_marks', 'bindings', 'observations', 'intents', 'commands', 'retrievals', 'inputs', 'holds', 'changes', 'webhook_lanes']
  loop
    for remainder in 0..15 loop
      execute format('create table %I partition of %I for values with (modulus 16, remainder %s)',
        parent || '_p' || lpad(remainder::text, 2, '0'), parent, remainder);
    end loop;
  end loop;
end
$$;

-- Marks and counters follow the placements in the statement that changes them, whichever it is. What one statement takes away and
-- gives again costs nothing, and what leaves a placement where and as it is marked costs little. Statements are planned once for a
-- connection, perhaps while a table is empty: each row is to be looked up by its key all the same.
do $$
declare
  event record;
begin
  for event in
    select * from (values
      ('insert', 'new table as rows_after', 'select 1 as n, a.* from rows_after a'),
      ('update', 'old table as rows_before new table as rows_after',
        'select sum(n)::integer as n, account_id, mailbox_id, id, tenant_id, message_id, received_at, keywords, lifecycle
         from (select 1 as n, a.* from rows_after a union all select -1, b.* from rows_before b) p where lifecycle = ''live''
         group by account_id, mailbox_id, id, tenant_id, message_id, received_at, keywords, lifecycle having sum(n) <> 0'),
      ('delete', 'old table as rows_before', 'select -1 as n, b.* from rows_before b')) as e(name, tables, sides)
  loop
    execute format($f$
      create function samebox_placements_%1$s() returns trigger language plpgsql
        set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $body$
      declare
        gone placement_marks[];
        come placement_marks[];
      begin
        with changed as materialized (select * from (%2$s) p where lifecycle = 'live'),
          counted as (
            update mailboxes m set total_messages = m.total_messages + d.total, unread_messages = m.unread_messages + d.unread
            from (select account_id, mailbox_id, sum(n) as total, coalesce(sum(n) filter (where not '$seen' = any(keywords)), 0) as unread
                  from changed group by account_id, mailbox_id) d
            where m.account_id = d.account_id and m.id = d.mailbox_id and (d.total <> 0 or d.unread <> 0))
        select array_agg(mark) filter (where n < 0), array_agg(mark) filter (where n > 0) into gone, come from (
          -- What has a keyword twice has its mark once: the sum of n would count both.
          select row(account_id, keyword, mailbox_id, received_at, id, tenant_id, message_id, received_at)::placement_marks as mark, min(n) + max(n) as n
          from changed cross join lateral unnest(
            case when '$seen' = any(keywords) then array_remove(keywords, '$seen') else keywords || '$seen'::text end) as keyword
          where length(keyword) <= 255
          group by account_id, keyword, mailbox_id, received_at, id, tenant_id, message_id having min(n) + max(n) <> 0) marks;
        if gone is not null then
          delete from placement_marks k using unnest(gone) g
          where k.account_id = g.account_id and k.keyword = g.keyword and k.mailbox_id = g.mailbox_id and k.placed_at = g.placed_at
            and k.placement_id = g.placement_id;
        end if;
        if come is not null then
          insert into placement_marks
          select c.account_id, c.keyword, c.mailbox_id, c.placed_at, c.placement_id, c.tenant_id, c.message_id, m.received_at
          from unnest(come) c join messages m on m.account_id = c.account_id and m.id = c.message_id;
        end if;
        return null;
      end
      $body$
    $f$, event.name, event.sides);
    execute format('create trigger placements_%1$s after %1$s on placements referencing %2$s for each statement execute function samebox_placements_%1$s()',
      event.name, event.tables);
  end loop;
end
$$;

insert into tenants (id, name) values ('00000000-0000-7000-8000-000000000001', 'default');

-- Row-level security, for all that has a tenant: what is asked for a tenant runs as a role of its own (src/store/tenant-role.ts)
-- and sees that tenant's rows; without a tenant set, none. The owner of the tables sees all. Stands last, to miss no table.
create function samebox_tenant() returns uuid language sql stable parallel safe
  as $$ select nullif(current_setting('samebox.tenant', true), '')::uuid $$;

do $$
declare
  guarded record;
begin
  for guarded in
    select c.relname as name, case c.relname when 'tenants' then 'id' else 'tenant_id' end as tenant
      from pg_class c join pg_attribute a on a.attrelid = c.oid and not a.attisdropped
      where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
        and a.attname = case c.relname when 'tenants' then 'id' else 'tenant_id' end
  loop
    execute format('alter table %I enable row level security', guarded.name);
    -- The sub-select is run once for a statement, not once for a row.
    execute format('create policy of_the_tenant on %I using (%I = (select samebox_tenant()))', guarded.name, guarded.tenant);
  end loop;
end
$$;

-- Indexes that a policy would keep from being used: their operators are not leakproof, so PostgreSQL applies them to each row
-- that the policy lets through. These two look with the owner's eyes, for the tenant that is set only. What is in a sub-select is
-- asked once for a call, not once for a row.
create function samebox_messages_with_words(account uuid, words tsquery) returns setof uuid
  language sql stable parallel safe rows 100 security definer set search_path from current
  as $$ select message_id from message_contents where account_id = account and search @@ words
          and ((select current_setting('role')) = 'none' or tenant_id = (select samebox_tenant())) $$;

create function samebox_messages_named(account uuid, name text) returns setof uuid
  language sql stable parallel safe rows 100 security definer set search_path from current
  as $$ select id from messages where account_id = account and left(message_id, 128) = left(name, 128) and message_id = name
          and ((select current_setting('role')) = 'none' or tenant_id = (select samebox_tenant())) $$;
