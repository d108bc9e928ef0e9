/** Mail made up to hurt a parser: small to write down, large or odd to read. Each has a name for test titles. */

export interface NamedMail {
  readonly name: string;
  readonly raw: Buffer;
}

const mixed = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";

/** One multipart with `count` parts that have nothing in them: 9 octets a part. */
export const siblingBomb = (count: number): Buffer =>
  Buffer.from(`Subject: siblings\r\n${mixed}${"--b\r\n\r\n\r\n".repeat(count)}--b--\r\n`);

/** Multiparts within multiparts, a text in the innermost. */
export const nest = (depth: number): Buffer => {
  const opened = Array.from({ length: depth }, (_, at) => `Content-Type: multipart/mixed; boundary=b${at}\r\n\r\n--b${at}\r\n`);
  return Buffer.from(`Subject: nest\r\n${opened.join("")}Content-Type: text/plain\r\n\r\ninnermost\r\n`);
};

/** Messages within messages. */
const forwards = (depth: number): string =>
  `${Array.from({ length: depth }, (_, at) => `Subject: level ${at}\r\nContent-Type: message/rfc822\r\n\r\n`).join("")}Subject: end\r\n\r\nthe end\r\n`;

const texts: Readonly<Record<string, string>> = {
  "nothing at all": "",
  "one line end": "\r\n",
  "only NUL": "\0".repeat(5000),
  "no header": "\r\nA body only.\r\n",
  "no body": "Subject: no body",
  "colons only": ":".repeat(10_000),
  "one word of 300,000 characters in References": `References: ${"a".repeat(300_000)}\r\n\r\n`,
  "brackets that never close": `From: ${'<("['.repeat(20_000)}\r\nReferences: ${"<".repeat(50_000)}\r\n\r\n`,
  "encoded words that never end": `Subject: ${"=?utf-8?q?".repeat(10_000)}\r\n\r\n`,
  "50,000 recipients": `To: ${"a@example.com, ".repeat(50_000)}\r\n\r\n`,
  "50,000 folds": `Subject: x${"\r\n y".repeat(50_000)}\r\n\r\n`,
  "100,000 fields": `${"X-A: b\r\n".repeat(100_000)}\r\n`,
  "a boundary that never appears": `${mixed}text\r\n`,
  "a boundary of blanks": 'Content-Type: multipart/mixed; boundary="  "\r\n\r\n--  \r\n\r\n',
  "its own boundary inside": `${mixed}--b\r\n${mixed}--b\r\n\r\ntext\r\n--b--\r\n`,
  "parameters without end": `Content-Type: text/plain; ${"name*0*=utf-8''%41;".repeat(5000)}\r\n\r\n`,
  "base64 of rubbish": `Content-Transfer-Encoding: base64\r\n\r\n${"=A!=".repeat(5000)}`,
  "quoted-printable of rubbish": `Content-Transfer-Encoding: quoted-printable\r\n\r\n${"=\r=G=".repeat(5000)}`,
  "UTF-7 script": "Content-Type: text/html; charset=utf-7\r\n\r\n+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
  "HTML of open tags": `Content-Type: text/html\r\n\r\n${"<b><i>".repeat(2000)}`,
  "HTML of entities": `Content-Type: text/html\r\n\r\n${"&#x110000;&#0;&amp".repeat(2000)}`,
  "40 messages deep": forwards(40),
  "letters that look like an escape of NUL":
    'From: a\\u0000" <a@example.com>\r\nSubject: b\\u0000\r\n\r\nc\\u0000" d\\\\u0000\r\n',
  "bare CR line ends": "Subject: old\rFrom: a@example.com\r\rbody\r",
};

/** All of them, the sibling and the nesting bomb included. */
export const hostileMail = (): NamedMail[] => [
  ...Object.entries(texts).map(([name, text]) => ({ name, raw: Buffer.from(text, "latin1") })),
  { name: "3,000 empty siblings", raw: siblingBomb(3000) },
  { name: "nested 300 deep", raw: nest(300) },
];
