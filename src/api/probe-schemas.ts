/** How the findings of a probe look from outside. */
import { type Static, Type } from "typebox";
import type { CertificateFindings, Diagnosis, ProbeRequest, TlsFindings } from "../model/diagnosis.ts";
import { Nullable, Time, Words } from "./schemas.ts";

const Count = Type.Integer({ minimum: 0 });

const Certificate = Type.Object({
  valid: Type.Boolean(),
  problem: Nullable(
    Words(["expired", "not_yet_valid", "name_mismatch", "self_signed", "unknown_authority", "incomplete_chain", "other"]),
  ),
  subject: Nullable(Type.String()),
  names: Type.Array(Type.String()),
  issuer: Nullable(Type.String()),
  expiresAt: Nullable(Time),
});

const Tls = Type.Object({
  mode: Words(["implicit", "starttls"]),
  version: Nullable(Type.String()),
  cipher: Nullable(Type.String()),
  forwardSecrecy: Type.Boolean(),
  certificate: Nullable(Certificate),
});

const Imap = Type.Object({
  changeDetection: Words(["qresync", "condstore", "full"]),
  condstore: Type.Object({
    verdict: Words(["honest", "dishonest", "unproven", "absent"], {
      description: "Whether mod-sequences say what changed, as far as questions tell that change nothing.",
    }),
    evidence: Type.Array(Type.String()),
  }),
  push: Words(["notify", "idle", "poll"]),
  listStatus: Type.Boolean(),
  specialUse: Type.Boolean({ description: "Does the server itself say which mailbox is for what?" }),
  roles: Type.Array(Type.String()),
  mailboxes: Count,
  inboxMessages: Nullable(Count),
});

const Pop3 = Type.Object({
  messages: Nullable(Count),
  listingComplete: Type.Boolean({ description: "STAT, LIST and UIDL agree." }),
  uidl: Type.Object({
    offered: Type.Boolean(),
    look: Nullable(
      Words([
        "hex-uid-validity",
        "hex-validity-uid",
        "validity.uid",
        "validity-uid",
        "UIDuid-validity",
        "validityuid",
        "uid",
        "object-id",
        "file-name",
        "opaque",
      ]),
    ),
    seen: Count,
    duplicates: Count,
    tooLong: Count,
  }),
  top: Type.Object({ offered: Type.Boolean(), usable: Nullable(Type.Boolean()) }),
  pipelining: Type.Boolean(),
  retrSetsSeen: Type.Object({
    verdict: Words(["unknown", "no", "session_end", "per_message"], {
      description: "Known of this kind of server, never tried.",
    }),
    because: Type.String(),
  }),
  deleEffect: Words(["unknown", "expunge", "move_to_trash", "server_policy", "destroy_everywhere"]),
  listingWindow: Type.Object({
    verdict: Words(["none_seen", "suspected", "newest_only", "not_yet_popped"]),
    because: Type.String(),
  }),
  expireDays: Nullable(Count),
  loginDelaySeconds: Nullable(Type.Number({ minimum: 0 })),
  sessions: Words(["exclusive", "parallel", "not_tried"]),
});

const Advice = Type.Object({
  code: Type.String({ description: "Stable, for programs." }),
  severity: Words(["info", "warning", "problem"]),
  message: Type.String(),
  action: Type.String(),
});

const Capabilities = Nullable(Type.Array(Type.String()));

export const Probe = Type.Object(
  {
    protocol: Words(["imap", "pop3"]),
    host: Type.String(),
    port: Type.Integer(),
    security: Words(["tls", "starttls", "none"]),
    reachable: Type.Boolean({ description: "A mail server of this protocol answered." }),
    failed: Nullable(
      Type.Object({
        step: Words(["connect", "tls", "greeting", "login", "look"]),
        code: Type.String(),
        message: Type.String(),
        action: Type.String(),
      }),
    ),
    tls: Nullable(Tls),
    login: Words(["accepted", "refused", "busy", "failed", "not_tried"]),
    server: Type.Object({
      kind: Words([
        "dovecot",
        "cyrus",
        "courier",
        "wildduck",
        "stalwart",
        "gmail",
        "exchange",
        "zimbra",
        "yahoo",
        "icloud",
        "proton_bridge",
        "unknown",
      ]),
      name: Nullable(Type.String()),
    }),
    capabilities: Type.Object({ beforeLogin: Capabilities, afterLogin: Capabilities }),
    imap: Nullable(Imap),
    pop3: Nullable(Pop3),
    advice: Type.Array(Advice),
  },
  { title: "Probe" },
);

const showCertificate = (certificate: CertificateFindings): Static<typeof Certificate> => ({
  ...certificate,
  names: [...certificate.names],
  expiresAt: certificate.expiresAt?.toISOString() ?? null,
});

const showTls = (tls: TlsFindings): Static<typeof Tls> => ({
  ...tls,
  certificate: tls.certificate === null ? null : showCertificate(tls.certificate),
});

const copied = (names: readonly string[] | null): string[] | null => (names === null ? null : [...names]);

export const showProbe = ({ settings }: ProbeRequest, diagnosis: Diagnosis): Static<typeof Probe> => {
  const { protocol, host, port, security } = settings;
  const { capabilities, tls, imap, advice } = diagnosis;
  return {
    ...diagnosis,
    protocol,
    host,
    port,
    security,
    tls: tls === null ? null : showTls(tls),
    capabilities: { beforeLogin: copied(capabilities.beforeLogin), afterLogin: copied(capabilities.afterLogin) },
    imap:
      imap === null
        ? null
        : { ...imap, roles: [...imap.roles], condstore: { ...imap.condstore, evidence: [...imap.condstore.evidence] } },
    advice: [...advice],
  };
};
