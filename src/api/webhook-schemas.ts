/** What a webhook looks like from outside. */
import { type Static, Type } from "typebox";
import { changeKinds } from "../model/change.ts";
import { formatId } from "../model/ids.ts";
import type { Delivery, Webhook } from "../model/webhook.ts";
import { Nullable, Strict, Time, Words } from "./schemas.ts";

/** What a URL parser would drop in silence is refused. */
const Url = Type.String({
  maxLength: 2000,
  pattern: "^[^\\p{Cc}\\p{Cs}\\s]+$",
  description: "https, at the usual port. Redirects are not followed.",
});
const AccountIds = Nullable(
  Type.Array(Type.String(), {
    minItems: 1,
    maxItems: 1000,
    uniqueItems: true,
    description: "The only accounts it is told of; null: all of the tenant, also those to come.",
  }),
);
const Kinds = Nullable(
  Type.Array(Words(changeKinds), {
    minItems: 1,
    uniqueItems: true,
    description: "Kinds of changes, e.g. `message.created`; null: all.",
  }),
);

export const WebhookInput = Strict(
  { url: Url, accountIds: Type.Optional(AccountIds), kinds: Type.Optional(Kinds) },
  { title: "WebhookInput" },
);

export const WebhookPatchInput = Strict(
  {
    url: Type.Optional(Url),
    accountIds: Type.Optional(AccountIds),
    kinds: Type.Optional(Kinds),
    enabled: Type.Optional(Type.Boolean({ description: "Enabled again, it goes on where it stood." })),
  },
  { title: "WebhookPatch" },
);

export const RotationInput = Strict(
  {
    overlapHours: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 168, default: 24, description: "How long the secret before signs, too." }),
    ),
  },
  { title: "RotationInput" },
);

export const ReplayInput = Strict(
  {
    accountId: Type.String(),
    since: Type.String({
      description: "A state: what came after it is sent, again or for the first time, under the ids it always has.",
    }),
  },
  { title: "ReplayInput" },
);

const fields = {
  id: Type.String(),
  url: Type.String(),
  accountIds: AccountIds,
  kinds: Nullable(Type.Array(Type.String())),
  state: Words(["enabled", "disabled"]),
  disabledBecause: Nullable(
    Words(["asked", "gone", "failing"], {
      description: "gone: the receiver answered 410; failing: nothing was taken for five days.",
    }),
  ),
  failingSince: Nullable(Time),
  nextAttemptAt: Nullable(
    Type.String({ format: "date-time", description: "After five failures in a row nothing is sent before; null: at once." }),
  ),
  lastSuccessAt: Nullable(Type.String({ format: "date-time", description: "To the minute." })),
  previousSecretUntil: Nullable(
    Type.String({ format: "date-time", description: "The secret before the rotation signs, too, until then." }),
  ),
  createdAt: Time,
};

export const WebhookAnswer = Type.Object(fields, { title: "Webhook" });
export const WebhookWithSecret = Type.Object(
  { ...fields, secret: Type.String({ description: "`whsec_…`, shown this once." }) },
  { title: "WebhookWithSecret" },
);

export const showWebhook = (webhook: Webhook): Static<typeof WebhookAnswer> => ({
  id: formatId("whk", webhook.id),
  url: webhook.url,
  accountIds: webhook.accountIds?.map((id) => formatId("acc", id)) ?? null,
  kinds: webhook.kinds === null ? null : [...webhook.kinds],
  state: webhook.disabledBecause === null ? "enabled" : "disabled",
  disabledBecause: webhook.disabledBecause,
  failingSince: webhook.failingSince?.toISOString() ?? null,
  nextAttemptAt: webhook.openUntil?.toISOString() ?? null,
  lastSuccessAt: webhook.lastSuccessAt?.toISOString() ?? null,
  previousSecretUntil: webhook.oldSecretUntil?.toISOString() ?? null,
  createdAt: webhook.createdAt.toISOString(),
});

export const DeliveryAnswer = Type.Object(
  {
    id: Type.String(),
    accountId: Nullable(Type.String({ description: "null, as `seq`: a test event." })),
    seq: Nullable(Type.Integer()),
    kind: Type.String(),
    attempt: Type.Integer({ minimum: 1 }),
    at: Time,
    result: Words(["2xx", "3xx", "4xx", "5xx", "gone", "timeout", "unreachable", "blocked", "cut"], {
      description:
        "Only 2xx is success. blocked: the address is not allowed; cut: the log does not go back so far, replay from a later state.",
    }),
    status: Nullable(Type.Integer()),
    durationMs: Type.Integer(),
  },
  { title: "Delivery" },
);

export const showDelivery = (delivery: Delivery): Static<typeof DeliveryAnswer> => ({
  ...delivery,
  id: formatId("dlv", delivery.id),
  accountId: delivery.accountId === null ? null : formatId("acc", delivery.accountId),
  seq: delivery.seq === null ? null : Number(delivery.seq),
  at: delivery.at.toISOString(),
});
