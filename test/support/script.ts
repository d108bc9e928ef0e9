/** What a scripted server is told to say. */
import type { ScriptedState } from "./scripted-mailbox.ts";

/** What is said in place of the sane answer. */
export interface ScriptRule {
  /** Tried on the command without its tag; with `\{` in it, also on a line that announces a literal, with its tag. */
  readonly on: RegExp;
  /** Only the n-th match of the whole run, from 1; otherwise every match that no such rule takes. */
  readonly nth?: number;
  /**
   * In these words: `{tag}`, `{lasttag}`, `{baseline}` (the sane untagged answer; `:reverse`, `:lf`), `{ok}` (the sane end; `:lf`),
   * `{counter}`, `{repeat:TEXT:N}`, `{lines:TEXT with %d:N}`, `{seq:TEXT with %d:A:B}`; and `!delay:MS`, `!stall`, `!close`.
   */
  readonly reply: readonly string[];
  /** Sent in pieces of so many octets, one every `delayMs` (1). */
  readonly chunk?: number;
  /** Without `chunk`: time before the first word. */
  readonly delayMs?: number;
  /** What happens behind the reply: a proper end, silence for ever, or RST. */
  readonly ending?: "close" | "stall" | "reset";
}

export interface Script {
  readonly protocol?: "imap" | "pop3";
  readonly greeting?: string;
  /** In place of a plain IMAP4rev1 with IDLE and UIDPLUS. */
  readonly capability?: string;
  /** In place of three small ones; UIDs from 101. */
  readonly messages?: readonly Buffer[];
  readonly state?: ScriptedState;
  readonly fetchPatch?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly rules?: readonly ScriptRule[];
}

const macro = /\{repeat:([\s\S]*?):(\d+)\}|\{lines:([\s\S]*?):(\d+)\}|\{seq:([\s\S]*?):(\d+):(\d+)\}|\{counter\}/g;

/** Spells macros out piece by piece: some make a hundred megabytes. */
export function* spellOut(text: string, counter: () => number): Generator<string> {
  let last = 0;
  for (const match of text.matchAll(macro)) {
    yield text.slice(last, match.index);
    last = match.index + match[0].length;
    const [, repeated, times, line, lines, item, from, to] = match;
    if (repeated !== undefined) {
      const atOnce = Math.max(1, Math.floor(65_536 / repeated.length));
      for (let left = Number(times); left > 0; left -= atOnce) yield repeated.repeat(Math.min(left, atOnce));
    } else if (line !== undefined) for (let n = 1; n <= Number(lines); n += 1) yield `${line.replaceAll("%d", String(n))}\r\n`;
    else if (item !== undefined) for (let n = Number(from); n <= Number(to); n += 1) yield item.replaceAll("%d", String(n));
    else yield String(counter());
  }
  yield text.slice(last);
}
