/**
 * The ids that servers give to contents and to mailboxes: OBJECTID (RFC 8474), Gmail's X-GM-MSGID, Dovecot's X-GUID. They come
 * with what is asked for anyway, so that knowing them costs no round trip.
 */
import type { ObjectIds } from "../../model/endpoint.ts";
import { serverKindOf } from "../server-kind.ts";
import { refusalOf, type Wire } from "./wire.ts";

const askMs = 30_000;

const idWords: Readonly<Record<ObjectIds, { readonly message: readonly string[]; readonly mailbox: readonly string[] }>> = {
  objectid: { message: ["EMAILID"], mailbox: ["MAILBOXID"] },
  gmail: { message: ["X-GM-MSGID"], mailbox: [] },
  guid: { message: ["X-GUID"], mailbox: ["X-GUID"] },
  none: { message: [], mailbox: [] },
};

/** What to FETCH beside the rest. */
export const idItemsOf = (kind: ObjectIds): readonly string[] => idWords[kind].message;

/** What to ask STATUS for beside the rest. */
export const mailboxIdItemsOf = (kind: ObjectIds): readonly string[] => idWords[kind].mailbox;

const atom = (value: string) => ({ type: "ATOM", value });

const isDovecot = ({ client }: Wire): boolean => {
  const name = client.serverInfo?.name;
  const greeting = "greeting" in client && typeof client.greeting === "string" ? client.greeting : "";
  return serverKindOf({ greeting, name: typeof name === "string" ? name : null, capabilities: [] }) === "dovecot";
};

/**
 * Which ids this login may ask for. Dovecot has no capability for its own: it is asked once, and strangers are not, for some
 * count what they do not understand.
 */
export const learnObjectIds = async (wire: Wire, known: ObjectIds | undefined, signal: AbortSignal): Promise<ObjectIds> => {
  if (wire.can("OBJECTID")) return "objectid";
  if (wire.can("X-GM-EXT-1")) return "gmail";
  if (!isDovecot(wire)) return "none";
  if (known === "guid") return known;
  try {
    await wire.command("STATUS", ["INBOX", [atom("X-GUID")]], { ms: askMs, signal });
    return "guid";
  } catch (error) {
    if (refusalOf(error) === null) throw error;
    return "none";
  }
};
