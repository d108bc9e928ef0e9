/** The mail behind a scripted server: one INBOX, the same in every session unless the script says otherwise. Strings are Latin-1. */

/** How the mailbox differs from a sane one. The names are those of the corpus. */
export interface ScriptedState {
  readonly no_uidnext?: boolean;
  readonly no_uidvalidity?: boolean;
  /** `{counter}`: another one in every session. */
  readonly uidvalidity?: number | "{counter}";
  readonly uids?: readonly number[];
  readonly uidnext?: number;
  /** POP3 unique ids, in place of `uid-<UID>`. */
  readonly uidls?: readonly string[];
  /** POP3: only so many messages are shown at once. */
  readonly window?: number;
  /** POP3: only so many of the newest are shown (WildDuck). */
  readonly newest?: number;
  /** POP3: what a client has retrieved is shown to nobody any more once it has quit (Gmail's normal mode). */
  readonly popped?: true;
  /** 0: the mailbox is empty. */
  readonly messages?: number;
  /** Numbers of messages whose octets differ. */
  readonly messages_changed?: readonly number[];
  /** What differs from the second session on. */
  readonly second_session?: ScriptedState;
  /** Two commands that wait together are answered in the other order. */
  readonly swap_pipelined?: boolean;
  /** Of two commands that wait together the second is never answered. */
  readonly drop_pipelined?: boolean;
}

export interface ScriptedMessage {
  readonly uid: number;
  readonly raw: string;
}

export interface ScriptedMailbox {
  readonly state: ScriptedState;
  readonly messages: readonly ScriptedMessage[];
  readonly uidValidity: number;
  readonly uidNext: number;
}

const bodies = ["hello one\r\n", "hello two\r\n.dot line\r\n", "hello three\r\n"];
const senders = ["Ann <ann@example.org>", "Bob <bob@example.org>", "Cy <cy@example.org>"];
const subjects = ["first message", "second message", "third message"];

/** The messages of a server that was given none. */
export const defaultMessages: readonly string[] = bodies.map((body, at) =>
  [
    `From: ${senders[at] ?? ""}`,
    "To: me@example.net",
    `Subject: ${subjects[at] ?? ""}`,
    `Date: Tue, 04 Jun 2024 10:1${at}:00 +0200`,
    `Message-ID: <${"abc".charAt(at)}@quirks.example>`,
    "",
    body,
  ].join("\r\n"),
);

/** The mailbox as session number `session` (from 1) finds it. `counter` counts up across sessions. */
export const mailboxOf = (options: {
  readonly state: ScriptedState;
  readonly session: number;
  readonly raws: readonly string[];
  readonly counter: () => number;
}): ScriptedMailbox => {
  const { session, raws, counter } = options;
  const state = { ...options.state, ...(session > 1 ? options.state.second_session : {}) };
  const uids = state.uids ?? raws.map((_, at) => 101 + at);
  const changed = new Set(state.messages_changed);
  const messages = uids.flatMap((uid, at) => {
    const raw = raws[at];
    if (raw === undefined || state.messages === 0) return [];
    return [{ uid, raw: changed.has(at + 1) ? raw.replace("hello", "CHANGED") : raw }];
  });
  const uidValidity = state.uidvalidity === "{counter}" ? counter() : (state.uidvalidity ?? 1717488672);
  return { state, messages, uidValidity, uidNext: state.uidnext ?? 101 + raws.length };
};

/** Header block with its empty line. */
export const headOf = (raw: string): string => raw.slice(0, raw.indexOf("\r\n\r\n") + 4);

export const textOf = (raw: string): string => raw.slice(raw.indexOf("\r\n\r\n") + 4);
