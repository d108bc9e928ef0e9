/** Readable text of HTML, for previews and search. One forward pass without a tree: nesting costs nothing. */
import { Tokenizer, type TokenizerCallbacks } from "htmlparser2";

/** Elements whose text nobody sees. */
const unseen = new Set(["script", "style", "title", "template", "svg", "select", "textarea"]);
/** Elements that stand in the line; all others part the words around them. */
const inLine = new Set(
  [
    "a",
    "abbr",
    "b",
    "bdi",
    "bdo",
    "big",
    "cite",
    "code",
    "del",
    "dfn",
    "em",
    "font",
    "i",
    "ins",
    "kbd",
    "label",
    "mark",
    "q",
    "s",
  ].concat(["samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr"]),
);
const nothing = (): void => {};

class TextCollector implements TokenizerCallbacks {
  readonly pieces: string[] = [];
  private readonly html: string;
  private room: number;
  /** The unseen element we are in; its own closing tag ends it, whatever stands inside. */
  private hiddenBy: string | null = null;
  private opening = "";
  readonly onselfclosingtag = nothing;
  readonly onattribdata = nothing;
  readonly onattribentity = nothing;
  readonly onattribend = nothing;
  readonly onattribname = nothing;
  readonly oncdata = nothing;
  readonly oncomment = nothing;
  readonly ondeclaration = nothing;
  readonly onprocessinginstruction = nothing;
  readonly onend = nothing;

  constructor(html: string, limit: number) {
    this.html = html;
    this.room = limit;
  }

  ontext(start: number, end: number): void {
    this.add(this.html.slice(start, end));
  }

  ontextentity(codepoint: number): void {
    this.add(String.fromCodePoint(codepoint));
  }

  onopentagname(start: number, end: number): void {
    this.opening = this.html.slice(start, end).toLowerCase();
    // What was left open before the body hides none of it.
    if (this.opening === "body") this.hiddenBy = null;
    this.part(this.opening);
  }

  onopentagend(): void {
    if (this.hiddenBy === null && unseen.has(this.opening)) this.hiddenBy = this.opening;
  }

  onclosetag(start: number, end: number): void {
    const name = this.html.slice(start, end).toLowerCase();
    if (name === this.hiddenBy) this.hiddenBy = null;
    this.part(name);
  }

  private add(text: string): void {
    if (this.hiddenBy !== null || this.room <= 0) return;
    this.room -= text.length;
    this.pieces.push(text);
  }

  private part(name: string): void {
    if (!inLine.has(name) && this.pieces.at(-1) !== "\n") this.add("\n");
  }
}

/** The text a reader sees, one line per block, at most `limit` UTF-16 units. Never throws; linear in the HTML. */
export const htmlToText = (html: string, limit: number): string => {
  const collector = new TextCollector(html, limit);
  const tokenizer = new Tokenizer({ xmlMode: false, decodeEntities: true }, collector);
  tokenizer.write(html);
  tokenizer.end();
  return collector.pieces.join("").slice(0, limit).toWellFormed();
};
