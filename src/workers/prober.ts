/**
 * Looks at endpoints for whoever asks, a few at once and each within a deadline. It is called, not queued: a probe carries a
 * plain password, which no job may hold, and its answer is of use only to who waits for it. So every process that serves the
 * API has a prober, whether it reads accounts or not.
 */
import { tooSlow } from "../endpoints/deadline.ts";
import type { Examine } from "../endpoints/registry.ts";
import type { Diagnosis, Prober, ProbeRequest } from "../model/diagnosis.ts";
import type { Logger } from "../telemetry/log.ts";
import { probes } from "../telemetry/metrics.ts";

/** Of one probe, in ms: a maildrop that is in use answers after ten seconds, and a slow server in twice that. */
const probeMs = 50_000;
/** More would be a way to keep the process busy. */
const mostAtOnce = 16;
/** Of one asker, so that a few servers that never answer do not keep everybody else from asking. */
const mostOfOne = 4;

export class WorkerProber implements Prober {
  readonly #examine: Examine;
  readonly #log: Logger;
  readonly #running = new Map<AbortController, { readonly asker: string; readonly looking: Promise<Diagnosis> }>();
  #stopped = false;

  constructor(options: { readonly examine: Examine; readonly log: Logger }) {
    this.#examine = options.examine;
    this.#log = options.log;
  }

  async probe(request: ProbeRequest, asker: string): Promise<Diagnosis | null> {
    const ofAsker = [...this.#running.values()].filter((one) => one.asker === asker).length;
    if (this.#stopped || this.#running.size >= mostAtOnce || ofAsker >= mostOfOne) return null;
    const { protocol } = request.settings;
    const ending = new AbortController();
    const timer = setTimeout(() => ending.abort(tooSlow(probeMs)), probeMs);
    const began = performance.now();
    try {
      const looking = this.#examine(request, ending.signal);
      this.#running.set(ending, { asker, looking });
      const diagnosis = await looking;
      const { failed } = diagnosis;
      if (failed?.code === "stopped") return null;
      probes.inc({ proto: protocol, result: failed === null ? "ok" : failed.step });
      const durationMs = Math.round(performance.now() - began);
      this.#log.info({ protocol, failure: failed?.code, durationMs }, "endpoint probed");
      return diagnosis;
    } finally {
      clearTimeout(timer);
      this.#running.delete(ending);
    }
  }

  /** Ends what is under way; its askers get null. Harmless when repeated. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const looking = [...this.#running.values()].map((one) => one.looking);
    for (const ending of this.#running.keys()) ending.abort();
    await Promise.allSettled(looking);
  }
}
