/** When mail came in, for sources that keep no date of their own. */
import { readDate } from "./dates.ts";
import { headerText, scanFields, wantedFields } from "./fields.ts";

const wanted = wantedFields("received");
/** The field of the last server stands first. */
const lookAt = 64 * 1024;

/** Of the topmost Received field that names a moment (RFC 5321 §4.4: behind its last semicolon); null: none does. */
export const readReceivedAt = (head: Buffer): Date | null => {
  let first: Date | null = null;
  scanFields(headerText(head.toString("latin1", 0, lookAt)), wanted, (_, value) => {
    const from = value.lastIndexOf(";");
    if (first === null && from >= 0) first = readDate(value.slice(from + 1).trim());
  });
  return first;
};
