import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decodeUidl, learnCodec, type UidlFormat } from "../../src/endpoints/pop3/uidl-codec.ts";
import { fingerprint, type Fingerprint, fingerprintOfHead } from "../../src/mime/fingerprint.ts";
import type { MessageId, PlacementId } from "../../src/model/ids.ts";
import type { PairedItem } from "../../src/model/maildrop.ts";
import { type Claimable, identify, type Identified, type UnknownItem } from "../../src/reconciler/identify.ts";
import { corpus } from "../support/corpus.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { forever, openDovecot, wholeOf } from "./pop3/connection-fixture.ts";

/** One INBOX as IMAP and as POP3 show it, item by item: Dovecot lists both in the order of the UIDs. */
interface Views {
  readonly uidValidity: number;
  readonly imap: readonly (Fingerprint & { readonly uid: number })[];
  readonly pop3: readonly {
    readonly item: UnknownItem;
    readonly head: NonNullable<UnknownItem["head"]>;
    readonly whole: Fingerprint;
  }[];
}

const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const hex = (hash: Buffer): string => hash.toString("hex");

const viewsOf = async (dovecot: Dovecot): Promise<Views> => {
  await using device = await dovecot.device(1);
  const { uidValidity } = await device.select("INBOX");
  const raws = await device.fetchRaw();
  const imap = await Promise.all(
    [...raws].toSorted(([a], [b]) => a - b).map(async ([uid, raw]) => ({ uid, ...(await fingerprint([raw])) })),
  );
  const connection = await openDovecot(dovecot, 1);
  const { messages } = await connection.list(forever);
  const uidls = (await connection.uidl(forever))?.messages ?? [];
  const read = async (lines: number): Promise<Buffer[]> => {
    const found: Buffer[] = [];
    for await (const { octets } of connection.topMany(messages, lines, forever))
      found.push(octets === null ? Buffer.alloc(0) : await wholeOf(octets));
    return found;
  };
  const heads = await read(0);
  const wholes = await read(100_000_000);
  await connection.quit(forever);
  const pop3 = await Promise.all(
    messages.map(async ({ size }, index) => {
      const uidl = uidls[index]?.uidl ?? "";
      const { hHead, dropped } = fingerprintOfHead(heads[index] ?? Buffer.alloc(0));
      return {
        item: { uidl, occurrence: 0, size: size ?? 0, meaning: null, head: null, body: null },
        head: { hHead: hex(hHead), dropped },
        whole: await fingerprint([wholes[index] ?? Buffer.alloc(0)]),
      };
    }),
  );
  return { uidValidity, imap, pop3 };
};

const claimableOf = ({ imap }: Views): Claimable[] =>
  imap.map(({ uid, hFull, hHead, size }) => ({
    id: `placement${String(uid).padStart(6, "0")}` as PlacementId,
    messageId: hex(hFull) as MessageId,
    standing: "imap",
    uid,
    objectId: null,
    sha256: null,
    hFull: hex(hFull),
    hHead: hex(hHead),
    hSem: null,
    octets: null,
    size,
  }));

const decide = (views: Views, items: readonly UnknownItem[]): readonly Identified[] =>
  identify({ items, claimable: claimableOf(views), known: new Map(), imap: "scanned", regenerated: false }).items;

const formats: readonly (readonly [uidlFormat: string, learned: UidlFormat | null])[] = [
  ["%08Xu%08Xv", "hex-uid-validity"],
  ["%08Xv%08Xu", "hex-validity-uid"],
  ["%v.%u", "validity.uid"],
  ["%v-%u", "validity-uid"],
  ["UID%u-%v", "UIDuid-validity"],
  ["%v%u", "validityuid"],
  ["%u", "uid"],
  ["%g", null],
  ["%f", null],
];

/** Every mail of the corpora, some twice, and some that are alike but for their ends. */
const delivered = [...corpus("hostile"), ...corpus("mail")]
  .map(({ raw }) => raw)
  .filter((raw) => raw.length > 0 && raw.length < 300_000)
  .slice(0, 900);
/** Lines that end in LF CR: to one parser the next lines are fields, to another the header block ends there. */
const endsInLfCr = (raw: Buffer | undefined): boolean =>
  raw !== undefined && raw.includes("\n\r") && raw.indexOf("\n\r") === raw.indexOf("\n");
const odd = ["no final line end", "a CR at its end\r", "two lines\r\n\r\n", "dots\r\n.\r\n..\r\n"].map((text) =>
  Buffer.from(`Subject: odd\r\nMessage-ID: <same@example.com>\r\n\r\n${text}`),
);

describe.for(formats)("a maildrop whose unique-ids are %s", ([uidlFormat, learned]) => {
  let dovecot: Dovecot;
  let views: Views;
  // The whole corpus once; the ids are the same matter for every mail.
  const most = learned === "hex-uid-validity" ? delivered : delivered.slice(0, 40);
  const messages = [...most, ...most.slice(0, 30), ...odd];

  beforeAll(async () => {
    dovecot = await startDovecot({ users: 1, pop3: { uidlFormat } });
    await dovecot.deliver({ user: "user1", mailbox: "INBOX", messages });
    views = await viewsOf(dovecot);
  }, 120_000);
  afterAll(() => dovecot.stop());

  it("shows every mail with the hashes and the size that IMAP shows", () => {
    expect(views.pop3.length).toBe(views.imap.length);
    views.imap.forEach((imap, index) => {
      const pop3 = views.pop3[index];
      expect(pop3 && hex(pop3.whole.hFull), `item ${index}`).toBe(hex(imap.hFull));
      expect(pop3?.head.hHead, `item ${index}`).toBe(hex(imap.hHead));
      if (endsInLfCr(messages[index])) return;
      const size = (pop3?.item.size ?? 0) - (pop3?.head.dropped ?? 0);
      if (Math.abs(size - imap.size) > 4)
        console.log(
          "DIFF",
          JSON.stringify([
            index,
            pop3?.item.size,
            pop3?.head.dropped,
            imap,
            pop3?.whole,
            delivered[index]?.length,
            delivered[index]?.subarray(0, 300).toString("latin1"),
            delivered[index]?.toString("latin1").match(/\r\r+\n/g)?.length,
          ]),
        );
      expect(Math.abs(size - imap.size), `size of item ${index}`).toBeLessThanOrEqual(4);
    });
  });

  it("is bound to IMAP by headers, every item to its own mail and without a body", () => {
    const items = views.pop3.map(({ item, head }) => ({ ...item, head }));
    const answers = decide(views, items);
    const bound = answers.flatMap((answer, index) => {
      if (answer.kind !== "bind") return [];
      expect(answer.messageId).toBe(hex(views.imap[index]?.hFull ?? Buffer.alloc(0)));
      return [answer.placementId];
    });
    expect(new Set(bound).size).toBe(bound.length);
    answers.forEach((answer, index) => {
      if (answer.kind === "bind" || endsInLfCr(messages[index])) return;
      // What headers cannot tell are texts without headers, and mails with equal headers and about one size.
      const own = views.imap[index];
      const alike = views.imap.filter(
        (other) => own !== undefined && other.hHead.equals(own.hHead) && Math.abs(other.size - own.size) <= 8,
      );
      const several = alike.some((other) => own !== undefined && !other.hFull.equals(own.hFull));
      expect(several || hex(own?.hHead ?? Buffer.alloc(0)) === emptyHash, `item ${index}`).toBe(true);
    });
    expect(answers.filter((answer) => answer.kind === "body").length).toBeLessThanOrEqual(0.05 * answers.length + 2 * odd.length);
    const whole = items.map((item, index) => {
      const { hFull } = views.pop3[index]?.whole ?? { hFull: Buffer.alloc(0) };
      return answers[index]?.kind === "body" ? { ...item, body: { sha256: "-", hFull: hex(hFull), hSem: null } } : item;
    });
    const placements = decide(views, whole).map((answer) => (answer.kind === "bind" ? answer.placementId : answer.kind));
    expect(new Set(placements).size).toBe(views.imap.length);
  });

  it("tells its format after three mails, or none", () => {
    const counts = new Map<string, number>();
    for (const { hHead } of views.imap) counts.set(hex(hHead), (counts.get(hex(hHead)) ?? 0) + 1);
    const evidence: PairedItem[] = views.imap.flatMap(({ uid, hHead }, index) =>
      counts.get(hex(hHead)) === 1
        ? [{ uidl: views.pop3[index]?.item.uidl ?? "", uid, uidValidity: views.uidValidity, objectId: null }]
        : [],
    );
    const verdict = learnCodec(evidence.slice(0, 3), views.imap.length);
    if (learned === null) return expect(verdict).toEqual({ state: "opaque" });
    expect(verdict).toEqual({ state: "learned", codec: { format: learned, uidValidity: views.uidValidity } });
    if (verdict.state !== "learned") return;
    const items = views.pop3.map(({ item }) => ({ ...item, meaning: decodeUidl(verdict.codec, item.uidl, views.uidValidity) }));
    const placements = claimableOf(views).map(({ id }) => id);
    expect(decide(views, items).map((answer) => (answer.kind === "bind" ? answer.placementId : answer.kind))).toEqual(placements);
  });
});
