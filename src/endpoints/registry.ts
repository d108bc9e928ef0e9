/** Which driver speaks which protocol. A new protocol is a folder beside this file and a line in it. */
import type { Protocol } from "../model/endpoint.ts";
import { SyncError } from "../model/failure.ts";
import type { EndpointDriver, EndpointLimits } from "./endpoint.ts";
import { imapDriver } from "./imap/session.ts";

const notYet = (protocol: Protocol): EndpointDriver => ({
  open: () =>
    Promise.reject(
      new SyncError("config", "endpoint", {
        code: "endpoint_refused",
        message: `Endpoints of protocol ${protocol} are not supported yet.`,
        action: "Use an IMAP endpoint.",
      }),
    ),
});

const drivers: Readonly<Record<Protocol, (limits: EndpointLimits) => EndpointDriver>> = {
  imap: (limits) => imapDriver(limits),
  pop3: () => notYet("pop3"),
};

/** The driver of a protocol under an operator's limits. */
export const driverFor = (protocol: Protocol, limits: EndpointLimits): EndpointDriver => drivers[protocol](limits);
