/** What a POP3 endpoint's findings mean for its owner and for the devices that use it. */
import type { Advice, DeleEffect, Diagnosis, Pop3Findings } from "../../model/diagnosis.ts";

/** What happens for everybody else when a POP3 device deletes after it has downloaded. */
const deleWords: Record<DeleEffect, string> = {
  unknown: "it takes mail from all other devices",
  expunge: "it takes mail from all other devices for good",
  move_to_trash: "it moves mail to the trash of all other devices",
  server_policy:
    "a setting of the account says what becomes of the mail (Gmail: under Forwarding and POP/IMAP, choose to keep it in the inbox)",
  destroy_everywhere: "it destroys mail in every mailbox it is in",
};

const leaveOnServer = (effect: DeleEffect): Advice => ({
  code: "leave_on_server",
  severity: effect === "destroy_everywhere" ? "problem" : "warning",
  message: `Where a POP3 device such as Outlook deletes after the download, ${deleWords[effect]}.`,
  action:
    "In every POP3 device choose to leave a copy of messages on the server and not to remove it after some days, or let it use IMAP; where neither can be, set the account's policy onPop3Drain.",
});

const declareDevices: Advice = {
  code: "declare_devices",
  severity: "info",
  message: "Mail that a POP3 device takes away looks like mail that somebody deleted.",
  action: "If any device uses POP3, set the account's policy pop3Devices to declared, and add an IMAP endpoint for the rest.",
};

const onSeen = ({ retrSetsSeen: { verdict, because } }: Pop3Findings): Advice[] => {
  if (verdict === "no") return [];
  const message =
    verdict === "unknown" ? `Downloading may count as reading. ${because}` : `Downloading counts as reading. ${because}`;
  const action =
    "Let devices that only download use IMAP, or set the account's policy pop3Seen to revert; on Dovecot its operator may set pop3_no_flag_updates = yes.";
  return [{ code: "retr_marks_read", severity: verdict === "unknown" ? "info" : "warning", message, action }];
};

const onUidl = ({ uidl }: Pop3Findings): Advice[] => {
  if (!uidl.offered)
    return [
      {
        code: "uidl_missing",
        severity: "problem",
        message: "The server gives messages no unique-ids, without which they cannot be told apart.",
        action:
          "Use an IMAP endpoint, and turn off leaving copies on the server in POP3 devices of this server, which would download all again.",
      },
    ];
  if (uidl.look === "uid")
    return [
      {
        code: "uidl_reused",
        severity: "warning",
        message: "Unique-ids are bare numbers, which begin again when the mailbox is made anew.",
        action: "Add an IMAP endpoint, by which old and new mail are told apart.",
      },
    ];
  const odd = uidl.duplicates + uidl.tooLong;
  if (odd === 0) return [];
  const message = `Of the unique-ids ${uidl.duplicates} occur more than once and ${uidl.tooLong} are longer than 70 characters.`;
  return [
    { code: "uidl_odd", severity: "warning", message, action: "Expect POP3 devices to download such mail again; Samebox copes." },
  ];
};

const onWindow = ({ listingWindow: { verdict, because } }: Pop3Findings): Advice[] => {
  if (verdict === "none_seen") return [];
  const gmail =
    "Let POP3 devices log in as recent:<address>, which lists the last 30 days to each of them; older mail needs IMAP.";
  const action = verdict === "not_yet_popped" ? gmail : "Add an IMAP endpoint: what is not listed cannot be read over POP3.";
  return [{ code: "listing_window", severity: verdict === "suspected" ? "info" : "warning", message: because, action }];
};

const onTop = ({ top, expireDays }: Pop3Findings): Advice[] => {
  if (top.usable !== false) return [];
  const marks = "Without TOP a message can only be read by retrieving it, which may mark it as read";
  const message = expireDays === 0 ? `${marks} or remove it.` : `${marks}.`;
  return [
    { code: "top_missing", severity: "warning", message, action: "Add an IMAP endpoint, over which mail is read instead." },
  ];
};

const onTimes = ({ expireDays, loginDelaySeconds, sessions }: Pop3Findings): Advice[] => {
  const advice: Advice[] = [];
  if (expireDays !== null)
    advice.push({
      code: "server_expires",
      severity: expireDays === 0 ? "problem" : "warning",
      message: expireDays === 0 ? "The server removes what was retrieved." : `The server removes mail after ${expireDays} days.`,
      action: "Let Samebox read before any device does; what it has stored stays.",
    });
  if (loginDelaySeconds !== null && loginDelaySeconds > 0)
    advice.push({
      code: "login_delay",
      severity: "info",
      message: `Between two logins ${loginDelaySeconds} seconds have to pass, for all devices together.`,
      action: "Let POP3 devices fetch less often, so that they do not keep each other out.",
    });
  if (sessions === "exclusive")
    advice.push({
      code: "one_session",
      severity: "info",
      message: "While one POP3 session is open the server lets no other one in.",
      action: "Let devices fetch every few minutes at most, and none stay connected.",
    });
  return advice;
};

const onBusy = ({ failed }: Omit<Diagnosis, "advice">): Advice => ({
  code: failed?.code ?? "maildrop_in_use",
  severity: "warning",
  message: failed?.message ?? "Another client is in the maildrop.",
  action: "Try again in a minute; if it stays, look for a device that fetches all the time or never logs out.",
});

export const adviseOnPop3 = (diagnosis: Omit<Diagnosis, "advice">): readonly Advice[] => {
  const { pop3, login } = diagnosis;
  if (login === "busy") return [onBusy(diagnosis)];
  if (pop3 === null) return [];
  return [
    leaveOnServer(pop3.deleEffect),
    declareDevices,
    ...onSeen(pop3),
    ...onUidl(pop3),
    ...onWindow(pop3),
    ...onTop(pop3),
    ...onTimes(pop3),
  ];
};
