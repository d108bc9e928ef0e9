/**
 * Secrets at rest. Each account has a data key of its own, wrapped by the installation's key (SAMEBOX_SECRET_KEY); what is
 * sealed is bound to tenant, account, field and key, so that no row can be passed off as another. AES-256-GCM throughout
 * (NIST SP 800-38D), text form `v1.<kek id>.<dek id>.<nonce>.<ciphertext and tag>`. There is no clear form to fall back to.
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, randomBytes } from "node:crypto";
import { uuidv7 } from "uuidv7";
import type { Credentials } from "../model/endpoint.ts";
import type { AccountId, EndpointId, TenantId } from "../model/ids.ts";
import type { Queryable, Tx } from "./database.ts";

/** The text cannot be opened: altered, moved from elsewhere, sealed under another key, or its data key was destroyed. */
export class SealError extends Error {
  override readonly name = "SealError";
}

export interface CredentialsOwner {
  readonly tenantId: TenantId;
  readonly accountId: AccountId;
  readonly endpointId: EndpointId;
}

type AccountOwner = Pick<CredentialsOwner, "tenantId" | "accountId">;

export interface Sealer {
  /** Seals with the account's data key; makes one when the account has none yet. */
  sealCredentials(db: Queryable, owner: CredentialsOwner, credentials: Credentials): Promise<string>;
  /** @throws SealError; never answers anything but what was sealed for this very endpoint. */
  openCredentials(db: Queryable, owner: CredentialsOwner, sealed: string): Promise<Credentials>;
  /** For short-lived secrets that belong to no account. `context` must be given again to open. */
  sealText(context: readonly string[], text: string): string;
  /** @throws SealError */
  openText(context: readonly string[], sealed: string): string;
  /**
   * Keyed digests (HMAC-SHA256): what went in cannot be guessed and checked by whoever reads the database. The first is today's;
   * the others are what it was, or will be, under another SAMEBOX_SECRET_KEY. Each begins with the id of its key.
   */
  digests(parts: readonly (string | Buffer)[]): readonly [Buffer, ...Buffer[]];
  /** Id of today's key, as the second part of what is sealed names it. */
  readonly todaysKey: string;
  /** Ids of the other known keys. */
  readonly foreignKeys: readonly string[];
  /**
   * Wraps up to 500 of them under today's key. What they seal stays as it is and can be opened throughout, by every daemon that
   * knows both keys.
   */
  readonly rewrapDataKeys: ResealStep<DataKeyAt>;
}

/** A step through rows in the order of their keys. Whatever cannot be opened is passed by and stays as it is. */
export type ResealStep<At> = (tx: Tx, after: At | null) => Promise<Resealed<At>>;

export interface Resealed<At> {
  readonly done: number;
  /** Ids of the rows that could not be opened. */
  readonly refused: readonly string[];
  /** Where to go on; null: there was nothing more. */
  readonly last: At | null;
}

interface DataKeyAt {
  readonly account_id: AccountId;
  readonly id: string;
}

/** What `open` answers for each row; `refused` has those for which it throws a SealError. */
export const openEach = <Row extends { readonly id: string }, Opened>(
  rows: readonly Row[],
  open: (row: Row) => Opened,
): { readonly opened: readonly Opened[]; readonly refused: readonly string[] } => {
  const opened: Opened[] = [];
  const refused: string[] = [];
  for (const row of rows)
    try {
      opened.push(open(row));
    } catch (error) {
      if (!(error instanceof SealError)) throw error;
      refused.push(row.id);
    }
  return { opened, refused };
};

/** Before all ids. */
export const firstId = "00000000-0000-0000-0000-000000000000";

const keyIdLength = 8;
const shownLength = 8;

/** Enough of a digest to tell values apart, in hex. */
export const digestText = (digest: Buffer): string => digest.toString("hex", keyIdLength, keyIdLength + shownLength);

/** Were both digests made under one key? If not, they say nothing about each other. */
export const underOneKey = (one: Buffer, other: Buffer): boolean =>
  one.subarray(0, keyIdLength).equals(other.subarray(0, keyIdLength));

interface SealingKey {
  readonly kekId: string;
  readonly dekId: string;
  readonly secret: Buffer;
}

const nonceLength = 12;
const tagLength = 16;

const isKey = (key: Buffer): boolean => key.length === 32;

/** Length-prefixed by JSON, so that ("ab", "c") and ("a", "bc") differ. */
const bind = (parts: readonly string[]): Buffer => Buffer.from(JSON.stringify(parts));

const encrypt = (key: SealingKey, context: readonly string[], plain: Buffer): string => {
  const nonce = randomBytes(nonceLength);
  const cipher = createCipheriv("aes-256-gcm", key.secret, nonce, { authTagLength: tagLength });
  cipher.setAAD(bind([...context, key.kekId, key.dekId]));
  const sealed = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  return ["v1", key.kekId, key.dekId, nonce.toString("base64url"), sealed.toString("base64url")].join(".");
};

interface Envelope {
  readonly kekId: string;
  readonly dekId: string;
  readonly nonce: Buffer;
  readonly body: Buffer;
}

const envelopePattern = /^v1\.([0-9a-f]{16})\.([0-9a-f-]{1,36})\.([\w-]{16})\.([\w-]{22,})$/;

const readEnvelope = (sealed: string): Envelope => {
  const [, kekId, dekId, nonce, body] = envelopePattern.exec(sealed) ?? [];
  if (kekId === undefined || dekId === undefined || nonce === undefined || body === undefined)
    throw new SealError("What is stored is not sealed text.");
  return { kekId, dekId, nonce: Buffer.from(nonce, "base64url"), body: Buffer.from(body, "base64url") };
};

const decrypt = (key: SealingKey, context: readonly string[], envelope: Envelope): Buffer => {
  try {
    const decipher = createDecipheriv("aes-256-gcm", key.secret, envelope.nonce, { authTagLength: tagLength });
    decipher.setAAD(bind([...context, key.kekId, key.dekId]));
    decipher.setAuthTag(envelope.body.subarray(-tagLength));
    return Buffer.concat([decipher.update(envelope.body.subarray(0, -tagLength)), decipher.final()]);
  } catch (cause) {
    throw new SealError("Sealed text was altered or belongs elsewhere.", { cause });
  }
};

/** No data key: the installation's key itself works. */
const ownDekId = "0";

const dataKeyContext = (owner: AccountOwner): string[] => [owner.tenantId, owner.accountId, "data_key"];

const credentialsContext = (owner: CredentialsOwner): string[] => [
  owner.tenantId,
  owner.accountId,
  `credentials/${owner.endpointId}`,
];

/** What is made of one SAMEBOX_SECRET_KEY. Two uses, two keys: a data key's wrapping can never be opened as somebody's text. */
interface InstallationKey {
  readonly kekId: string;
  readonly text: Buffer;
  readonly wrapping: Buffer;
  readonly digest: Buffer;
}

const readInstallationKey = (secretKey: Buffer): InstallationKey => {
  if (!isKey(secretKey)) throw new Error("SAMEBOX_SECRET_KEY must be 32 octets.");
  const kekId = createHash("sha256").update("samebox kek id\0").update(secretKey).digest("hex").slice(0, 16);
  const derive = (use: string): Buffer => Buffer.from(hkdfSync("sha256", secretKey, Buffer.alloc(0), `samebox ${use}`, 32));
  return { kekId, text: derive("text"), wrapping: derive("wrapping"), digest: derive("digest") };
};

const digestOf = (key: InstallationKey, parts: readonly (string | Buffer)[]): Buffer => {
  const hmac = createHmac("sha256", key.digest);
  for (const part of parts) hmac.update(`${Buffer.byteLength(part)}:`).update(part);
  return Buffer.concat([Buffer.from(key.kekId, "hex"), hmac.digest()]);
};

const rewrapBatch = 500;

interface WrappedRow extends DataKeyAt {
  readonly tenant_id: TenantId;
  readonly wrapped: string;
}

/** The keys of this installation, and how data keys are wrapped under them. */
interface KeyRing {
  readonly today: InstallationKey;
  /** Ids of the others. */
  readonly foreign: readonly string[];
  /** Today's first. */
  readonly all: readonly InstallationKey[];
  /** @throws SealError */
  readonly keyOf: (envelope: Envelope) => InstallationKey;
  /** @throws SealError */
  readonly unwrap: (owner: AccountOwner, dekId: string, wrapped: string) => SealingKey;
  readonly wrap: (owner: AccountOwner, key: SealingKey) => string;
}

const readKeyRing = (secretKey: Buffer, others: readonly Buffer[]): KeyRing => {
  const today = readInstallationKey(secretKey);
  const all = [today, ...others.map(readInstallationKey).filter((key) => key.kekId !== today.kekId)];
  const keyOf = (envelope: Envelope): InstallationKey => {
    const key = all.find(({ kekId }) => kekId === envelope.kekId);
    if (key === undefined) throw new SealError("Sealed under another SAMEBOX_SECRET_KEY.");
    return key;
  };
  return {
    today,
    all,
    foreign: all.slice(1).map(({ kekId }) => kekId),
    keyOf,
    unwrap: (owner, dekId, wrapped) => {
      const envelope = readEnvelope(wrapped);
      const wrapping = { kekId: envelope.kekId, dekId, secret: keyOf(envelope).wrapping };
      const secret = decrypt(wrapping, dataKeyContext(owner), envelope);
      if (!isKey(secret)) throw new SealError("The data key has a wrong length.");
      return { kekId: today.kekId, dekId, secret };
    },
    wrap: (owner, { dekId, secret }) =>
      encrypt({ kekId: today.kekId, dekId, secret: today.wrapping }, dataKeyContext(owner), secret),
  };
};

const rewrap = async (
  tx: Tx,
  { foreign, today, wrap, unwrap }: KeyRing,
  after: DataKeyAt | null,
): Promise<Resealed<DataKeyAt>> => {
  const { rows } = await tx.query<WrappedRow>({
    name: "data_keys_to_rewrap",
    text: `select account_id, id, tenant_id, wrapped from data_keys where kek_id = any($1) and (account_id, id) > ($2, $3)
           order by account_id, id limit ${rewrapBatch} for update skip locked`,
    values: [foreign, after?.account_id ?? firstId, after?.id ?? firstId],
  });
  const { opened, refused } = openEach(rows, (row) => {
    const owner = { tenantId: row.tenant_id, accountId: row.account_id };
    return { account_id: row.account_id, id: row.id, wrapped: wrap(owner, unwrap(owner, row.id, row.wrapped)) };
  });
  await tx.query({
    name: "data_keys_rewrapped",
    text: `update data_keys k set kek_id = $4, wrapped = w.wrapped from unnest($1::uuid[], $2::uuid[], $3::text[]) as w(account_id, id, wrapped)
           where k.account_id = w.account_id and k.id = w.id`,
    values: [opened.map((row) => row.account_id), opened.map((row) => row.id), opened.map((row) => row.wrapped), today.kekId],
  });
  return { done: opened.length, refused, last: rows.at(-1) ?? null };
};

/**
 * The sealer of this installation. `secretKey` is SAMEBOX_SECRET_KEY, 32 octets; the others open what was sealed under them.
 * @throws Error when one is not.
 */
export const createSealer = (secretKey: Buffer, others: readonly Buffer[] = []): Sealer => {
  const ring = readKeyRing(secretKey, others);
  const { today, keyOf, unwrap, wrap } = ring;
  const { kekId } = today;

  /** The data key of that id; the newest one under today's installation key when `dekId` is null. */
  const findDataKey = async (db: Queryable, owner: CredentialsOwner, dekId: string | null): Promise<SealingKey | null> => {
    const { rows } = await db.query<{ id: string; wrapped: string }>({
      name: dekId === null ? "data_key_newest" : "data_key_by_id",
      text: `select id, wrapped from data_keys
             where account_id = $1 and tenant_id = $2 and ${dekId === null ? "kek_id = $3" : "id = $3"} order by id desc limit 1`,
      values: [owner.accountId, owner.tenantId, dekId ?? kekId],
    });
    const row = rows[0];
    return row === undefined ? null : unwrap(owner, row.id, row.wrapped);
  };

  const createDataKey = async (db: Queryable, owner: CredentialsOwner): Promise<SealingKey> => {
    const key: SealingKey = { kekId, dekId: uuidv7(), secret: randomBytes(32) };
    await db.query({
      name: "data_key_create",
      text: `insert into data_keys (account_id, id, tenant_id, kek_id, wrapped) values ($1, $2, $3, $4, $5)`,
      values: [owner.accountId, key.dekId, owner.tenantId, kekId, wrap(owner, key)],
    });
    return key;
  };

  return {
    sealCredentials: async (db, owner, credentials) => {
      const key = (await findDataKey(db, owner, null)) ?? (await createDataKey(db, owner));
      return encrypt(key, credentialsContext(owner), Buffer.from(JSON.stringify(credentials)));
    },
    openCredentials: async (db, owner, sealed) => {
      const envelope = readEnvelope(sealed);
      if (envelope.dekId.length !== 36) throw new SealError("Not sealed with a data key.");
      const key = await findDataKey(db, owner, envelope.dekId);
      if (key === null) throw new SealError("The data key is gone.");
      // They name the key that was today's when they were sealed; the data key may be wrapped under another one since.
      const sealing = { ...key, kekId: envelope.kekId };
      return JSON.parse(decrypt(sealing, credentialsContext(owner), envelope).toString("utf8")) as Credentials;
    },
    sealText: (context, text) => encrypt({ kekId, dekId: ownDekId, secret: today.text }, context, Buffer.from(text)),
    openText: (context, sealed) => {
      const envelope = readEnvelope(sealed);
      const key = keyOf(envelope);
      return decrypt({ kekId: key.kekId, dekId: ownDekId, secret: key.text }, context, envelope).toString("utf8");
    },
    digests: (parts) => [digestOf(today, parts), ...ring.all.slice(1).map((key) => digestOf(key, parts))],
    todaysKey: kekId,
    foreignKeys: ring.foreign,
    rewrapDataKeys: (tx, after) => rewrap(tx, ring, after),
  };
};
