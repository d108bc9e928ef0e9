/**
 * The fields of a header block (RFC 5322 §2.2), found in one forward pass over text with one char per octet. Tolerates bare
 * LF, bare CR where there is no LF at all, an mbox From_ line, a byte order mark, lines that are no fields, and a missing body.
 */
const space = 32;
const tab = 9;
const carriageReturn = 13;
/** Chars of one folded value that are looked at; 1,000 recipients are about 60,000. */
const valueLimit = 256 * 1024;

/** Fields somebody wants, prepared so that all other lines are passed over by their first letter. */
export interface WantedFields {
  readonly names: ReadonlySet<string>;
  readonly initials: readonly boolean[];
}

export const wantedFields = (...names: string[]): WantedFields => {
  const initials = Array.from({ length: 256 }, () => false);
  for (const name of names) {
    initials[name.charCodeAt(0)] = true;
    initials[name.toUpperCase().charCodeAt(0)] = true;
  }
  return { names: new Set(names), initials };
};

/** The block's text, ready for `scanFields`: a block whose only line ends are bare CR gets LF instead, char for char. */
export const headerText = (latin1: string): string =>
  latin1.includes("\n") || !latin1.includes("\r") ? latin1 : latin1.replaceAll("\r", "\n");

const isBlank = (char: number): boolean => char === space || char === tab;

/** Where the field's value ends: after the last of its folded lines. `lineEnd` is the LF of its first line. */
const foldedEnd = (text: string, lineEnd: number): number => {
  let end = lineEnd;
  while (end < text.length && isBlank(text.charCodeAt(end + 1))) {
    const next = text.indexOf("\n", end + 1);
    end = next < 0 ? text.length : next;
  }
  return end;
};

/** Without blanks and line ends around it. Not `trim()`, which takes 0xA0, the last octet of many UTF-8 characters. */
const trimOctets = (text: string): string => {
  let start = 0;
  let end = text.length;
  while (start < end && text.charCodeAt(start) <= space) start += 1;
  while (end > start && text.charCodeAt(end - 1) <= space) end -= 1;
  return text.slice(start, end);
};

const unfold = (text: string): string =>
  trimOctets(text.includes("\n") ? text.replaceAll("\r\n", "").replaceAll("\n", "") : text);

/**
 * Calls `found` with each wanted field, in order, its name in lower case and its value unfolded and trimmed. Returns the offset
 * behind the empty line that ends the block, or -1 when the text ends first.
 */
export const scanFields = (text: string, wanted: WantedFields, found: (name: string, value: string) => void): number => {
  let at = text.startsWith("\u00ef\u00bb\u00bf") ? 3 : 0;
  // Kept over lines: a block without colons would else be searched to its end once a line.
  let colon = -1;
  while (at < text.length) {
    const newline = text.indexOf("\n", at);
    const lineEnd = newline < 0 ? text.length : newline;
    if (lineEnd === at || (lineEnd === at + 1 && text.charCodeAt(at) === carriageReturn)) return newline < 0 ? -1 : newline + 1;
    let end = lineEnd;
    // Where lines end in LF CR the CR of the one before stands in front.
    if (text.charCodeAt(at) === carriageReturn) at += 1;
    if (wanted.initials[text.charCodeAt(at)] === true) {
      if (colon < at) colon = text.indexOf(":", at);
      if (colon < 0) colon = text.length;
      const name = colon < lineEnd ? text.slice(at, colon).trimEnd().toLowerCase() : "";
      if (wanted.names.has(name)) {
        end = foldedEnd(text, lineEnd);
        found(name, unfold(text.slice(colon + 1, Math.min(end, colon + valueLimit))));
      }
    }
    at = end + 1;
  }
  return -1;
};
