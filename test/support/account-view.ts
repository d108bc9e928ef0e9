/** An account as an app sees it over HTTP, small enough to be compared: mailboxes by path, messages by subject. */
import { expectChained } from "./hash-chain.ts";
import type { Daemon } from "./daemon.ts";

export interface SeenMailbox {
  readonly id: string;
  readonly role: string | null;
  readonly parentId: string | null;
}

export interface SeenMessage {
  readonly id: string;
  /** Paths of the mailboxes it is in, sorted. */
  readonly in: readonly string[];
  readonly keywords: readonly string[];
}

export interface SeenChange {
  readonly seq: number;
  readonly hash: string;
  readonly kind: string;
  readonly messageId: string | null;
  readonly mailboxId: string | null;
  readonly reason: string;
  readonly rule: string | null;
  readonly confidence: number | null;
  readonly after: Readonly<Record<string, unknown>> | null;
  readonly evidence: readonly Readonly<Record<string, unknown>>[];
}

interface Page<T> {
  readonly items: readonly T[];
}

const get = async <T>(daemon: Daemon, accountId: string, rest: string): Promise<T> => {
  const { status, body } = await daemon.call<T>("GET", `/v1/accounts/${accountId}/${rest}`);
  if (status !== 200) throw new Error(`${rest}: ${status} ${JSON.stringify(body)}`);
  return body;
};

export const mailboxesOf = async (daemon: Daemon, accountId: string): Promise<ReadonlyMap<string, SeenMailbox>> => {
  const { items } = await get<Page<SeenMailbox & { path: string }>>(daemon, accountId, "mailboxes");
  return new Map(items.map(({ path, id, role, parentId }) => [path, { id, role, parentId }]));
};

interface ListedMessage {
  readonly id: string;
  readonly subject: string | null;
  readonly keywords: Readonly<Record<string, true>>;
  readonly mailboxIds: Readonly<Record<string, true>>;
}

/** Messages that are in some mailbox, by subject; two of one subject are an error of the test or of the daemon. */
export const messagesOf = async (daemon: Daemon, accountId: string): Promise<ReadonlyMap<string, SeenMessage>> => {
  const paths = new Map([...(await mailboxesOf(daemon, accountId))].map(([path, { id }]) => [id, path]));
  const { items } = await get<Page<ListedMessage>>(daemon, accountId, "messages?limit=500");
  const found = new Map<string, SeenMessage>();
  for (const { id, subject, keywords, mailboxIds } of items) {
    const places = Object.keys(mailboxIds).map((mailboxId) => paths.get(mailboxId) ?? mailboxId);
    const name = subject ?? "";
    if (found.has(name)) throw new Error(`two messages with the subject ${name}`);
    found.set(name, { id, in: places.sort(), keywords: Object.keys(keywords).sort() });
  }
  return found;
};

/** The whole log, page by page, for tests that alter it. @throws Error when a number is missing or comes twice. */
export const alteredChangesOf = async (daemon: Daemon, accountId: string, limit = 100): Promise<readonly SeenChange[]> => {
  const all: SeenChange[] = [];
  for (let since = "0.0"; ;) {
    const page = await get<Page<SeenChange> & { newState: string; hasMore: boolean }>(
      daemon,
      accountId,
      `changes?since=${since}&limit=${limit}`,
    );
    all.push(...page.items);
    since = page.newState;
    if (!page.hasMore) break;
  }
  all.forEach(({ seq }, at) => {
    if (seq !== at + 1) throw new Error(`the log has ${seq} where ${at + 1} belongs`);
  });
  return all;
};

/** The whole log. @throws Error when a number is missing or comes twice, or the chain of hashes is broken. */
export const changesOf = async (daemon: Daemon, accountId: string, limit = 100): Promise<readonly SeenChange[]> => {
  const all = await alteredChangesOf(daemon, accountId, limit);
  expectChained(all);
  return all;
};

interface EndpointStatus {
  readonly syncState: string;
  readonly nextAttemptAt: string | null;
  readonly lastSuccessAt: string | null;
  readonly watching: readonly string[];
  readonly lastError: { readonly code: string; readonly message: string; readonly action: string } | null;
  readonly profile: { readonly changeDetection?: string; readonly push?: string; readonly listStatus?: boolean };
  readonly notices: readonly string[];
}

export interface AccountStatus {
  readonly syncState: string;
  readonly progress: { readonly done: number; readonly total: number };
  readonly endpoint: EndpointStatus;
  readonly pop3Devices: { readonly state: string; readonly since: string | null; readonly because: string | null };
  readonly suspectedDevices: readonly { readonly sign: string; readonly count: number; readonly certain: boolean }[];
  readonly holds: readonly { readonly id: string; readonly reason: string; readonly count: number }[];
}

/** The status of an account with one endpoint. */
export const statusOf = async (daemon: Daemon, accountId: string): Promise<AccountStatus> => {
  const { endpoints, ...rest } = await get<Omit<AccountStatus, "endpoint"> & { endpoints: readonly EndpointStatus[] }>(
    daemon,
    accountId,
    "status",
  );
  const [endpoint] = endpoints;
  if (endpoint === undefined) throw new Error("the account has no endpoint");
  return { ...rest, endpoint };
};
