/** UIDs by SEARCH: a few bytes with ESEARCH (RFC 4731), a list of numbers without. */
import { type Line, listOf, textOf, type Token, uidsOf, uint32Of } from "./tokens.ts";
import type { Wire } from "./wire.ts";

const all = { from: 1, to: 0xffffffff };
const atom = (value: string) => ({ type: "ATOM", value });

/** UIDs of `* ESEARCH (TAG "x") UID ALL 1:3,7` or `* SEARCH 1 2 3`; null when they cannot be read. */
const uidsOfLine = (line: Line): readonly number[] | null => {
  if (line.command.toUpperCase() === "SEARCH")
    return line.numbers ?? (line.attributes ?? []).map((token) => uint32Of(token) ?? 0);
  const tokens = line.attributes ?? [];
  const isAll = (token: Token): boolean => listOf(token) === null && textOf(token)?.toUpperCase() === "ALL";
  const at = tokens.findIndex(isAll);
  return at < 0 ? [] : uidsOf(tokens[at + 1], all);
};

/**
 * UIDs of the selected mailbox that match, ascending. `whole` is false when the server cut the answer or it could not be
 * read. Servers answer either form of the question with either form of the answer, in one line or in many.
 */
export const searchUids = async (
  wire: Wire,
  criteria: readonly unknown[],
  options: { readonly ms: number; readonly signal: AbortSignal },
): Promise<{ readonly uids: readonly number[]; readonly whole: boolean }> => {
  const found = new Set<number>();
  let readable = true;
  const take = (line: Line): Promise<void> => {
    const uids = uidsOfLine(line);
    readable &&= uids !== null;
    for (const uid of uids ?? []) if (uid > 0 && uid <= all.to) found.add(uid);
    return Promise.resolve();
  };
  const asked = wire.can("ESEARCH") ? [atom("RETURN"), [atom("ALL")], ...criteria] : criteria;
  const { whole } = await wire.command("UID SEARCH", asked, { ...options, untagged: { SEARCH: take, ESEARCH: take } });
  return { uids: [...found].sort((a, b) => a - b), whole: whole && readable };
};
