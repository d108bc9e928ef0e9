import { describe, expect, it } from "vitest";
import { sanitiseHtml } from "../../src/mime/sanitise.ts";

/** A link that leads nowhere. */
const inert = '<a rel="noopener noreferrer nofollow" target="_blank">a</a>';

describe("sanitised HTML", () => {
  it.each([
    ["a script", "a<script>alert(1)</script>b", "ab"],
    ["a script in another case, never closed", "a<ScRiPt>alert(1)", "a"],
    ["a handler", '<p onclick="alert(1)" ONMOUSEOVER=alert(1)>a</p>', "<p>a</p>"],
    ["a script address", '<a href="javascript:alert(1)">a</a>', inert],
    ["a script address with a tab in it", '<a href="java\tscript:alert(1)">a</a>', inert],
    ["a script address in entities", '<a href="&#106;avascript&colon;alert(1)">a</a>', inert],
    ["a data address", '<a href="data:text/html,<script>1</script>">a</a>', inert],
    ["a frame", '<iframe src="https://x.test"></iframe>a', "a"],
    ["an object", '<object data="https://x.test"><embed src="https://x.test"></object>a', "a"],
    ["a form", '<form action="https://x.test"><input name="a">b</form>', "b"],
    ["a style sheet", "<style>@import 'https://x.test'</style><link rel=stylesheet href=https://x.test>a", "a"],
    ["a style that loads", '<p style="color:red;background:url(https://x.test/a)">a</p>', '<p style="color:red">a</p>'],
    ["a background", '<table background="https://x.test/a"><tr><td>a</td></tr></table>', "<table><tr><td>a</td></tr></table>"],
    ["a base and a refresh", '<base href="https://x.test"><meta http-equiv=refresh content="0;url=https://x.test">a', "a"],
    ["a drawing", '<svg onload="alert(1)"><image href="https://x.test"/></svg>a', "a"],
    ["a video", '<video src="https://x.test" poster="https://x.test"></video>a', "a"],
    ["a set of pictures", '<img srcset="https://x.test/a 1x">', "<img />"],
    ["a drawing as a picture", '<img src="data:image/svg+xml;base64,PHN2Zz4=">', "<img />"],
  ])("is without %s", (_, html, clean) => {
    expect(sanitiseHtml(html)).toBe(clean);
  });

  it("keeps a remote picture's address where nothing loads it", () => {
    expect(sanitiseHtml('<img src="https://x.test/a.png" alt="a">')).toBe(
      '<img alt="a" data-remote-src="https://x.test/a.png" />',
    );
  });

  it.each(["cid:pic@x", "data:image/png;base64,iVBORw0KGgo="])("keeps a picture from %s", (src) => {
    expect(sanitiseHtml(`<img src="${src}">`)).toBe(`<img src="${src}" />`);
  });

  it("opens links elsewhere and tells nobody where from", () => {
    expect(sanitiseHtml('<a href="https://x.test" target="_top">a</a>')).toBe(
      '<a href="https://x.test" target="_blank" rel="noopener noreferrer nofollow">a</a>',
    );
  });
});
