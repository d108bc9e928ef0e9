/** UIDs by SEARCH: a few bytes with ESEARCH (RFC 4731), a list of numbers without. */
import { type Line, listOf, textOf, type Token, uidsOf, uint32Of } from "./tokens.ts";
import type { Completion, Wire } from "./wire.ts";

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
 * Asks until the server has answered for all, where it limits what it does for one command (RFC 9738): each time for what is below
 * the last UID that it came to. `below`: only for lower ones; null: for all. @returns whether all of it was answered (G1).
 */
export const untilWhole = async (ask: (below: number | null) => Promise<Completion>): Promise<boolean> => {
  for (let below: number | null = null; ;) {
    const { whole, lowest } = await ask(below);
    if (whole || lowest === null || lowest <= 1 || (below !== null && lowest >= below)) return whole;
    below = lowest;
  }
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
  const whole = await untilWhole((below) => {
    const lower = below === null ? criteria : [...criteria, atom("UID"), { type: "SEQUENCE", value: `1:${below - 1}` }];
    const asked = wire.can("ESEARCH") ? [atom("RETURN"), [atom("ALL")], ...lower] : lower;
    return wire.command("UID SEARCH", asked, { ...options, untagged: { SEARCH: take, ESEARCH: take } });
  });
  return { uids: [...found].sort((a, b) => a - b), whole: whole && readable };
};
