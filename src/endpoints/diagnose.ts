/**
 * One look at one endpoint, step by step: from outside, then logged in, then out again. Nothing is changed, marked or kept.
 * What was seen before a failure is told with it.
 */
import type { Advice, Diagnosis, ImapFindings, Pop3Findings, ProbeRequest, ProbeStep } from "../model/diagnosis.ts";
import type { SyncError } from "../model/failure.ts";
import { adviceOnConnection, certificateRefused, explained } from "./connection-advice.ts";
import { withDeadline } from "./deadline.ts";
import { refuseCleartext } from "./dial.ts";
import { Door, type DoorView, type DoorWords, nothingSeen } from "./door.ts";
import { resolveHost } from "./egress.ts";
import type { EndpointLimits } from "./endpoint.ts";
import { serverKindOf } from "./server-kind.ts";

/** Until a server has said what it offers, in ms: nobody waits longer in front of a screen. */
const doorMs = 15_000;

/** What is known so far. */
export interface Chart extends DoorView {
  login: Diagnosis["login"];
  name: string | null;
  afterLogin: readonly string[] | null;
  imap: ImapFindings | null;
  pop3: Pop3Findings | null;
}

/** A protocol's part of a look. */
export interface Practice {
  readonly words: DoorWords;
  /** Logs in, looks and leaves; writes into the chart as it goes. */
  visit(
    request: ProbeRequest,
    context: { readonly chart: Chart; readonly limits: EndpointLimits },
    signal: AbortSignal,
  ): Promise<void>;
  failure(error: unknown, request: ProbeRequest, during: "login" | "work"): SyncError;
  advise(diagnosis: Omit<Diagnosis, "advice">): readonly Advice[];
}

/** As they may be shown: a stranger's words, printable and of bounded number and length. */
const shownCapabilities = (names: readonly string[] | null): readonly string[] | null =>
  names === null ? null : [...new Set(names.filter((name) => /^[\x20-\x7e]{1,200}$/.test(name)))].slice(0, 200).toSorted();

const loginAfter = (failure: SyncError): Diagnosis["login"] => {
  if (failure.kind === "throttle") return "busy";
  return failure.kind === "credential" || failure.kind === "config" ? "refused" : "failed";
};

const lookFromOutside = async (
  practice: Practice,
  { settings }: ProbeRequest,
  { chart, limits }: { readonly chart: Chart; readonly limits: EndpointLimits },
  signal: AbortSignal,
): Promise<void> => {
  refuseCleartext(settings, limits);
  const { address } = await resolveHost(settings.host, limits, signal);
  const door = new Door(practice.words, { settings, address }, chart);
  try {
    await withDeadline(
      () => door.look(),
      doorMs,
      signal,
      () => door.close(),
    );
  } catch (error) {
    door.close();
    throw error;
  }
  const certificate = chart.tls?.certificate;
  if (settings.tls.rejectUnauthorized && settings.security !== "none" && certificate?.valid !== true) {
    chart.step = "tls";
    throw certificateRefused(settings.host, certificate ?? null);
  }
};

const failedAt = (chart: Chart, { code }: SyncError): ProbeStep =>
  code === "endpoint_tls_failed" && chart.step === "connect" ? "tls" : chart.step;

/** Settles soon after `signal` aborts. Never rejects for what a server does. */
export const diagnose = async (
  practice: Practice,
  request: ProbeRequest,
  limits: EndpointLimits,
  signal: AbortSignal,
): Promise<Diagnosis> => {
  const nobody = { login: "not_tried", name: null, afterLogin: null, imap: null, pop3: null } as const;
  const chart: Chart = { ...nothingSeen(), ...nobody };
  let failure: SyncError | null = null;
  try {
    await lookFromOutside(practice, request, { chart, limits }, signal);
    chart.step = "login";
    await practice.visit(request, { chart, limits }, signal);
  } catch (error) {
    failure = explained(practice.failure(error, request, chart.step === "login" ? "login" : "work"), request.settings.host);
    if (chart.step === "login") chart.login = loginAfter(failure);
  }
  const { reachable, tls, login, imap, pop3, name, greeting } = chart;
  const capabilities = {
    beforeLogin: shownCapabilities(chart.capabilities),
    afterLogin: shownCapabilities(chart.afterLogin),
  };
  const offered = capabilities.afterLogin ?? capabilities.beforeLogin ?? [];
  const findings: Omit<Diagnosis, "advice"> = {
    reachable,
    failed:
      failure === null
        ? null
        : { step: failedAt(chart, failure), code: failure.code, message: failure.message, action: failure.action },
    tls,
    login,
    server: { kind: serverKindOf({ greeting, name, capabilities: offered }), name },
    capabilities,
    imap,
    pop3,
  };
  return { ...findings, advice: [...adviceOnConnection(request.settings, findings), ...practice.advise(findings)] };
};
