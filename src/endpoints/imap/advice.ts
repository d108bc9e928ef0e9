/** What an IMAP endpoint's findings mean for its owner. */
import type { Advice, Diagnosis, ImapFindings } from "../../model/diagnosis.ts";

const condstoreAdvice = ({ condstore, changeDetection }: ImapFindings): Advice[] => {
  switch (condstore.verdict) {
    case "dishonest":
      return [
        {
          code: "modseq_dishonest",
          severity: "warning",
          message: "What the server says of changes contradicts itself.",
          action: "Tell whoever runs the server; until then Samebox compares whole listings.",
        },
      ];
    case "absent":
      return [
        {
          code: "modseq_absent",
          severity: "info",
          message: "The server does not say what changed, so that every flag is compared again and again.",
          action: "Nothing; large mailboxes take longer to follow.",
        },
      ];
    default:
      return changeDetection === "full"
        ? []
        : [
            {
              code: "change_detection",
              severity: "info",
              message: `Changes are found by ${changeDetection.toUpperCase()}.`,
              action: "Nothing; this is the quick way.",
            },
          ];
  }
};

const pushAdvice: Record<ImapFindings["push"], Advice> = {
  notify: {
    code: "push_all",
    severity: "info",
    message: "The server tells news of all mailboxes as they happen.",
    action: "Nothing; this is the quick way.",
  },
  idle: {
    code: "push_inbox",
    severity: "info",
    message: "The server tells news of INBOX as they happen; other mailboxes are looked at in turns.",
    action: "Nothing; filters that file mail elsewhere make it seen up to SAMEBOX_POLL_SECONDS later.",
  },
  poll: {
    code: "push_none",
    severity: "warning",
    message: "The server tells no news by itself.",
    action: "Lower SAMEBOX_POLL_SECONDS if a minute is too long to wait.",
  },
};

const gmailAdvice: Advice = {
  code: "gmail_labels",
  severity: "info",
  message: "Gmail shows labels as mailboxes, and everything once more in All Mail.",
  action: "In Gmail's settings hide the labels from IMAP that you do not want to see as mailboxes.",
};

export const adviseOnImap = ({ imap, server }: Omit<Diagnosis, "advice">): readonly Advice[] => {
  if (imap === null) return [];
  const guessed: Advice[] = imap.specialUse
    ? []
    : [
        {
          code: "roles_guessed",
          severity: "info",
          message: "The server does not say which mailbox is for sent mail, drafts or trash; their names do.",
          action: "Check that every device uses the same mailboxes for them.",
        },
      ];
  return [...condstoreAdvice(imap), pushAdvice[imap.push], ...guessed, ...(server.kind === "gmail" ? [gmailAdvice] : [])];
};
