/** Mozilla's autoconfig file (wiki.mozilla.org/Thunderbird:Autoconfiguration:ConfigFileFormat): the servers that mail is read from. */
import { Parser } from "htmlparser2";
import type { LikelyEndpoint } from "../../model/discovery.ts";

type Server = Omit<LikelyEndpoint, "source" | "confidence">;

const securities: ReadonlyMap<string, LikelyEndpoint["security"]> = new Map([
  ["SSL", "tls"],
  ["STARTTLS", "starttls"],
]);

/** A name as DNS has them, with a dot in it; not an address. */
export const isHostName = (text: string): boolean =>
  text.length <= 253 && /^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])$/.test(text);

interface Draft {
  readonly protocol: LikelyEndpoint["protocol"];
  readonly texts: Map<string, string[]>;
}

const settle = ({ protocol, texts }: Draft, domain: string): Server | null => {
  const first = (tag: string): string => texts.get(tag)?.[0]?.trim() ?? "";
  const host = first("hostname").replaceAll("%EMAILDOMAIN%", domain).toLowerCase();
  const port = /^\d{1,5}$/.test(first("port")) ? Number(first("port")) : 0;
  const security = securities.get(first("socketType"));
  if (!isHostName(host) || port < 1 || port > 65_535 || security === undefined) return null;
  // They stand in the order in which the provider wants them used.
  const [wanted] = (texts.get("authentication") ?? []).map((word) => word.trim());
  return { protocol, host, port, security, auth: wanted === "OAuth2" ? "oauth2" : "password" };
};

/** What the file says, in its order; nothing for what is no such file, and none of a server that is spoken to in the clear. */
export const readAutoconfig = (xml: string, domain: string): Server[] => {
  const servers: Server[] = [];
  let draft: Draft | null = null;
  let text: string[] | null = null;
  const parser = new Parser(
    {
      onopentag: (name, { type }) => {
        text = null;
        if (name === "incomingServer") draft = type === "imap" || type === "pop3" ? { protocol: type, texts: new Map() } : null;
        else if (draft !== null) {
          text = draft.texts.get(name) ?? [];
          draft.texts.set(name, text);
          text.push("");
        }
      },
      ontext: (data) => {
        if (text !== null) text.push((text.pop() ?? "") + data);
      },
      onclosetag: (name) => {
        text = null;
        if (name !== "incomingServer" || draft === null) return;
        const server = settle(draft, domain);
        if (server !== null) servers.push(server);
        draft = null;
      },
    },
    { xmlMode: true },
  );
  parser.end(xml);
  return servers;
};
