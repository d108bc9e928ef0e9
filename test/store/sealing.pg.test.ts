import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Credentials } from "../../src/model/endpoint.ts";
import type { AccountId, EndpointId, TenantId } from "../../src/model/ids.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { countUnderOtherKeys, rotateSecrets, tellOfUnknownKeys } from "../../src/store/key-rotation.ts";
import { createSealer, type CredentialsOwner, SealError } from "../../src/store/sealing.ts";
import { listAskedTests } from "../../src/store/webhook-lanes.ts";
import { createWebhook, secretContext } from "../../src/store/webhooks.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

const credentials: Credentials = { type: "password", user: "ana", password: "canary-password-5512" };

const owner = (last: string, over: Partial<CredentialsOwner> = {}): CredentialsOwner => ({
  tenantId: "00000000-0000-7000-8000-000000000001" as TenantId,
  accountId: `00000000-0000-7000-8000-0000000001${last}` as AccountId,
  endpointId: `00000000-0000-7000-8000-0000000002${last}` as EndpointId,
  ...over,
});

/** Flips one bit of the octets behind one base64url part. */
const flip = (sealed: string, part: number, bit: number): string => {
  const parts = sealed.split(".");
  const octets = Buffer.from(parts[part] ?? "", "base64url");
  const at = Math.floor(bit / 8) % octets.length;
  octets[at] = (octets[at] ?? 0) ^ (1 << (bit % 8));
  parts[part] = octets.toString("base64url");
  return parts.join(".");
};

let fresh: FreshDatabase;
let db: Database;
const secretKey = randomBytes(32);
const sealer = createSealer(secretKey);

beforeAll(async () => {
  fresh = await freshDatabase();
  db = openDatabase({ url: fresh.url, max: 3, log: createLogger({ level: "silent" }) });
});
afterAll(async () => {
  await db.close();
  await fresh.drop();
});

const isRefused = async (who: CredentialsOwner, sealed: string): Promise<void> => {
  await expect(sealer.openCredentials(db, who, sealed)).rejects.toBeInstanceOf(SealError);
};

describe("sealed credentials", () => {
  test("are opened by their owner, and the same secret never looks the same twice", async () => {
    const one = await sealer.sealCredentials(db, owner("01"), credentials);
    const two = await sealer.sealCredentials(db, owner("01"), credentials);
    expect(one).toMatch(/^v1\.[0-9a-f]{16}\.[0-9a-f-]{36}\.[\w-]{16}\.[\w-]+$/);
    expect(one).not.toBe(two);
    expect(await sealer.openCredentials(db, owner("01"), one)).toEqual(credentials);
    expect(await sealer.openCredentials(db, owner("01"), two)).toEqual(credentials);
  });

  test("use one data key for an account, and another one for another account", async () => {
    await sealer.sealCredentials(db, owner("11"), credentials);
    await sealer.sealCredentials(db, owner("11"), credentials);
    await sealer.sealCredentials(db, owner("12"), credentials);
    const { rows } = await db.query<{ n: bigint }>({
      text: "select count(*) as n from data_keys where account_id = any($1) group by account_id",
      values: [[owner("11").accountId, owner("12").accountId]],
    });
    expect(rows).toEqual([{ n: 1n }, { n: 1n }]);
  });

  test("are refused when any bit of nonce, text or tag was flipped", async () => {
    const sealed = await sealer.sealCredentials(db, owner("21"), credentials);
    for (const bit of [0, 7, 50, 95]) await isRefused(owner("21"), flip(sealed, 3, bit));
    const length = Buffer.from(sealed.split(".")[4] ?? "", "base64url").length * 8;
    for (let bit = 0; bit < length; bit += 13) await isRefused(owner("21"), flip(sealed, 4, bit));
    await isRefused(owner("21"), flip(sealed, 4, length - 1));
  });

  test("are refused in another row: another account, endpoint or tenant", async () => {
    const sealed = await sealer.sealCredentials(db, owner("31"), credentials);
    await sealer.sealCredentials(db, owner("32"), credentials);
    await isRefused(owner("32"), sealed);
    await isRefused(owner("31", { endpointId: owner("32").endpointId }), sealed);
    await isRefused(owner("31", { tenantId: owner("31").accountId as unknown as TenantId }), sealed);
  });

  test("are refused when the data key's row was swapped for another account's, even together with the text", async () => {
    const sealed = await sealer.sealCredentials(db, owner("41"), credentials);
    const { rows } = await db.query<{ wrapped: string }>({
      text: "select wrapped from data_keys where account_id = $1",
      values: [owner("41").accountId],
    });
    await db.query({
      text: "insert into data_keys (account_id, id, tenant_id, kek_id, wrapped) values ($1, $2, $3, $4, $5)",
      values: [owner("42").accountId, sealed.split(".")[2], owner("42").tenantId, sealed.split(".")[1], rows[0]?.wrapped],
    });
    await isRefused(owner("42"), sealed);
  });

  test("are refused once the data key is destroyed", async () => {
    const sealed = await sealer.sealCredentials(db, owner("51"), credentials);
    await db.query({ text: "delete from data_keys where account_id = $1", values: [owner("51").accountId] });
    await isRefused(owner("51"), sealed);
  });

  test("never fall back to clear text", async () => {
    for (const text of ["", "canary", JSON.stringify(credentials), "v1.....", "v0.a.b.c.d"]) await isRefused(owner("61"), text);
  });

  test("are refused under another installation key, which can still seal anew for the same account", async () => {
    const sealed = await sealer.sealCredentials(db, owner("71"), credentials);
    const other = createSealer(randomBytes(32));
    await expect(other.openCredentials(db, owner("71"), sealed)).rejects.toThrow(/another SAMEBOX_SECRET_KEY/);
    const anew = await other.sealCredentials(db, owner("71"), credentials);
    expect(await other.openCredentials(db, owner("71"), anew)).toEqual(credentials);
    expect(await sealer.openCredentials(db, owner("71"), sealed)).toEqual(credentials);
  });

  test("leave no word of the secret in the database", async () => {
    await sealer.sealCredentials(db, owner("81"), credentials);
    const { rows } = await db.query<{ row: string }>({ text: "select d::text as row from data_keys d" });
    expect(JSON.stringify(rows)).not.toContain("canary");
  });
});

describe("another SAMEBOX_SECRET_KEY", () => {
  const oldKey = randomBytes(32);
  const newKey = randomBytes(32);
  const accounts = Array.from({ length: 20 }, (_, index) => owner((0xa0 + index).toString(16)));
  const count = 600;

  test("takes over while credentials are in use, and the old one is not needed any more", async () => {
    const old = createSealer(oldKey);
    const others = await countUnderOtherKeys(db, old);
    const sealed = await Promise.all(accounts.map((who) => old.sealCredentials(db, who, credentials)));
    // More than fit into one step.
    await db.transaction(async (tx) => {
      for (let n = 0; n < count; n += 1) {
        const accountId = `00000000-0000-7000-8000-${(0xf00000000 + n).toString(16).padStart(12, "0")}` as AccountId;
        await old.sealCredentials(tx, owner("01", { accountId }), credentials);
      }
    });
    const { webhook, secret } = await db.transaction((tx) =>
      createWebhook(tx, old, { tenantId: owner("01").tenantId, url: "https://example.test/", accountIds: null, kinds: null }),
    );
    const both = createSealer(newKey, [oldKey]);
    const stillOld = createSealer(oldKey, [newKey]);
    expect(await countUnderOtherKeys(db, both)).toBe(others + count + accounts.length + 1);
    const log = createLogger({ level: "silent" });
    const rotation = Promise.all([both, both].map((one) => rotateSecrets(db, one, { log, budgetMs: 60_000 })));
    for (const [index, who] of accounts.entries())
      for (const one of [both, stillOld]) expect(await one.openCredentials(db, who, sealed[index] ?? "")).toEqual(credentials);
    await rotation;
    expect(await countUnderOtherKeys(db, both)).toBe(others);
    const later = createSealer(newKey);
    const { rows } = await db.query<{ secret: string }>({
      text: "select secret from webhooks where id = $1",
      values: [webhook.id],
    });
    expect(later.openText(secretContext(webhook.tenantId, webhook.id), rows[0]?.secret ?? "")).toBe(secret);
    for (const [index, who] of accounts.entries()) {
      expect(await later.openCredentials(db, who, sealed[index] ?? "")).toEqual(credentials);
      await expect(old.openCredentials(db, who, sealed[index] ?? "")).rejects.toThrow(/another SAMEBOX_SECRET_KEY/);
    }
  });

  test("still knows answers and digests of the old one", () => {
    const both = createSealer(newKey, [oldKey]);
    const old = createSealer(oldKey);
    expect(both.openText(["a"], old.sealText(["a"], "secret"))).toBe("secret");
    expect(() => createSealer(newKey).openText(["a"], old.sealText(["a"], "secret"))).toThrow(SealError);
    expect(both.digests(["x"])).toEqual([...createSealer(newKey).digests(["x"]), ...old.digests(["x"])]);
  });
});

describe("a secret that cannot be opened", () => {
  const oldKey = randomBytes(32);
  const old = createSealer(oldKey);
  const both = createSealer(randomBytes(32), [oldKey]);
  const log = createLogger({ level: "silent" });
  const kekOf = async ({ accountId }: CredentialsOwner): Promise<string | undefined> =>
    (await db.query<{ kek: string }>({ text: "select kek_id as kek from data_keys where account_id = $1", values: [accountId] }))
      .rows[0]?.kek;

  test("keeps no other from being sealed anew or from its test event", async () => {
    const [broken, well] = [owner("e1"), owner("e2")];
    for (const who of [broken, well]) await old.sealCredentials(db, who, credentials);
    await db.query({
      text: "update data_keys set wrapped = (select wrapped from data_keys where account_id = $2) where account_id = $1",
      values: [broken.accountId, well.accountId],
    });
    const make = (): ReturnType<typeof createWebhook> =>
      db.transaction((tx) =>
        createWebhook(tx, old, { tenantId: well.tenantId, url: "https://example.test/", accountIds: null, kinds: null }),
      );
    const [first, second] = [await make(), await make()];
    await db.query({
      text: "update webhooks set test_id = id where id = any($1)",
      values: [[first.webhook.id, second.webhook.id]],
    });
    await db.query({
      text: "update webhooks set secret = (select secret from webhooks where id = $2) where id = $1",
      values: [first.webhook.id, second.webhook.id],
    });
    const { tests, refused } = await listAskedTests(db, both);
    expect([tests.map(({ testId }) => testId), refused]).toEqual([[second.webhook.id], [first.webhook.id]]);
    await rotateSecrets(db, both, { log });
    expect([await kekOf(broken), await kekOf(well)]).toEqual([old.todaysKey, both.todaysKey]);
    const { rows } = await db.query<{ secret: string }>({
      text: "select secret from webhooks where id = any($1) order by id",
      values: [[first.webhook.id, second.webhook.id]],
    });
    expect(rows.map(({ secret }) => secret.split(".")[1])).toEqual([old.todaysKey, both.todaysKey]);
  });

  test("is counted and told of although its key is not known any more", async () => {
    const lines: string[] = [];
    const listening = createLogger({ level: "error", destination: { write: (line) => void lines.push(line) } });
    const forgetful = createSealer(randomBytes(32));
    await old.sealCredentials(db, owner("e3"), credentials);
    const { rows } = await db.query<{ n: bigint }>({ text: "select count(*) as n from data_keys" });
    expect(await countUnderOtherKeys(db, forgetful)).toBeGreaterThanOrEqual(Number(rows[0]?.n));
    await tellOfUnknownKeys(db, forgetful, listening);
    expect(lines.join("")).toMatch(/"dataKeys":[1-9].*SAMEBOX_OTHER_SECRET_KEYS/);
  });

  test("was the one before the last rotation and signs no more: it is dropped", async () => {
    const { webhook } = await db.transaction((tx) =>
      createWebhook(tx, old, { tenantId: owner("01").tenantId, url: "https://example.test/", accountIds: null, kinds: null }),
    );
    await db.query({
      text: "update webhooks set old_secret = 'v1.unknown', old_secret_until = now() - interval '1 hour' where id = $1",
      values: [webhook.id],
    });
    await rotateSecrets(db, both, { log });
    const { rows } = await db.query<{ secret: string; old: string | null }>({
      text: "select secret, old_secret as old from webhooks where id = $1",
      values: [webhook.id],
    });
    expect([rows[0]?.secret.split(".")[1], rows[0]?.old]).toEqual([both.todaysKey, null]);
  });
});

describe("sealed text", () => {
  test("opens in its own context only", () => {
    const sealed = sealer.sealText(["idempotency", "a", "bc"], "secret");
    expect(sealer.openText(["idempotency", "a", "bc"], sealed)).toBe("secret");
    expect(() => sealer.openText(["idempotency", "ab", "c"], sealed)).toThrow(SealError);
    expect(() => sealer.openText(["idempotency", "a", "bc"], flip(sealed, 4, 9))).toThrow(SealError);
  });
});

describe("digests", () => {
  test("tell apart what only looks the same when put together, and depend on the installation's key", () => {
    expect(sealer.digests(["ab", "c"])).toEqual(sealer.digests(["ab", Buffer.from("c")]));
    expect(sealer.digests(["ab", "c"])).not.toEqual(sealer.digests(["a", "bc"]));
    expect(sealer.digests(["ab"])).not.toEqual(createSealer(randomBytes(32)).digests(["ab"]));
  });
});

test("a key of a wrong length is refused at start", () => {
  expect(() => createSealer(randomBytes(31))).toThrow(/32 octets/);
});
