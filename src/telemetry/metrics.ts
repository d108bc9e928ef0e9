/**
 * Every metric of the daemon, in one place. Prefix `samebox_`, base units, `_total` for counters; labels are small fixed
 * sets and never an id, a host or anything a mail or a server said.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

export const registry = new Registry();

/** Starts the process metrics; once per process, from main. */
export const collectProcessMetrics = (): void => collectDefaultMetrics({ register: registry });

const registers = [registry];
const durationBuckets = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export const accounts = new Gauge({
  name: "samebox_accounts",
  help: "Accounts of the shards this process owns, by sync state.",
  labelNames: ["state"] as const,
  registers,
});
export const leasesHeld = new Gauge({ name: "samebox_leases_held", help: "Shards this process owns.", registers });
export const leasesLost = new Counter({
  name: "samebox_lease_lost_total",
  help: "Shards lost without releasing them.",
  registers,
});
export const fencingRejections = new Counter({
  name: "samebox_fencing_rejections_total",
  help: "Writes refused because the shard has a newer owner.",
  registers,
});
export const connectionsOpen = new Gauge({
  name: "samebox_connections_open",
  help: "Open connections to mail servers.",
  labelNames: ["proto", "kind"] as const,
  registers,
});
export const connects = new Counter({
  name: "samebox_connects_total",
  help: "Attempts to connect and log in.",
  labelNames: ["proto", "result"] as const,
  registers,
});
export const connectDuration = new Histogram({
  name: "samebox_connect_duration_seconds",
  help: "Time to connect and log in.",
  labelNames: ["proto"] as const,
  buckets: durationBuckets,
  registers,
});
export const serverResponses = new Counter({
  name: "samebox_server_responses_total",
  help: "Failures reported by mail servers, by class.",
  labelNames: ["proto", "class"] as const,
  registers,
});
export const networkBytes = new Counter({
  name: "samebox_network_bytes_total",
  help: "Bytes exchanged with mail servers.",
  labelNames: ["proto", "direction"] as const,
  registers,
});
export const probes = new Counter({
  name: "samebox_probes_total",
  help: "Endpoints looked at for somebody who asked, by where the look ended.",
  labelNames: ["proto", "result"] as const,
  registers,
});
export const passes = new Counter({
  name: "samebox_sync_runs_total",
  help: "Passes over accounts.",
  labelNames: ["trigger", "result"] as const,
  registers,
});
export const passDuration = new Histogram({
  name: "samebox_sync_duration_seconds",
  help: "Time of one pass.",
  labelNames: ["trigger"] as const,
  buckets: durationBuckets,
  registers,
});
export const messagesStored = new Counter({
  name: "samebox_messages_total",
  help: "Messages and placements changed in the canonical store.",
  labelNames: ["op"] as const,
  registers,
});
export const timeToDurable = new Histogram({
  name: "samebox_time_to_durable_seconds",
  help: "From when new mail was on the server, as far as its dates and our looks tell, until it is durable.",
  labelNames: ["proto"] as const,
  buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21_600, 86_400],
  registers,
});
export const coverageGaps = new Counter({
  name: "samebox_coverage_gaps_total",
  help: "Mail that came and went before it was seen.",
  registers,
});
export const lostBeforeDurable = new Counter({
  name: "samebox_lost_before_durable_total",
  help: "Mail that was seen, and was gone before its octets were stored.",
  registers,
});
export const safetyPollFound = new Counter({
  name: "samebox_safety_poll_found_total",
  help: "Changes in a watched mailbox that only a sweep found.",
  registers,
});
export const uidValidityResets = new Counter({
  name: "samebox_uidvalidity_resets_total",
  help: "Mailboxes whose UIDVALIDITY or counters went backwards, or whose known UIDs stand for other mail.",
  registers,
});
export const holds = new Counter({
  name: "samebox_holds_total",
  help: "Changes that a breaker began to hold back, and holds that ended.",
  labelNames: ["reason", "event"] as const,
  registers,
});
export const commandsEnded = new Counter({
  name: "samebox_commands_total",
  help: "Commands to mail servers that came to their end.",
  labelNames: ["verb", "status"] as const,
  registers,
});
export const commandRetries = new Counter({
  name: "samebox_command_retries_total",
  help: "Commands to mail servers put off after a refusal, a conflict or a lost answer.",
  labelNames: ["verb", "why"] as const,
  registers,
});
export const parseDuration = new Histogram({
  name: "samebox_parse_duration_seconds",
  help: "Time to parse one message.",
  buckets: durationBuckets,
  registers,
});
export const parseFailures = new Counter({
  name: "samebox_parse_failures_total",
  help: "Messages stored raw because they could not be parsed.",
  labelNames: ["reason"] as const,
  registers,
});
export const parserRestarts = new Counter({
  name: "samebox_parser_restarts_total",
  help: "Parser threads ended for taking too long or too much memory.",
  registers,
});
export const queueJobs = new Gauge({
  name: "samebox_queue_jobs",
  help: "Hints in the queues this process owns.",
  labelNames: ["state"] as const,
  registers,
});
export const queueStalled = new Counter({
  name: "samebox_queue_stalled_total",
  help: "Hints whose runner went silent.",
  registers,
});
export const sweeperRequeued = new Counter({
  name: "samebox_sweeper_requeued_total",
  help: "Hints rung again because the queue had lost them.",
  registers,
});
export const httpRequests = new Counter({
  name: "samebox_http_requests_total",
  help: "HTTP requests answered.",
  labelNames: ["method", "route", "status"] as const,
  registers,
});
export const httpDuration = new Histogram({
  name: "samebox_http_request_duration_seconds",
  help: "Time to answer an HTTP request.",
  labelNames: ["method", "route"] as const,
  buckets: durationBuckets,
  registers,
});
export const webhookDeliveries = new Counter({
  name: "samebox_webhook_deliveries_total",
  help: "Requests to receivers of webhooks, by what became of them.",
  labelNames: ["result"] as const,
  registers,
});
export const webhookDuration = new Histogram({
  name: "samebox_webhook_duration_seconds",
  help: "Time until a receiver of webhooks has answered.",
  buckets: durationBuckets,
  registers,
});
export const webhookOldestPending = new Gauge({
  name: "samebox_webhook_oldest_pending_seconds",
  help: "Age of the oldest change that an enabled webhook was not sent yet, in the whole installation.",
  registers,
});
export const webhookEndpoints = new Gauge({
  name: "samebox_webhook_endpoints",
  help: "Webhooks of the whole installation: enabled, open (the breaker is), disabled.",
  labelNames: ["state"] as const,
  registers,
});
export const sseClients = new Gauge({ name: "samebox_sse_clients", help: "Open event streams.", registers });
export const dbPoolConnections = new Gauge({
  name: "samebox_db_pool_connections",
  help: "Connections of the PostgreSQL pool.",
  labelNames: ["state"] as const,
  registers,
});
export const dbErrors = new Counter({
  name: "samebox_db_errors_total",
  help: "PostgreSQL errors by class.",
  labelNames: ["class"] as const,
  registers,
});
export const wrongKeys = new Counter({
  name: "samebox_http_wrong_keys_total",
  help: "Requests with a key that is unknown, deleted or has run out.",
  registers,
});
export const secretsUnderOtherKeys = new Gauge({
  name: "samebox_secrets_under_other_keys",
  help: "Data keys and webhook secrets not yet sealed under today's SAMEBOX_SECRET_KEY.",
  registers,
});
export const buildInfo = new Gauge({
  name: "samebox_build_info",
  help: "Always 1; the labels say what runs.",
  labelNames: ["version", "node"] as const,
  registers,
});
