import { describe, expect, it } from "vitest";
import { findPart, readBody, summarise } from "../../src/mime/message.ts";
import { treeLimits } from "../../src/mime/tree.ts";
import { nest, siblingBomb } from "../support/hostile-mail.ts";

/** One char per octet; lines end in CR LF where they are given apart. */
const source = (...lines: string[]) => {
  const raw = Buffer.from(lines.join("\r\n"), "latin1");
  return { size: raw.length, chunks: () => [raw] };
};

const summaryOf = async (...lines: string[]) => {
  const parsed = await summarise(source(...lines));
  if (parsed.status === "failed") throw new Error(parsed.reason);
  return parsed;
};

const bodyOf = async (...lines: string[]) => {
  const body = await readBody(source(...lines));
  if (body.status === "failed") throw new Error(body.reason);
  return body;
};

const mixed = ["Content-Type: multipart/mixed; boundary=b", ""];
const filenameOf = async (...fields: string[]): Promise<string | null | undefined> =>
  (await summaryOf(...mixed, "--b", "", "text", "--b", ...fields, "", "x", "--b--")).attachments[0]?.filename;

describe("the text of a message", () => {
  it.each<[string, string[], string]>([
    ["without any header", ["", "hello"], "hello\n"],
    ["in UTF-8", ["Content-Type: text/plain; charset=utf-8", "", "Gr\xc3\xbc\xc3\x9fe"], "Grüße\n"],
    ["in Latin-1", ["Content-Type: text/plain; charset=iso-8859-1", "", "Gr\xfc\xdfe"], "Grüße\n"],
    ["in Latin-1 nobody declared", ["", "Gr\xfc\xdfe"], "Grüße\n"],
    ["in UTF-8 declared ASCII", ["Content-Type: text/plain; charset=us-ascii", "", "Gr\xc3\xbc\xc3\x9fe"], "Grüße\n"],
    ["in a charset nobody knows", ["Content-Type: text/plain; charset=x-none", "", "hello"], "hello\n"],
    ["in quoted-printable", ["Content-Transfer-Encoding: quoted-printable", "", "a=3Db=", "c =20", "d"], "a=bc  \nd\n"],
    ["in base64", ["Content-Transfer-Encoding: BASE64", "", "aGVs", " bG8K"], "hello\n"],
    ["under a type that is none", ["Content-Type: text", "", "hello"], "hello\n"],
    ["with NUL in it", ["", "a\0b"], "ab\n"],
    ["with a boundary that never appears", [...mixed, "hello"], "hello\n"],
    ["in a multipart that never closes", [...mixed, "--b", "", "hello"], "hello\n"],
    ["behind a preamble", [...mixed, "preamble", "--b", "", "hello", "--b--", "epilogue"], "hello"],
    ["in a part without an empty line", [...mixed, "--b", "", "hello", "--b", "Content-Type: text/plain", "--b--"], "hello\n"],
    ["under multipart/*", ["Content-Type: multipart/*; boundary=b", "", "--b", "", "hello", "--b--"], "hello"],
  ])("is read %s", async (_, lines, text) => {
    expect((await bodyOf(...lines, "")).text).toBe(text);
  });

  it("of an alternative is the plain form, and the HTML the other", async () => {
    const lines = ["--b", "", "plain", "--b", "Content-Type: text/html", "", "<p>rich</p>", "--b--"];
    const body = await bodyOf("Content-Type: multipart/alternative; boundary=b", "", ...lines);
    expect(body).toMatchObject({ text: "plain", html: "<p>rich</p>", truncated: false });
    expect((await summaryOf("Content-Type: multipart/alternative; boundary=b", "", ...lines)).attachments).toEqual([]);
  });

  it("of HTML is what a reader would see", async () => {
    const html = "<title>t</title><style>p{}</style><p>one&nbsp;&amp; <b>t</b>wo</p><script>alert(1)</script>three<!-- no -->";
    expect((await summaryOf("Content-Type: text/html", "", html)).preview).toBe("one & two three");
  });

  it("is cut where it is long, and says so", async () => {
    const body = await bodyOf("", "x".repeat(5 * 1024 * 1024));
    expect(body.truncated).toBe(true);
    expect(body.text).toHaveLength(4 * 1024 * 1024);
  });

  it("in the preview has 256 characters, none cut in half, and no marks without a shape", async () => {
    const { preview } = await summaryOf(
      "Content-Type: text/plain; charset=utf-8",
      "",
      Buffer.from(`\u200b\ufeff${"😀".repeat(300)}`).toString("latin1"),
    );
    expect(preview).toBe("😀".repeat(256));
  });
});

describe("the attachments", () => {
  const image = [
    "--r",
    "Content-Type: image/png",
    "Content-ID: <pic@x>",
    "Content-Transfer-Encoding: base64",
    "",
    "iVBORw0KGgo=",
    "--r--",
  ];
  const related = [
    "Content-Type: multipart/related; boundary=r",
    "",
    "--r",
    "Content-Type: text/html",
    "",
    '<img src="cid:pic@x">',
    ...image,
  ];
  const lines = [
    ...mixed,
    "--b",
    ...related,
    "--b",
    'Content-Type: application/pdf; name="a.pdf"',
    "Content-Disposition: attachment",
    "",
    "%PDF",
    "--b",
    "Content-Type: message/rfc822",
    "",
    "Subject: inner",
    ...mixed,
    "--b2",
    "--b--",
  ];

  it("are all leaves that are not the text, numbered as IMAP numbers them", async () => {
    const { attachments, searchText } = await summaryOf(...lines);
    const none = { filename: null, contentId: null, inline: false };
    expect(attachments).toEqual([
      { ...none, partId: "1.2", contentType: "image/png", size: 8, contentId: "pic@x", inline: true },
      { ...none, partId: "2", contentType: "application/pdf", size: 4, filename: "a.pdf" },
      { ...none, partId: "3", contentType: "message/rfc822", size: ["Subject: inner", ...mixed, "--b2"].join("\r\n").length },
    ]);
    expect(searchText).toContain("inner");
  });

  it("can be found by their number, and nothing else can", async () => {
    const whole = source(...lines);
    expect(await findPart(whole, "1.2")).toMatchObject({ status: "found", size: 8, encoding: "base64" });
    expect(await findPart(whole, "1.1")).toMatchObject({ status: "found", contentType: "text/html" });
    for (const partId of ["", "0", "1", "4", "1.3", "1.2.1", "3.1", "-1", "1e0", "01", "__proto__", "1.".repeat(5000)])
      expect(await findPart(whole, partId), partId).toEqual({ status: "absent" });
  });

  it.each<[string, string[], string | null]>([
    ["quoted", ['Content-Disposition: attachment; filename="a b.txt"'], "a b.txt"],
    ["bare", ["Content-Disposition: attachment; filename=a.txt"], "a.txt"],
    ["in RFC 2231", ["Content-Disposition: attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe.txt"], "Grüße.txt"],
    ["in pieces", ["Content-Disposition: attachment; filename*0=ab;", ' filename*1="cd.txt"'], "abcd.txt"],
    ["in an encoded word", ['Content-Disposition: attachment; filename="=?utf-8?q?Gr=C3=BC=C3=9Fe.txt?="'], "Grüße.txt"],
    ["in raw UTF-8", ['Content-Disposition: attachment; filename="Gr\xc3\xbc\xc3\x9fe.txt"'], "Grüße.txt"],
    ["in the type only", ['Content-Type: application/pdf; name="a.pdf"', "Content-Disposition: attachment"], "a.pdf"],
    ["with a path", ['Content-Disposition: attachment; filename="../../etc/passwd"'], "passwd"],
    ["with a path of Windows", [String.raw`Content-Disposition: attachment; filename="C:\\temp\\a.txt"`], "a.txt"],
    ["of dots only", ['Content-Disposition: attachment; filename=".."'], null],
    ["with the letters turned around", ["Content-Disposition: attachment; filename*=utf-8''a%E2%80%AEtxt.exe"], "atxt.exe"],
    ["of 400 characters", [`Content-Disposition: attachment; filename="${"x".repeat(400)}.jpeg"`], `${"x".repeat(250)}.jpeg`],
    ["that is missing", ["Content-Disposition: attachment"], null],
  ])("have their name when it is written %s", async (_, fields, filename) => {
    expect(await filenameOf(...fields)).toBe(filename);
  });
});

describe("a bomb", () => {
  const read = (raw: Buffer) => ({ size: raw.length, chunks: () => [raw] });

  it.each([
    ["200,000 empty siblings", siblingBomb(200_000), "too_many_parts"],
    ["nested 100,000 deep", nest(100_000), "too_deep"],
  ])("of parts %s is refused before it costs anything", async (_, raw, reason) => {
    const started = performance.now();
    expect(await summarise(read(raw))).toEqual({ status: "failed", reason });
    expect(await readBody(read(raw))).toEqual({ status: "failed", reason });
    expect(await findPart(read(raw), "1")).toEqual({ status: "failed", reason });
    expect(performance.now() - started).toBeLessThan(2000);
  });

  it("is no message of as many parts as are allowed, nor one as deep", async () => {
    expect(await summarise(read(siblingBomb(treeLimits.parts - 1)))).toMatchObject({ status: "parsed" });
    expect(await summarise(read(nest(treeLimits.depth)))).toMatchObject({ status: "parsed", preview: "innermost" });
  });
});
