import { createHash } from "node:crypto";
import pLimit from "p-limit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { corpus } from "../support/corpus.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, testAdminKey } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { harmfulIn } from "../support/harmful-html.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

interface Message {
  readonly id: string;
  readonly blobId: string | null;
  readonly size: number;
  readonly parseStatus: string;
  readonly parseError: string | null;
  readonly attachments: readonly { readonly partId: string; readonly size: number }[];
  readonly placements: readonly { readonly mailboxId: string; readonly bindings: readonly { readonly uid: number }[] }[];
}

interface Page<Item> {
  readonly items: readonly Item[];
  readonly nextCursor: string | null;
}

/** Of the real mail every tenth, so that the run stays short; the parser's own test reads all of it. */
const share = 10;
const mailboxes = ["INBOX", "Hostile"] as const;

let server: Dovecot;
let database: FreshDatabase;
let daemon: Daemon;
let accountId: string;
/** What the server itself gives, by mailbox id and UID. */
const served = new Map<string, Buffer>();
const messages: Message[] = [];

function* everyTenth(): Generator<Buffer> {
  let at = 0;
  for (const { raw } of corpus("mail")) if ((at += 1) % share === 0) yield raw;
}

function* allHostile(): Generator<Buffer> {
  for (const { raw } of corpus("hostile")) yield raw;
}

const readServed = async (mailboxIds: ReadonlyMap<string, string>): Promise<void> => {
  await using device = await server.device(1);
  for (const mailbox of mailboxes) {
    await device.select(mailbox);
    for (const [uid, raw] of await device.fetchRaw()) served.set(`${mailboxIds.get(mailbox)} ${uid}`, raw);
  }
};

/** All items of a list that comes in pages. @throws Error on any answer but 200. */
async function* pages<Item>(path: string): AsyncGenerator<Item> {
  for (let cursor: string | null = ""; cursor !== null;) {
    const { status, body }: { status: number; body: Page<Item> } = await daemon.call<Page<Item>>(
      "GET",
      `${path}?limit=100${cursor === "" ? "" : `&cursor=${cursor}`}`,
    );
    if (status !== 200) throw new Error(`${path}: ${status} ${JSON.stringify(body)}`);
    yield* body.items;
    cursor = body.nextCursor;
  }
}

const octetsOf = async (path: string): Promise<{ status: number; headers: Headers; octets: Buffer }> => {
  const response = await fetch(daemon.url + path, { headers: { authorization: `Bearer ${testAdminKey}` } });
  return { status: response.status, headers: response.headers, octets: Buffer.from(await response.arrayBuffer()) };
};

/** What `check` complains of, over all messages, a few at a time. */
const complaints = async (check: (message: Message) => Promise<string[]>): Promise<string[]> => {
  const turn = pLimit(4);
  const found = await Promise.all(
    messages.map((message) => turn(async () => (await check(message)).map((problem) => `${message.id}: ${problem}`))),
  );
  return found.flat();
};

beforeAll(async () => {
  [server, database] = await Promise.all([startDovecot({ users: 1 }), freshDatabase()]);
  const { user } = server.account(1);
  await server.deliver({ user, mailbox: "INBOX", messages: everyTenth() });
  await server.deliver({ user, mailbox: "Hostile", messages: allHostile() });
  daemon = await startDaemon({ env: { DATABASE_URL: database.url } });
  accountId = await liveAccount(daemon, dovecotAccount(server, 1), 120_000);
  const mailboxIds = new Map<string, string>();
  const { body } = await daemon.call<{ items: { id: string; name: string }[] }>("GET", `/v1/accounts/${accountId}/mailboxes`);
  for (const { id, name } of body.items) mailboxIds.set(name.toUpperCase() === "INBOX" ? "INBOX" : name, id);
  await readServed(mailboxIds);
  await eventually(
    "everything is parsed or has failed",
    async () => {
      messages.length = 0;
      for await (const message of pages<Message>(`/v1/accounts/${accountId}/messages`)) messages.push(message);
      const pending = messages.filter(({ parseStatus }) => parseStatus === "pending").length;
      if (pending === 0) return true;
      throw new Error(`${pending} are pending: ${JSON.stringify(daemon.lines.slice(-3))}`);
    },
    { timeoutMs: 60_000, everyMs: 500 },
  );
}, 300_000);

afterAll(async () => {
  await daemon?.stop();
  await Promise.all([server?.stop(), database?.drop()]);
});

const at = (message: Message): string => `/v1/accounts/${accountId}/messages/${message.id}`;

describe("the corpus behind a real server", () => {
  it("is all there, each message where the server has it", () => {
    const bound = messages.flatMap(({ placements }) =>
      placements.flatMap(({ mailboxId, bindings }) => bindings.map(({ uid }) => `${mailboxId} ${uid}`)),
    );
    expect(bound.toSorted()).toEqual([...served.keys()].toSorted());
  });

  it("comes back without one octet changed, under its SHA-256", async () => {
    const found = await complaints(async (message) => {
      const { status, headers, octets } = await octetsOf(`${at(message)}/raw`);
      const hash = createHash("sha256").update(octets).digest("hex");
      const places = message.placements.flatMap(({ mailboxId, bindings }) => bindings.map(({ uid }) => `${mailboxId} ${uid}`));
      return [
        ...(status === 200 ? [] : [`status ${status}`]),
        ...(headers.get("etag") === `"${hash}"` ? [] : [`etag ${headers.get("etag")}`]),
        ...(message.blobId === `sha256-${hash}` ? [] : [`blob ${message.blobId}`]),
        ...(message.size === octets.length ? [] : [`size ${message.size}, not ${octets.length}`]),
        ...places.filter((place) => served.get(place)?.equals(octets) !== true).map((place) => `differs from ${place}`),
      ];
    });
    expect(found).toEqual([]);
  }, 300_000);

  it("is parsed, or failed with a reason", () => {
    const wrong = messages.filter(({ parseStatus, parseError }) =>
      parseStatus === "parsed" ? parseError !== null : parseStatus !== "failed" || !/^[a-z_]+$/.test(parseError ?? ""),
    );
    expect(wrong).toEqual([]);
  });

  it("gives bodies, or says that it cannot be taken apart", async () => {
    const found = await complaints(async (message) => {
      const { status, body } = await daemon.call<{ html: string | null }>("GET", `${at(message)}/body`);
      if (status === 422 && message.parseStatus === "failed") return [];
      if (status !== 200) return [`status ${status} ${JSON.stringify(body)}`];
      return harmfulIn(body.html ?? "");
    });
    expect(found).toEqual([]);
  }, 300_000);

  it("gives every attachment of its list, whole", async () => {
    const found = await complaints(async (message) => {
      const problems: string[] = [];
      for (const { partId, size } of message.attachments.slice(0, 10)) {
        const { status, headers, octets } = await octetsOf(`${at(message)}/attachments/${partId}`);
        const isDownload = headers.get("content-disposition")?.startsWith("attachment") === true;
        if (status !== 200 || octets.length !== size || !isDownload) problems.push(`part ${partId}: ${status}, ${octets.length}`);
      }
      return problems;
    });
    expect(found).toEqual([]);
  }, 300_000);

  it("leaves the daemon without a complaint of its own", () => {
    const levels = ["error", "fatal"];
    expect(daemon.lines.filter(({ level }) => levels.includes(String(level)))).toEqual([]);
  });
});
