import fc from "fast-check";
import { readdir } from "node:fs/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { type Expectation, ReplyFramer } from "../../../src/endpoints/pop3/framing.ts";
import { ProtocolFault } from "../../../src/endpoints/protocol-fault.ts";
import { limits, wholeOf } from "./connection-fixture.ts";

const octets = (text: string): Buffer => Buffer.from(text, "latin1");

/** A message as a server sends it: dots doubled at the start of lines, the last line ended, and the dot. */
const sentBy = (raw: string, lineEnd: "\r\n" | "\n" = "\r\n"): string => {
  const ended = raw === "" || raw.endsWith(lineEnd) ? raw : raw + lineEnd;
  return `${`${lineEnd}${ended}`.replaceAll(`${lineEnd}.`, `${lineEnd}..`).slice(lineEnd.length)}.${lineEnd}`;
};

const completed = (raw: string, lineEnd = "\r\n"): string => (raw === "" || raw.endsWith(lineEnd) ? raw : raw + lineEnd);

/** All that came of octets in these pieces, in a form that can be compared. */
const framed = async (
  pieces: Iterable<Buffer>,
  expected: readonly Expectation[],
  replies: (Promise<string> | string)[] = [],
): Promise<string[]> => {
  const due = [...expected];
  let begun = 0;
  const framer = new ReplyFramer(
    {
      expect: () => due[begun++] ?? null,
      get expectsMore() {
        return begun < due.length;
      },
      onReply: ({ status, text, lines, message }) => {
        const head = `${status} ${text}`;
        if (lines !== null) replies.push(`${head}|${lines.toString("latin1")}`);
        else if (message === null) replies.push(head);
        else if ("passedOver" in message) replies.push(`${head}|passed over ${message.passedOver}`);
        else replies.push(wholeOf(message).then((whole) => `${head}|${whole.toString("latin1")}`));
      },
    },
    limits.spoolDir,
  );
  for (const piece of pieces) await framer.feed(piece);
  if (!framer.empty) replies.push("unfinished");
  await framer.abort();
  return Promise.all(replies.map((reply) => Promise.resolve(reply)));
};

const message: Expectation = { body: "message", limit: 10_000_000, size: null };
const lines: Expectation = { body: "lines", limit: 10_000_000 };
const none: Expectation = { body: "none" };

interface Recorded {
  readonly expected: readonly Expectation[];
  readonly sent: string;
  readonly replies: readonly string[];
}

const dots = "Subject: dots\r\n\r\n.\r\n..\r\n...a\r\n\r\n.\r.\r\n\r\r\n.\n.\r\nend\n.\r\n";
const high = `Subject: \xe9\xff\0\r\n\r\n${String.fromCharCode(...Array.from({ length: 256 }, (_, at) => at))}\r\n`;

/** Flights of replies as servers send them. */
const recorded: Readonly<Record<string, Recorded>> = {
  "a status": { expected: [none], sent: "+OK POP3 ready <1.2@example.org>\r\n", replies: ["+OK POP3 ready <1.2@example.org>"] },
  "a refusal where a message was due": {
    expected: [message, none],
    sent: "-ERR [SYS/TEMP] later\r\n+OK\r\n",
    replies: ["-ERR [SYS/TEMP] later", "+OK "],
  },
  "a challenge": { expected: [{ body: "challenge" }, none], sent: "+ \r\n+OK in\r\n", replies: ["+ ", "+OK in"] },
  "an empty listing": { expected: [lines], sent: "+OK\r\n.\r\n", replies: ["+OK |"] },
  "a listing": {
    expected: [lines, none],
    sent: "+OK 3 messages:\r\n1 120\r\n2  200\r\n3 .\r\n.\r\n+OK 3 320\r\n",
    replies: ["+OK 3 messages:|1 120\r\n2  200\r\n3 .\r\n", "+OK 3 320"],
  },
  "three messages": {
    expected: [message, message, message],
    sent: `+OK 100 octets\r\n${sentBy(dots)}+OK\r\n.\r\n+OK\r\n${sentBy(high)}`,
    replies: [`+OK 100 octets|${dots}`, "+OK |", `+OK |${high}`],
  },
  "a message without a final newline": {
    expected: [message],
    sent: `+OK\r\n${sentBy("a\r\n\r\nend\r")}`,
    replies: ["+OK |a\r\n\r\nend\r\r\n"],
  },
  "all in lines that end in a bare LF": {
    expected: [message, none],
    sent: `+OK\n${sentBy("Subject: a\n\n.\n.b\r\n.c\n", "\n")}+OK\n`,
    replies: ["+OK |Subject: a\n\n.\n.b\r\n.c\n", "+OK "],
  },
  "dots that were not doubled, and are taken for doubled ones": {
    expected: [message],
    sent: "+OK\r\n.a\r\n.\rb\r\n.\n.\r\n.\r\r\n.\r\n",
    replies: ["+OK |a\r\n\rb\r\n\n.\r\n\r\r\n"],
  },
  "lone LFs around dots, which end nothing": {
    expected: [message],
    sent: "+OK\r\nSubject: a\r\n\r\na\n.\r\nb\r\n\n.\nc\r\n.\r\n",
    replies: ["+OK |Subject: a\r\n\r\na\n.\r\nb\r\n\n.\nc\r\n"],
  },
};

describe("replies are the same octets", () => {
  test.each(Object.entries(recorded))(
    "%s, cut in two at every offset, and into single octets",
    async (_, { expected, sent, replies }) => {
      const all = octets(sent);
      for (let at = 0; at <= all.length; at += 1) {
        expect(await framed([all.subarray(0, at), all.subarray(at)], expected), `cut at ${at}`).toEqual(replies);
      }
      expect(
        await framed(
          [...all].map((octet) => Buffer.of(octet)),
          expected,
        ),
      ).toEqual(replies);
    },
  );

  test.each(Object.entries(recorded))(
    "%s, and never a part of them, where they end early",
    async (_, { expected, sent, replies }) => {
      const all = octets(sent);
      for (let at = 0; at < all.length; at += 1) {
        const came = (await framed([all.subarray(0, at)], expected)).filter((reply) => reply !== "unfinished");
        expect(came.length, `ended at ${at}`).toBeLessThan(replies.length);
        expect(came, `ended at ${at}`).toEqual(replies.slice(0, came.length));
      }
    },
  );

  const cuts = fc.array(fc.nat(400), { maxLength: 12 });
  const cutAt = (all: Buffer, places: readonly number[]): Buffer[] => {
    const sorted = [0, ...places.map((place) => Math.min(place, all.length)).sort((a, b) => a - b), all.length];
    return sorted.slice(1).map((end, index) => all.subarray(sorted[index], end));
  };
  const text = (...parts: string[]) => fc.array(fc.constantFrom(...parts), { maxLength: 60 }).map((some) => some.join(""));

  test("for any messages in any pieces", async () => {
    const raws = fc.array(text("\r\n", "\r", "\n", ".", "..", "a", "\0", "\xff", "\r\n."), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(raws, cuts, async (some, places) => {
        const sent = octets(some.map((raw) => `+OK\r\n${sentBy(raw)}`).join(""));
        const came = await framed(
          cutAt(sent, places),
          some.map(() => message),
        );
        expect(came).toEqual(some.map((raw) => `+OK |${completed(raw)}`));
      }),
      { numRuns: 2000 },
    );
  });

  test("for any messages of a server whose lines end in a bare LF", async () => {
    await fc.assert(
      fc.asyncProperty(text("\n", "\r\n", ".", "a", "\n."), cuts, async (raw, places) => {
        // A line of a dot and a CR is a line with a dot to such a server, and so it is doubled.
        const came = await framed(cutAt(octets(`+OK\n${sentBy(raw, "\n")}`), places), [message]);
        expect(came).toEqual([`+OK |${completed(raw, "\n")}`]);
      }),
      { numRuns: 1000 },
    );
  });

  test("or a fault, for whatever comes", async () => {
    const noise = fc.oneof(text("+OK\r\n", "-ERR x\r\n", ".\r\n", "+ \r\n", "junk", "\r\n", "."), fc.string({ unit: "binary" }));
    await fc.assert(
      fc.asyncProperty(noise, cuts, async (sent, places) => {
        try {
          const came = await framed(cutAt(octets(sent), places), [none, lines, message]);
          expect(came.length).toBeLessThanOrEqual(4);
        } catch (error) {
          // A refusal that nobody asked for says that the server ends the session.
          if (!(error instanceof ProtocolFault)) expect(error).toMatchObject({ code: "EConnectionClosed" });
        }
      }),
      { numRuns: 1000 },
    );
  });
});

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** What is really held on the heap: garbage that waits for the collector is not counted. */
const heldBytes = (): number => {
  collect();
  return process.memoryUsage().heapUsed;
};

describe("large replies", () => {
  const some = (size: number, filler: Buffer): Buffer => Buffer.alloc(size, filler);

  test("go through a file, whatever is in them", async () => {
    const filler = octets("\r\n.\r\n..\r\nx\r\n.y\n.\r\n\0\xff".repeat(7));
    const raw = some(3_000_000, filler).toString("latin1");
    const sent = octets(`+OK\r\n${sentBy(raw)}`);
    for (const step of [61, 4096, 65_536, sent.length]) {
      const pieces = Array.from({ length: Math.ceil(sent.length / step) }, (_, at) => sent.subarray(at * step, at * step + step));
      const [came] = await framed(pieces, [message]);
      expect(came === `+OK |${completed(raw)}`, `in pieces of ${step}`).toBe(true);
    }
    expect(await readdir(limits.spoolDir)).toEqual([]);
  });

  test("of lines that all begin with a dot cost what they weigh", async () => {
    const sent = Buffer.concat([octets("+OK\r\n"), some(32_000_000, octets("..\r\n")), octets(".\r\n")]);
    let most = 0;
    const watched = function* (): Generator<Buffer> {
      for (let at = 0; at < sent.length; at += 65_536) {
        if (at % (40 * 65_536) === 0) most = Math.max(most, heldBytes());
        yield sent.subarray(at, at + 65_536);
      }
    };
    const before = heldBytes();
    const [came] = await framed(watched(), [{ body: "lines", limit: 50_000_000 }]);
    expect(came?.length).toBe(5 + 24_000_000);
    expect((most - before) / 1e6).toBeLessThan(100);
  });

  test("that are above the limit are passed over, the next one is not", async () => {
    const sent = octets(`+OK\r\n${sentBy(some(2_500_000, octets("x\r\n")).toString("latin1"))}+OK\r\nsmall\r\n.\r\n`);
    for (const limit of [1000, 2_000_000]) {
      const pieces = Array.from({ length: Math.ceil(sent.length / 50_000) }, (_, at) =>
        sent.subarray(at * 50_000, at * 50_000 + 50_000),
      );
      const small: Expectation = { body: "message", limit, size: null };
      const [first, second] = await framed(pieces, [small, small]);
      expect(first).toMatch(/^\+OK \|passed over 250000\d$/);
      expect(second).toBe("+OK |small\r\n");
    }
    expect(await readdir(limits.spoolDir)).toEqual([]);
  });

  test.each<[string, Expectation, string, number]>([
    ["a listing", { body: "lines", limit: 1_000_000 }, "+OK\r\n", 20],
    ["a status line", none, "+OK ", 1],
    ["a message that was to be passed over", { body: "message", limit: 1000, size: null }, "+OK\r\n", 1100],
  ])("without an end are a fault: %s", async (_, expected, start, mostPieces) => {
    const piece = some(65_536, octets("x"));
    const pieces = [octets(start), ...Array.from({ length: mostPieces }, () => piece)];
    await expect(framed(pieces, [expected])).rejects.toBeInstanceOf(ProtocolFault);
  });
});

describe("what is no reply is a fault", () => {
  const broken = "ResponseProcessingFailed";
  test.each<[string, string, readonly Expectation[], string, number]>([
    ["another protocol", "* OK IMAP4rev1 ready\r\n", [none], broken, 0],
    ["a status that only begins like one", "+OKAY\r\n", [none], broken, 0],
    ["a challenge out of place", "+ go on\r\n", [none], broken, 0],
    ["an answer to nothing", "+OK\r\n+OK\r\n", [none], broken, 1],
    ["a message whose dots were not doubled", "+OK\r\nbefore\r\n.\r\nafter\r\n.\r\n", [message, message], broken, 0],
    ["such a message at the end of a flight", "+OK\r\nbefore\r\n.\r\n+OK no reply\r\n.\r\n", [message], broken, 0],
    ["anything behind the answer to STLS", "+OK\r\n+OK injected\r\n", [{ body: "tls" }], "STARTTLS_INJECTION", 0],
  ])("%s", async (_, sent, expected, code, before) => {
    const replies: (Promise<string> | string)[] = [];
    await expect(framed([octets(sent)], expected, replies)).rejects.toMatchObject({ name: "ProtocolFault", code });
    expect(replies.length).toBe(before);
  });
});
