/** Mailboxes for benchmarks: the same seed gives the same octets. */
import { createHash } from "node:crypto";
import type { Dovecot } from "../test/support/dovecot.ts";

/** A small fast generator of numbers in [0, 1) (mulberry32). */
export const seeded = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
};

const words =
  "the quick brown fox jumps over a lazy dog while seven wizards mix grey potions under bright northern lights every winter evening".split(
    " ",
  );

/** One message; sizes are log-normal around `meanBytes`, as real mailboxes are. */
export const benchMessage = (n: number, random: () => number, meanBytes: number): Buffer => {
  const gauss = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const size = Math.min(500_000, Math.max(600, Math.exp(Math.log(meanBytes) - 0.6 + 1.1 * gauss)));
  const lines = [
    `Return-Path: <sender${n % 97}@example.test>`,
    `Received: from mx.example.test by mail.example.test with ESMTPS id ${n.toString(36)}; Mon, 3 Aug 2026 10:00:00 +0000`,
    `From: "Sender ${n % 97}" <sender${n % 97}@example.test>`,
    `To: Ana <ana@example.test>`,
    `Subject: Message ${n} about ${words[n % words.length]}`,
    `Date: Mon, 3 Aug 2026 10:${String(n % 60).padStart(2, "0")}:00 +0000`,
    `Message-ID: <${n}.bench@example.test>`,
    `MIME-Version: 1.0`,
    `Content-Type: text/plain; charset=utf-8`,
    "",
  ];
  let length = lines.reduce((sum, line) => sum + line.length + 2, 0);
  while (length < size) {
    const line = Array.from({ length: 11 }, () => words[Math.floor(random() * words.length)]).join(" ");
    lines.push(line);
    length += line.length + 2;
  }
  return Buffer.from(`${lines.join("\r\n")}\r\n`);
};

function* messages(
  from: number,
  count: number,
  random: () => number,
  meanBytes: number,
  note: (raw: Buffer) => void,
): Generator<Buffer> {
  for (let n = from; n < from + count; n += 1) {
    const raw = benchMessage(n, random, meanBytes);
    note(raw);
    yield raw;
  }
}

/** Fills `mailboxes` mailboxes of a user with `count` messages; half of them in INBOX. @returns sizes and the hash of every message. */
export const fill = async (
  server: Dovecot,
  n: number,
  options: { readonly count: number; readonly mailboxes: number; readonly meanBytes: number },
): Promise<{ bytes: number; headBytes: number; hashes: Set<string> }> => {
  const random = seeded(20_261_124);
  let bytes = 0;
  let headBytes = 0;
  const hashes = new Set<string>();
  const note = (raw: Buffer): void => {
    bytes += raw.length;
    headBytes += raw.indexOf("\r\n\r\n") + 4;
    hashes.add(createHash("sha256").update(raw).digest("hex"));
  };
  const inInbox = options.mailboxes === 1 ? options.count : Math.ceil(options.count / 2);
  let next = 0;
  for (let box = 0; box < options.mailboxes; box += 1) {
    const rest = options.count - next;
    const share =
      box === 0
        ? inInbox
        : box === options.mailboxes - 1
          ? rest
          : Math.floor((options.count - inInbox) / (options.mailboxes - 1));
    const mailbox = box === 0 ? "INBOX" : `Box${String(box).padStart(2, "0")}`;
    await server.deliver({
      user: server.account(n).user,
      mailbox,
      messages: messages(next, share, random, options.meanBytes, note),
    });
    next += share;
  }
  return { bytes, headBytes, hashes };
};
