/** How accounts and endpoints look from outside, coming in and going out. Secrets only come in. */
import { type Static, Type } from "typebox";
import { defaultPolicy } from "../model/account.ts";
import { formatState } from "../model/change.ts";
import { formatId } from "../model/ids.ts";
import type { AccountRow, EndpointRow } from "../store/accounts.ts";
import { Nullable, Strict, Time, Words } from "./schemas.ts";

export const SyncStateWord = Words(["connecting", "backfilling", "live", "paused", "needs_reauth", "needs_attention", "held"]);

/** One line that PostgreSQL and the mail protocols can carry: no line break, no NUL, no half of a surrogate pair. */
const line = "^[^\\r\\n\\u0000\\p{Cs}]*$";

export const mostEndpoints = 8;

const Name = Type.String({ minLength: 1, maxLength: 200, pattern: line });
const Email = Type.String({ minLength: 3, maxLength: 320, pattern: "^[^\\s@\\p{Cc}\\p{Cs}]+@[^\\s@\\p{Cc}\\p{Cs}]+$" });
const User = Type.String({ minLength: 1, maxLength: 320, pattern: line });
const Host = Type.String({ minLength: 1, maxLength: 255 });
const Port = Type.Integer({ minimum: 1, maximum: 65_535 });
const SecurityWord = Words(["tls", "starttls", "none"], { description: "`none` only where the operator allows it." });

const PasswordAuth = Strict(
  {
    type: Type.Literal("password"),
    user: User,
    password: Type.String({ minLength: 1, maxLength: 1024, pattern: line, writeOnly: true }),
  },
  { title: "PasswordAuth" },
);
const OAuth2Auth = Strict(
  {
    type: Type.Literal("oauth2"),
    user: User,
    accessToken: Type.String({ minLength: 1, maxLength: 16_384, pattern: "^[\\x21-\\x7e]+$", writeOnly: true }),
  },
  { title: "OAuth2Auth" },
);

/** A union by `type`, so that a fault is reported for the one that was meant. */
const Auth = Type.Unsafe<Static<typeof PasswordAuth> | Static<typeof OAuth2Auth>>({
  type: "object",
  discriminator: { propertyName: "type" },
  required: ["type"],
  oneOf: [PasswordAuth, OAuth2Auth],
});

const Tls = Strict({
  caPem: Type.Optional(Nullable(Type.String({ maxLength: 65_536, description: "A private certificate authority, PEM." }))),
  rejectUnauthorized: Type.Optional(Type.Boolean({ description: "`false` only where the operator allows it." })),
});

const ProtocolWord = Words(["imap", "pop3"]);

export const EndpointInput = Strict(
  {
    protocol: ProtocolWord,
    host: Host,
    port: Type.Optional(Port),
    security: Type.Optional(SecurityWord),
    auth: Auth,
    tls: Type.Optional(Tls),
  },
  { title: "EndpointInput" },
);
export type EndpointInput = Static<typeof EndpointInput>;

/** With `id`: a change of that endpoint. Without: a new one, whole. */
export const EndpointPatchInput = Strict(
  {
    id: Type.Optional(Type.String({ description: "The endpoint to change; without it, a new one is added." })),
    protocol: Type.Optional(ProtocolWord),
    host: Type.Optional(Host),
    port: Type.Optional(Port),
    security: Type.Optional(SecurityWord),
    auth: Type.Optional(Auth),
    tls: Type.Optional(Tls),
  },
  { title: "EndpointPatch" },
);
export type EndpointPatchInput = Static<typeof EndpointPatchInput>;

const policyFields = {
  pop3Devices: Words(["unknown", "declared", "none"]),
  onPop3Drain: Words(["keep", "mirror", "restore"]),
  preserveAhead: Type.Boolean({
    description:
      "Where a POP3 device reads the account (pop3Devices is declared, or was learned): each new message of INBOX is copied on the IMAP server as soon as it is seen, to Archive or else Kept from POP3, so that the device does not take the only copy there. What a server lists without giving it is copied when it is given; what lay in INBOX before, or came just before the server numbered INBOX anew, is not, and nothing on Gmail. Costs the room of the copies.",
  }),
  onUserExpunge: Words(["keep", "mirror"]),
  onUnknownVanish: Words(["auto", "keep", "mirror"]),
  pop3Seen: Words(["auto", "accept", "revert"], {
    description:
      "What \\Seen means on mail that looks as if a POP3 device only retrieved it. accept: it is read. revert: it stays unread here and is set back once upstream; asking for it says that there is such a device. auto: revert where pop3Devices is declared, else accept.",
  }),
  serverCopy: Words(["leave", "delete_after_days", "delete_on_purge"]),
  serverCopyDays: Type.Integer({ minimum: 1, maximum: 36_500 }),
  retentionDays: Type.Integer({ minimum: 1, maximum: 36_500 }),
};

export const PolicyFields = Type.Object(policyFields, { title: "Policy" });

export const PolicyInput = Type.Partial(Strict(policyFields), { additionalProperties: false, title: "PolicyPatch" });

export const AccountInput = Strict(
  {
    name: Type.Optional(Name),
    email: Email,
    endpoints: Type.Array(EndpointInput, { minItems: 1, maxItems: mostEndpoints }),
    policy: Type.Optional(PolicyInput),
  },
  { title: "AccountInput" },
);

export const AccountPatchInput = Strict(
  {
    name: Type.Optional(Name),
    email: Type.Optional(Email),
    endpoints: Type.Optional(Type.Array(EndpointPatchInput, { minItems: 1, maxItems: mostEndpoints })),
    policy: Type.Optional(PolicyInput),
  },
  { title: "AccountPatch" },
);

export const LastError = Type.Object({ code: Type.String(), message: Type.String(), action: Type.String(), at: Time });

export const Profile = Type.Object({}, { additionalProperties: true, description: "What was learned of the server." });

const Endpoint = Type.Object({
  id: Type.String(),
  protocol: ProtocolWord,
  host: Type.String(),
  port: Type.Integer(),
  security: SecurityWord,
  auth: Type.Object({ type: Words(["password", "oauth2"]), user: Type.String() }),
  tls: Type.Object({ caPem: Nullable(Type.String()), rejectUnauthorized: Type.Boolean() }),
  syncState: SyncStateWord,
  lastError: Nullable(LastError),
  profile: Profile,
});

export const Account = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    email: Type.String(),
    state: Type.String(),
    syncState: SyncStateWord,
    endpoints: Type.Array(Endpoint),
    policy: PolicyFields,
    createdAt: Time,
  },
  { title: "Account" },
);
export type Account = Static<typeof Account>;

const showEndpoint = (row: EndpointRow, paused: boolean): Account["endpoints"][number] => ({
  id: formatId("end", row.id),
  ...row.settings,
  auth: { type: row.authType, user: row.authUser },
  syncState: paused ? "paused" : row.syncState,
  lastError: row.lastError,
  profile: { ...row.profile },
});

export const showAccount = (account: AccountRow, endpoints: readonly EndpointRow[]): Account => ({
  id: formatId("acc", account.id),
  name: account.name,
  email: account.email,
  state: formatState(account.stateEpoch, account.headSeq),
  syncState: account.syncState,
  endpoints: endpoints
    .filter((endpoint) => endpoint.accountId === account.id)
    .map((endpoint) => showEndpoint(endpoint, account.paused)),
  policy: { ...defaultPolicy, ...account.policy },
  createdAt: account.createdAt.toISOString(),
});
