/** Which driver speaks which protocol. A new protocol is a folder beside this file and a line in it. */
import type { Drivers, EndpointLimits } from "./endpoint.ts";
import { imapDriver } from "./imap/session.ts";
import { imapWriterDriver } from "./imap/writer.ts";
import { pop3Driver } from "./pop3/driver.ts";

/** The drivers of all protocols under an operator's limits. */
export const driversFor = (limits: EndpointLimits): Drivers => ({
  imap: imapDriver(limits),
  imapWriter: imapWriterDriver(limits),
  pop3: pop3Driver(limits),
});
