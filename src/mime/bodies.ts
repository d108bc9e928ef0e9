/** Which parts are the text of a message and which are attached to it (RFC 8621 §4.1.4, the algorithm given there). */
import type { Part } from "./tree.ts";

export interface Bodies {
  /** To be read as plain text, in order; HTML where a piece has no plain form. */
  readonly text: readonly Part[];
  /** To be read as HTML, in order; plain text where a piece has no HTML form. */
  readonly html: readonly Part[];
  /** All other leaves: everything that is offered as a download. */
  readonly attached: readonly Part[];
}

const isMedia = (type: string): boolean => /^(?:image|audio|video)\//.test(type);
const isText = (type: string): boolean => type === "text/plain" || type === "text/html";

/** A part that the reader sees where it stands, not as a download. */
const isShown = ({ headers }: Part, index: number, multipart: string): boolean => {
  if (headers.disposition === "attachment" || !(isText(headers.contentType) || isMedia(headers.contentType))) return false;
  // Behind the first part of multipart/related stands only what it refers to; a named text behind other parts is a file. The
  // forms of an alternative are no files, named or not (RFC 8621 says otherwise; some writers name their HTML).
  if (index === 0 || multipart === "alternative") return true;
  return multipart !== "related" && (isMedia(headers.contentType) || headers.filename === null);
};

interface Lists {
  text: Part[] | null;
  html: Part[] | null;
}

const sort = (
  parts: readonly Part[],
  multipart: string,
  inAlternative: boolean,
  { text, html }: Lists,
  attached: Part[],
): void => {
  const before = { text: text?.length ?? -1, html: html?.length ?? -1 };
  let [textList, htmlList] = [text, html];
  for (const [index, part] of parts.entries()) {
    const type = part.headers.contentType;
    if (part.children.length > 0) {
      const kind = type.slice(type.indexOf("/") + 1);
      sort(part.children, kind, inAlternative || kind === "alternative", { text: textList, html: htmlList }, attached);
    } else if (!isShown(part, index, multipart) || !isText(type)) {
      attached.push(part);
    } else if (multipart === "alternative") {
      (type === "text/plain" ? textList : htmlList)?.push(part);
    } else {
      // Within an alternative a text stands for its own form only.
      if (inAlternative && type === "text/plain") htmlList = null;
      if (inAlternative && type === "text/html") textList = null;
      textList?.push(part);
      htmlList?.push(part);
    }
  }
  if (multipart === "alternative") shareForm({ text, html }, before);
};

/** Where an alternative has one form only, it serves for the other. */
const shareForm = ({ text, html }: Lists, before: { readonly text: number; readonly html: number }): void => {
  if (text === null || html === null) return;
  const newText = text.slice(before.text);
  const newHtml = html.slice(before.html);
  if (newText.length === 0) text.push(...newHtml);
  if (newHtml.length === 0) html.push(...newText);
};

export const bodiesOf = (root: Part): Bodies => {
  const text: Part[] = [];
  const html: Part[] = [];
  const attached: Part[] = [];
  sort([root], "mixed", false, { text, html }, attached);
  const shown = new Set([...text, ...html]);
  // An alternative that neither list took (a second plain text where only HTML counts) is not lost.
  return { text, html, attached: leavesOf(root).filter((part) => !shown.has(part)) };
};

const leavesOf = (root: Part): readonly Part[] => {
  const leaves: Part[] = [];
  const visit = (part: Part): void => {
    if (part.children.length === 0) leaves.push(part);
    for (const child of part.children) visit(child);
  };
  visit(root);
  return leaves;
};
