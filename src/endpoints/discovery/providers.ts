/** Large providers, by what their own help pages say of other people's programs (read 2026-11). */
import type { LikelyEndpoint } from "../../model/discovery.ts";

type Auth = LikelyEndpoint["auth"];

export interface Provider {
  readonly name: string;
  /** Domains that people's addresses have. */
  readonly domains: readonly string[];
  /** What the names of their mail exchangers end with, for other domains that they serve. */
  readonly exchangers: readonly string[];
  /** null: not offered. */
  readonly imap: string | null;
  readonly pop3: string | null;
  readonly auth: Auth;
  readonly advice: string;
}

const appPassword = (name: string): string =>
  `${name} takes an app password in place of the account's own: the owner makes one in the security settings of the account.`;

export const providers: readonly Provider[] = [
  {
    name: "Gmail",
    domains: ["gmail.com", "googlemail.com"],
    exchangers: ["google.com", "googlemail.com"],
    imap: "imap.gmail.com",
    pop3: "pop.gmail.com",
    auth: "password",
    advice: `${appPassword("Gmail")} That needs 2-step verification; oauth2 works as well. POP3 has to be switched on in Gmail's settings.`,
  },
  {
    name: "Microsoft 365",
    domains: ["outlook.com", "hotmail.com", "live.com", "msn.com"],
    exchangers: ["protection.outlook.com"],
    imap: "outlook.office365.com",
    pop3: "outlook.office365.com",
    auth: "oauth2",
    advice:
      "Microsoft takes no passwords over IMAP and POP3: use oauth2. An administrator or the owner may have to switch IMAP or POP3 on.",
  },
  {
    name: "iCloud",
    domains: ["icloud.com", "me.com", "mac.com"],
    exchangers: ["mail.icloud.com"],
    imap: "imap.mail.me.com",
    pop3: null,
    auth: "password",
    advice: `${appPassword("iCloud")} There is no POP3.`,
  },
  {
    name: "Fastmail",
    domains: ["fastmail.com", "fastmail.fm"],
    exchangers: ["messagingengine.com"],
    imap: "imap.fastmail.com",
    pop3: "pop.fastmail.com",
    auth: "password",
    advice: appPassword("Fastmail"),
  },
  {
    name: "AOL",
    domains: ["aol.com"],
    exchangers: [],
    imap: "imap.aol.com",
    pop3: "pop.aol.com",
    auth: "password",
    advice: appPassword("AOL"),
  },
  {
    name: "Yahoo",
    domains: ["yahoo.com", "yahoo.co.uk", "yahoo.de", "yahoo.fr", "yahoo.it", "yahoo.es", "ymail.com", "rocketmail.com"],
    exchangers: ["yahoodns.net"],
    imap: "imap.mail.yahoo.com",
    pop3: "pop.mail.yahoo.com",
    auth: "password",
    advice: appPassword("Yahoo"),
  },
  {
    name: "GMX",
    domains: ["gmx.net", "gmx.de", "gmx.at", "gmx.ch"],
    exchangers: ["gmx.net"],
    imap: "imap.gmx.net",
    pop3: "pop.gmx.net",
    auth: "password",
    advice: "IMAP and POP3 have to be switched on in the settings of GMX. With two-factor login GMX wants an app password.",
  },
  {
    name: "WEB.DE",
    domains: ["web.de"],
    exchangers: ["web.de"],
    imap: "imap.web.de",
    pop3: "pop3.web.de",
    auth: "password",
    advice: "IMAP and POP3 have to be switched on in the settings of WEB.DE. With two-factor login WEB.DE wants an app password.",
  },
  {
    name: "Proton Mail",
    domains: ["proton.me", "protonmail.com", "pm.me"],
    exchangers: ["protonmail.ch"],
    imap: null,
    pop3: null,
    auth: "password",
    advice:
      "Proton Mail has neither IMAP nor POP3 on the Internet: its Bridge program offers IMAP on the owner's own machine only.",
  },
];

const isWithin = (name: string, suffix: string): boolean => name === suffix || name.endsWith(`.${suffix}`);

export const providerOfDomain = (domain: string): Provider | null =>
  providers.find(({ domains }) => domains.includes(domain)) ?? null;

export const providerOfExchangers = (names: readonly string[]): Provider | null =>
  providers.find(({ exchangers }) =>
    names.some((name) => exchangers.some((suffix) => isWithin(name.toLowerCase().replace(/\.$/, ""), suffix))),
  ) ?? null;

export const endpointsOf = ({ imap, pop3, auth }: Provider, confidence: number): LikelyEndpoint[] => {
  const common = { security: "tls", auth, source: "provider", confidence } as const;
  return [
    ...(imap === null ? [] : [{ protocol: "imap", host: imap, port: 993, ...common } as const]),
    ...(pop3 === null ? [] : [{ protocol: "pop3", host: pop3, port: 995, ...common } as const]),
  ];
};
