/** An account whose mail is written over the API by several devices, while others are played by rows in its log. */
import { defaultPolicy } from "../../src/model/account.ts";
import { formatId, type MailboxId, type MessageId, type PlacementId } from "../../src/model/ids.ts";
import type { Reply, TestApi } from "./api.ts";
import { MailRows } from "./mail-rows.ts";

export interface Sender {
  readonly device?: string;
  /** A state; sent as `If-Match`. */
  readonly base?: string;
  /** The `Idempotency-Key`. */
  readonly opId?: string;
}

export interface Mail {
  readonly id: MessageId;
  readonly placement: PlacementId;
  readonly mailboxId: MailboxId;
}

export const shown = (id: MailboxId): string => formatId("mbx", id);

/** Mailbox and state of each placement, oldest first. */
export const placesOf = ({ body }: Reply): [string, string][] =>
  body.message.placements.map(({ mailboxId, state }: { mailboxId: string; state: string }) => [mailboxId, state]);

/** Keywords and places, as both orders of arrival must leave them. */
export const live = ({ body }: Reply): object[] =>
  body.message.placements.map(({ mailboxId, state, keywords }: Record<string, unknown>) => ({ mailboxId, state, keywords }));

export const kinds = (changes: readonly { kind: string; rule: string | null; reason: string }[]): string[] =>
  changes.map(({ kind, rule, reason }) => `${kind}(${reason},${rule})`);

const headersOf = ({ device = "A1", base, opId }: Sender): Record<string, string> => ({
  "x-device-id": device,
  ...(base !== undefined && { "if-match": `"${base}"` }),
  ...(opId !== undefined && { "idempotency-key": opId }),
});

export class WrittenMail {
  readonly api: TestApi;
  readonly rows: MailRows;
  private uid = 0;

  private constructor(api: TestApi, rows: MailRows) {
    this.api = api;
    this.rows = rows;
  }

  static async account(api: TestApi): Promise<WrittenMail> {
    const rows = await MailRows.account(api.db);
    await api.db.query({
      text: `update accounts set policy = $2 where id = $1`,
      values: [rows.accountId, JSON.stringify(defaultPolicy)],
    });
    // Rows of mail say that the first change made them.
    await rows.change({ kind: "account.state" });
    return new WrittenMail(api, rows);
  }

  get account(): string {
    return `/v1/accounts/${formatId("acc", this.rows.accountId)}`;
  }

  pathOf({ id }: Pick<Mail, "id">): string {
    return `${this.account}/messages/${formatId("msg", id)}`;
  }

  /** One message with one placement, shown by the IMAP endpoint. */
  async mail(mailboxId: MailboxId, ...keywords: string[]): Promise<Mail> {
    this.uid += 1;
    const { id, placements } = await this.rows.message({ placements: [{ mailboxId, keywords, uid: this.uid }] });
    return { id, placement: placements[0] as PlacementId, mailboxId };
  }

  send(method: string, path: string, json: unknown, sender: Sender = {}): Promise<Reply> {
    return this.api.request(path, { method, headers: headersOf(sender), ...(json !== undefined && { json }) });
  }

  flag(mail: Pick<Mail, "id">, keywords: Record<string, boolean | null>, sender: Sender = {}): Promise<Reply> {
    return this.send("PATCH", this.pathOf(mail), { keywords }, sender);
  }

  move(
    mail: Pick<Mail, "id">,
    mailboxIds: readonly (readonly [MailboxId, boolean | null])[],
    sender: Sender = {},
  ): Promise<Reply> {
    const named = Object.fromEntries(mailboxIds.map(([id, wanted]) => [formatId("mbx", id), wanted]));
    return this.send("PATCH", this.pathOf(mail), { mailboxIds: named }, sender);
  }

  trash(mail: Pick<Mail, "id">, sender: Sender = {}): Promise<Reply> {
    return this.send("DELETE", this.pathOf(mail), undefined, sender);
  }

  purge(mail: Pick<Mail, "id">, sender: Sender = {}): Promise<Reply> {
    return this.send("DELETE", `${this.pathOf(mail)}?purge=true`, undefined, sender);
  }

  restore(mail: Pick<Mail, "id">, mailboxId: MailboxId | null = null, sender: Sender = {}): Promise<Reply> {
    const json = mailboxId === null ? undefined : { mailboxId: formatId("mbx", mailboxId) };
    return this.send("POST", `${this.pathOf(mail)}/restore`, json, sender);
  }

  batch(ops: readonly object[], sender: Sender = {}): Promise<Reply> {
    return this.send("POST", `${this.account}/batch`, { ops }, sender);
  }

  undo(seq: number): Promise<Reply> {
    return this.send("POST", `${this.account}/changes/${seq}/undo`, undefined);
  }

  async state(): Promise<string> {
    return (await this.api.request(this.account)).body.state;
  }

  // oxlint-disable-next-line typescript/no-explicit-any -- what a JSON answer holds is compared, not trusted
  async changesSince(state: string): Promise<any[]> {
    return (await this.api.request(`${this.account}/changes?since=${state}`)).body.items;
  }

  /** An IMAP device moved it, and a pass has seen that. */
  async observeMove({ id, placement, mailboxId }: Mail, to: MailboxId): Promise<void> {
    const values = { keywords: [] };
    await this.rows.change({
      kind: "message.moved",
      messageId: id,
      placementId: placement,
      before: { mailboxId, ...values },
      after: { mailboxId: to, ...values },
      reason: "upstream_move",
    });
    await this.rows.db.query({ text: `update placements set mailbox_id = $2 where id = $1`, values: [placement, to] });
  }

  /** It is gone upstream, and a cut has decided that it is removed. */
  async observeRemoval({ id, placement, mailboxId }: Mail, reason: string): Promise<void> {
    const state = await this.rows.change({
      kind: "message.removed",
      messageId: id,
      placementId: placement,
      before: { mailboxId, keywords: [] },
      after: null,
      reason,
    });
    await this.rows.db.query({
      text: `update placements set lifecycle = 'removed', removed_at = now(), recoverable_until = now() + interval '30 days', reason = $2, changed_seq = $3 where id = $1`,
      values: [placement, reason, state.split(".")[1]],
    });
    await this.rows.db.query({
      text: `update bindings set active = false, closed_reason = 'absent' where placement_id = $1`,
      values: [placement],
    });
  }
}
