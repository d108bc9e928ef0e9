/** What a login shows of its server, as the profile keeps it (semantics 1.7). */
import type { EndpointProfile } from "../../model/endpoint.ts";
import { bestPush } from "./listening.ts";
import type { Wire } from "./wire.ts";

const changeDetectionOf = (wire: Wire): NonNullable<EndpointProfile["changeDetection"]> => {
  if (wire.enabled("QRESYNC")) return "qresync";
  return wire.can("CONDSTORE") ? "condstore" : "full";
};

/** A name from the server, fit to be shown: no control characters, at most 100 characters. */
const serverNameOf = (wire: Wire): string | null => {
  const name = wire.client.serverInfo?.name;
  // oxlint-disable-next-line no-control-regex -- taking them out is the point
  const text = typeof name === "string" ? name.replaceAll(/[\x00-\x1f\x7f-\x9f]/g, "").slice(0, 100) : "";
  return text === "" ? null : text;
};

/** Facts of this login over what was known; what only use can show (does push work, does LIST-STATUS) stays as it was. */
export const learnProfile = (wire: Wire, known: EndpointProfile): EndpointProfile => {
  const serverName = serverNameOf(wire);
  return {
    ...known,
    capabilities: [...wire.client.capabilities.keys()].map((name) => name.toUpperCase()).sort(),
    changeDetection: changeDetectionOf(wire),
    push: known.push ?? bestPush(wire),
    objectIds: wire.objectIds,
    listStatus: known.listStatus ?? wire.can("LIST-STATUS"),
    ...(serverName !== null && { serverName }),
    ...(wire.can("X-GM-EXT-1") && { pop3ShowsAll: true }),
  };
};
