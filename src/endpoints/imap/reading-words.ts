/**
 * Semantics C6: what a connection for reading may say. EXAMINE is no barrier (observed: Dovecot 2.3.19 moves mail out of an
 * EXAMINEd mailbox), so that anything else is stopped before it is sent, whoever asks for it.
 */
import { InvariantError } from "../../model/failure.ts";

const toBegin = ["AUTHENTICATE", "CAPABILITY", "ENABLE", "ID", "LOGIN", "LOGOUT", "NAMESPACE", "STARTTLS"];
const toRead = ["EXAMINE", "IDLE", "LIST", "LSUB", "NOOP", "NOTIFY", "STATUS", "UID FETCH", "UID SEARCH", "UNSELECT", "XLIST"];

const words: ReadonlySet<string> = new Set([...toBegin, ...toRead]);

/** @throws InvariantError for whatever could change something. */
export const mustOnlyRead = (command: string): void => {
  if (!words.has(command.toUpperCase())) throw new InvariantError(`a connection for reading does not say ${command}`);
};
