/** One account, three devices: a phone on IMAP, a laptop on POP3 that deletes what it has downloaded, and an app over HTTP. */
import Pop3Command from "node-pop3";
import { type Change, sha256, type Stage } from "./stage.ts";

export interface Step {
  readonly who: string;
  readonly does: string;
  /** Plays it. @returns a remark of the device's own, where it has one. */
  play(stage: Stage): Promise<string | undefined>;
  /** How many changes of which kind and reason Samebox must log before the next step begins. */
  readonly expects: readonly { readonly kind: string; readonly reason: string; readonly count: number }[];
  /** What else must be so before the next step begins. */
  settled?(stage: Stage): Promise<boolean>;
}

const newMail = 8;

const today = (n: number): Buffer =>
  Buffer.from(
    `From: Bea <bea@example.test>\r\nTo: Ana <ana@example.test>\r\nSubject: Today ${n}\r\n` +
      `Date: Fri, 27 Nov 2026 09:0${n}:00 +0000\r\nMessage-ID: <today${n}@demo.example.test>\r\n\r\nHello Ana, this is letter ${n}.\r\n`,
  );

/** The laptop: one session that does `work` with the numbers of the newest `count` messages. */
const laptop = async (
  { server }: Stage,
  count: number,
  work: (pop3: Pop3Command, number: number) => Promise<unknown>,
): Promise<void> => {
  const { user, password } = server.account(1);
  const pop3 = new Pop3Command({ host: server.host, port: server.pop3Port, user, password });
  const listed = await pop3.LIST();
  for (const [number] of listed.slice(-count)) await work(pop3, Number(number));
  await pop3.QUIT();
};

const numberOf = async ({ phone }: Stage, mailbox: string, subject: string): Promise<string> => {
  await phone.select(mailbox);
  const { untagged } = await phone.command(`UID SEARCH SUBJECT "${subject}"`);
  const uid = untagged.map(({ line }) => /SEARCH (\d+)/.exec(line)?.[1]).find((found) => found !== undefined);
  if (uid === undefined) throw new Error(`the phone does not find ${subject}`);
  return uid;
};

interface Kept {
  readonly id: string;
  readonly subject: string | null;
}

export const story: readonly Step[] = [
  {
    who: "Bea",
    does: `sends ${newMail} letters`,
    play: async (stage) => {
      await stage.deliver(
        "INBOX",
        Array.from({ length: newMail }, (_, n) => today(n + 1)),
      );
      return undefined;
    },
    expects: [{ kind: "message.created", reason: "delivered", count: newMail }],
  },
  {
    who: "laptop (POP3)",
    does: `downloads all ${newMail}, leaves them there`,
    play: async (stage) => {
      await laptop(stage, newMail, (pop3, number) => pop3.RETR(number));
      return "the server marked them as read; Samebox knows better, and puts that right";
    },
    expects: [
      { kind: "message.keywords", reason: "weak_seen", count: newMail },
      { kind: "write.applied", reason: "pop3_seen_reverted", count: newMail },
    ],
    settled: async (stage) => (await stage.onServer()).unread === newMail,
  },
  {
    who: "phone (IMAP)",
    does: "reads letter 1",
    play: async (stage) => {
      await stage.phone.store(await numberOf(stage, "INBOX", "Today 1"), "+", ["\\Seen"]);
      return undefined;
    },
    expects: [{ kind: "message.keywords", reason: "upstream_flags", count: 1 }],
  },
  {
    who: "phone (IMAP)",
    does: "files letter 1 in Work",
    play: async (stage) => {
      await stage.phone.move(await numberOf(stage, "INBOX", "Today 1"), "Work");
      return "same message id";
    },
    expects: [{ kind: "message.moved", reason: "upstream_move", count: 1 }],
  },
  {
    who: "laptop (POP3)",
    does: `deletes the other ${newMail - 1} on the server`,
    play: async (stage) => {
      await laptop(stage, newMail - 1, (pop3, number) => pop3.DELE(number));
      return "gone upstream, kept here";
    },
    expects: [{ kind: "message.kept", reason: "pop3_drain", count: newMail - 1 }],
  },
  {
    who: "app (HTTP)",
    does: "opens a letter the laptop took",
    play: async (stage) => {
      const { items } = await stage.get<{ items: Kept[] }>("/messages?limit=50");
      const letter = items.find(({ subject }) => subject === "Today 5");
      if (letter === undefined) throw new Error("the app does not find the letter");
      return stage.delivered.has(sha256(await stage.raw(letter.id))) ? "equal byte for byte" : "DIFFERS";
    },
    expects: [],
  },
  {
    who: "phone (IMAP)",
    does: "deletes letter 1 from Work",
    play: async (stage) => {
      await stage.phone.expunge(await numberOf(stage, "Work", "Today 1"));
      return "can be had back for 30 days";
    },
    expects: [{ kind: "message.removed", reason: "user_expunge", count: 1 }],
  },
];

/** The changes by kind, reason and rule, most frequent first. */
export const reasonsOf = (changes: readonly Change[]): readonly string[] => {
  const counts = new Map<string, number>();
  for (const { kind, reason, rule } of changes) {
    const name = `${kind}: ${reason}${rule === null ? "" : ` (${rule})`}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts].toSorted(([, a], [, b]) => b - a).map(([name, count]) => `${count} × ${name}`);
};

/** Whether `changes` have all that `step` expects. */
export const isTold = (step: Step, changes: readonly Change[]): boolean =>
  step.expects.every(
    ({ kind, reason, count }) => changes.filter((change) => change.kind === kind && change.reason === reason).length >= count,
  );
