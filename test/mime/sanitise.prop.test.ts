import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sanitiseHtml } from "../../src/mime/sanitise.ts";
import { harmfulIn } from "../support/harmful-html.ts";

const names = [
  "a",
  "img",
  "p",
  "script",
  "style",
  "svg",
  "math",
  "iframe",
  "title",
  "textarea",
  "noscript",
  "template",
  "table",
  "xmp",
];
const attributes = [
  "src",
  "href",
  "srcset",
  "style",
  "onload",
  "background",
  "data-remote-src",
  "action",
  "formaction",
  "xlink:href",
];
const values = [
  ...[
    "javascript:alert(1)",
    "java\nscript:alert(1)",
    "https://x.test/a",
    "//x.test/a",
    "cid:a",
    "data:image/png;base64,AA",
    "\0",
  ],
  ...[
    "data:text/html,a",
    "color:red",
    "background:url(//x.test)",
    'a" onload="b',
    "a' onload='b",
    "&quot; onload=b",
    "vbscript:a",
    "\\\\x.test\\a",
  ],
];
const attribute = fc
  .tuple(fc.constantFrom(...attributes), fc.constantFrom(...values), fc.constantFrom('"', "'", ""))
  .map(([name, value, quote]) => ` ${name}=${quote}${value}${quote}`);
const tag = fc
  .tuple(
    fc.constantFrom("<", "</", "<!", "< "),
    fc.constantFrom(...names),
    fc.array(attribute, { maxLength: 3 }),
    fc.constantFrom(">", "/>", "", ">>"),
  )
  .map(([open, name, list, close]) => `${open}${name}${list.join("")}${close}`);
const rest = fc.constantFrom(
  "text",
  "<!--",
  "-->",
  "<![CDATA[",
  "]]>",
  "&lt;script&gt;",
  "&#60;img src=x onerror=a&#62;",
  "<",
  ">",
  "\0",
  "\ud800",
);
const html = fc.array(fc.oneof(tag, rest), { maxLength: 25 }).map((parts) => parts.join(""));

describe("sanitised HTML", () => {
  it("never runs or loads anything, whatever it was made of", () => {
    fc.assert(
      fc.property(html, (text) => {
        const clean = sanitiseHtml(text);
        expect(harmfulIn(clean)).toEqual([]);
        expect(clean.isWellFormed() && !clean.includes("\0")).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it("is left as it is when it is sanitised again", () => {
    fc.assert(
      fc.property(html, (text) => {
        const clean = sanitiseHtml(text);
        expect(harmfulIn(sanitiseHtml(clean))).toEqual([]);
      }),
    );
  });
});
