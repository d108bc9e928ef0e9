/** A hold as the API shows it. */
import { type Static, Type } from "typebox";
import { holdChoices } from "../model/hold.ts";
import { formatId } from "../model/ids.ts";
import type { Hold } from "../store/hold-reads.ts";
import { Nullable, Time, Words } from "./schemas.ts";

/** What `showHold` makes. */
export const holdFields = {
  id: Type.String(),
  reason: Type.String({ description: "`mass_vanish`, `mass_drain`, `mass_flag_loss`, `epoch`, `octets_damaged` …" }),
  count: Type.Integer({ description: "Messages it is about." }),
  mailboxId: Nullable(Type.String()),
  since: Time,
  decision: Nullable(
    Words(["approved", "rejected"], { description: "What was said of it; it is carried out at the next look at the server." }),
  ),
  choices: Nullable(
    Type.Object({
      approve: Type.String({ description: "What becomes of it when the server is right." }),
      reject: Type.String({ description: "What becomes of it when what is here is right." }),
    }),
  ),
};

export const ShownHold = Type.Object(holdFields, { title: "Hold" });

export const showHold = (hold: Hold): Static<typeof ShownHold> => ({
  id: formatId("hld", hold.id),
  reason: hold.reason,
  count: hold.count,
  mailboxId: hold.mailboxId === null ? null : formatId("mbx", hold.mailboxId),
  since: hold.since.toISOString(),
  decision: hold.decision,
  choices: holdChoices[hold.reason] ?? null,
});
