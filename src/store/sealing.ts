/**
 * Secrets at rest. Each account has a data key of its own, wrapped by the installation's key (SAMEBOX_SECRET_KEY); what is
 * sealed is bound to tenant, account, field and key, so that no row can be passed off as another. AES-256-GCM throughout
 * (NIST SP 800-38D), text form `v1.<kek id>.<dek id>.<nonce>.<ciphertext and tag>`. There is no clear form to fall back to.
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, randomBytes } from "node:crypto";
import { uuidv7 } from "uuidv7";
import type { Credentials } from "../model/endpoint.ts";
import type { AccountId, EndpointId, TenantId } from "../model/ids.ts";
import type { Queryable } from "./database.ts";

/** The text cannot be opened: altered, moved from elsewhere, sealed under another key, or its data key was destroyed. */
export class SealError extends Error {
  override readonly name = "SealError";
}

export interface CredentialsOwner {
  readonly tenantId: TenantId;
  readonly accountId: AccountId;
  readonly endpointId: EndpointId;
}

export interface Sealer {
  /** Seals with the account's data key; makes one when the account has none yet. */
  sealCredentials(db: Queryable, owner: CredentialsOwner, credentials: Credentials): Promise<string>;
  /** @throws SealError; never answers anything but what was sealed for this very endpoint. */
  openCredentials(db: Queryable, owner: CredentialsOwner, sealed: string): Promise<Credentials>;
  /** For short-lived secrets that belong to no account. `context` must be given again to open. */
  sealText(context: readonly string[], text: string): string;
  /** @throws SealError */
  openText(context: readonly string[], sealed: string): string;
  /** A keyed digest (HMAC-SHA256): what went in cannot be guessed and checked by whoever reads the database. */
  digest(parts: readonly (string | Buffer)[]): Buffer;
}

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
  if (envelope.kekId !== key.kekId) throw new SealError("Sealed under another SAMEBOX_SECRET_KEY.");
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

const dataKeyContext = (owner: Pick<CredentialsOwner, "tenantId" | "accountId">): string[] => [
  owner.tenantId,
  owner.accountId,
  "data_key",
];

const credentialsContext = (owner: CredentialsOwner): string[] => [
  owner.tenantId,
  owner.accountId,
  `credentials/${owner.endpointId}`,
];

/**
 * The sealer of this installation. `secretKey` is SAMEBOX_SECRET_KEY, 32 octets.
 * @throws Error when it is not.
 */
export const createSealer = (secretKey: Buffer): Sealer => {
  if (!isKey(secretKey)) throw new Error("SAMEBOX_SECRET_KEY must be 32 octets.");
  const kekId = createHash("sha256").update("samebox kek id\0").update(secretKey).digest("hex").slice(0, 16);
  // Two uses, two keys: a data key's wrapping can never be opened as somebody's text.
  const derive = (use: string): Buffer => Buffer.from(hkdfSync("sha256", secretKey, Buffer.alloc(0), `samebox ${use}`, 32));
  const textKey: SealingKey = { kekId, dekId: ownDekId, secret: derive("text") };
  const wrapping = derive("wrapping");
  const digestKey = derive("digest");
  const wrappingKeyOf = (dekId: string): SealingKey => ({ kekId, dekId, secret: wrapping });

  const unwrap = (owner: CredentialsOwner, dekId: string, wrapped: string): SealingKey => {
    const secret = decrypt(wrappingKeyOf(dekId), dataKeyContext(owner), readEnvelope(wrapped));
    if (!isKey(secret)) throw new SealError("The data key has a wrong length.");
    return { kekId, dekId, secret };
  };

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
      values: [
        owner.accountId,
        key.dekId,
        owner.tenantId,
        kekId,
        encrypt(wrappingKeyOf(key.dekId), dataKeyContext(owner), key.secret),
      ],
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
      return JSON.parse(decrypt(key, credentialsContext(owner), envelope).toString("utf8")) as Credentials;
    },
    sealText: (context, text) => encrypt(textKey, context, Buffer.from(text)),
    openText: (context, sealed) => decrypt(textKey, context, readEnvelope(sealed)).toString("utf8"),
    digest: (parts) => {
      const hmac = createHmac("sha256", digestKey);
      for (const part of parts) hmac.update(`${Buffer.byteLength(part)}:`).update(part);
      return hmac.digest();
    },
  };
};
