/** Which driver speaks which protocol. A new protocol is a folder beside this file and a line in each table. */
import type { Diagnosis, ProbeRequest } from "../model/diagnosis.ts";
import type { Protocol } from "../model/endpoint.ts";
import { diagnose, type Practice } from "./diagnose.ts";
import type { Drivers, EndpointLimits } from "./endpoint.ts";
import { imapPractice } from "./imap/doctor.ts";
import { imapDriver } from "./imap/session.ts";
import { imapWriterDriver } from "./imap/writer.ts";
import { pop3Practice } from "./pop3/doctor.ts";
import { pop3Driver } from "./pop3/driver.ts";

/** The drivers of all protocols under an operator's limits. */
export const driversFor = (limits: EndpointLimits): Drivers => ({
  imap: imapDriver(limits),
  imapWriter: imapWriterDriver(limits),
  pop3: pop3Driver(limits),
});

const practices: Record<Protocol, Practice> = { imap: imapPractice, pop3: pop3Practice };

/** Looks at one endpoint; settles soon after the signal aborts, and never rejects for what a server does. */
export type Examine = (request: ProbeRequest, signal: AbortSignal) => Promise<Diagnosis>;

export const examinerFor =
  (limits: EndpointLimits): Examine =>
  (request, signal) =>
    diagnose(practices[request.settings.protocol], request, limits, signal);
