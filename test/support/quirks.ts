/** Reads the corpus of server quirks, where it is at hand, as scripts. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Script, ScriptRule } from "./script.ts";
import type { ScriptedState } from "./scripted-mailbox.ts";

/** One line of the corpus. Null stands for "as a sane server does it". */
interface QuirkLine {
  readonly id: string;
  readonly proto: "imap" | "pop3";
  readonly title: string;
  readonly expect: string;
  readonly greeting: string | null;
  readonly capability: string | null;
  readonly state: ScriptedState | null;
  readonly fetch_patch: Readonly<Record<string, Readonly<Record<string, string>>>> | null;
  readonly rules: readonly {
    readonly on: string;
    readonly reply: readonly string[];
    readonly nth?: number;
    readonly chunk?: number;
    readonly delay_ms?: number;
    readonly then?: "close" | "stall" | "reset";
  }[];
}

export interface Quirk {
  readonly id: string;
  readonly protocol: "imap" | "pop3";
  readonly title: string;
  /** What a good client does about it, in words. */
  readonly expect: string;
  readonly script: Script;
}

const toRule = ({ on, delay_ms, then, ...rest }: QuirkLine["rules"][number]): ScriptRule => ({
  ...rest,
  on: new RegExp(on, "i"),
  ...(delay_ms !== undefined && { delayMs: delay_ms }),
  ...(then !== undefined && { ending: then }),
});

const toQuirk = (line: QuirkLine): Quirk => ({
  id: line.id,
  protocol: line.proto,
  title: line.title,
  expect: line.expect,
  script: {
    protocol: line.proto,
    ...(line.greeting !== null && { greeting: line.greeting }),
    ...(line.capability !== null && { capability: line.capability }),
    ...(line.state !== null && { state: line.state }),
    ...(line.fetch_patch !== null && { fetchPatch: line.fetch_patch }),
    rules: line.rules.map(toRule),
  },
});

const corpusPath = fileURLToPath(new URL("../../../shared/corpus/quirks/quirks.jsonl", import.meta.url));

/** All quirks of the corpus; none where there is no corpus. A file of another place may be given. */
export const loadQuirks = (path = corpusPath): Quirk[] =>
  existsSync(path)
    ? readFileSync(path, "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => toQuirk(JSON.parse(line) as QuirkLine))
    : [];
