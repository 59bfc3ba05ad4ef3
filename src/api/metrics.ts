import { z } from "zod";
import { DATABASE_STATES } from "../../contract/database.ts";
import { EXPOSITION_TYPE, expose, type Series, sample } from "../../contract/exposition.ts";
import { HOST_STATUSES } from "../../contract/host.ts";
import { DELIVERY_STATUSES } from "../../contract/webhook-endpoint.ts";
import { failureSeries, startSeries } from "../../objects/database/starts.ts";
import { jsonText } from "../answer.ts";
import { type Figures, gatherFigures } from "../figures.ts";
import { fail } from "../problem.ts";
import { route } from "../route.ts";
import type { Usage } from "../usage.ts";

const NOUNS = ["namespaces", "secrets", "volumes", "users", "webhooks", "configs"] as const;
type Noun = (typeof NOUNS)[number];
const CHECK_STATUSES = ["success", "failed", "timeout"] as const;
const kindOf = (noun: string): string => noun.replace(/s$/, "");

const PER_DEPLOYMENT: readonly [name: string, type: Series["type"], key: keyof Usage | "restarts", help: string][] = [
  ["instances", "gauge", "instances", "Instances that were measured"],
  ["cpu_usage_percent", "gauge", "cpu_usage_percent", "CPU in use, of one core"],
  ["memory_usage_bytes", "gauge", "memory_usage_bytes", "Memory in use"],
  ["memory_limit_bytes", "gauge", "memory_limit_bytes", "Memory that may be used"],
  ["pids", "gauge", "pids", "Processes and threads"],
  ["network_rx_bytes_total", "counter", "network_rx_bytes", "Bytes received by the instances that run now"],
  ["network_tx_bytes_total", "counter", "network_tx_bytes", "Bytes sent by the instances that run now"],
  ["disk_read_bytes_total", "counter", "disk_read_bytes", "Bytes read by the instances that run now"],
  ["disk_write_bytes_total", "counter", "disk_write_bytes", "Bytes written by the instances that run now"],
  ["restarts_total", "counter", "restarts", "Restarts since the deployment was applied"],
];

const Count = z.int().nonnegative();
const Counts = z.record(z.string(), Count);

/** Ring's keys. */
const MetricsView = z.object({
  deployments: Count.describe("Without those that are deleted"),
  deployments_by_status: Counts,
  deployments_by_runtime: Counts,
  unhealthy_deployments_by_namespace: z.array(z.object({ namespace: z.string(), status: z.string(), count: Count })),
  namespaces: Count,
  secrets: Count,
  volumes: Count,
  users: Count,
  webhooks: Count,
  configs: Count,
  events_by_status: Counts,
  health_checks_by_status: Counts,
  runtime_last_refresh_seconds: z.number(),
  deployment_runtime: z.array(
    z.object({
      name: z.string(),
      namespace: z.string(),
      runtime: z.string(),
      instances: Count,
      cpu_usage_percent: z.number(),
      memory_usage_bytes: z.number(),
      memory_limit_bytes: z.number(),
      network_rx_bytes: z.number(),
      network_tx_bytes: z.number(),
      disk_read_bytes: z.number(),
      disk_write_bytes: z.number(),
      pids: z.number(),
      restarts: Count,
    }),
  ),
});
type MetricsView = z.infer<typeof MetricsView>;

export const METRICS = [
  route({
    method: "GET",
    path: "/metrics",
    access: "deployments:read",
    isPublic: (env) => (env.METRICS_PUBLIC as string | undefined) === "true",
    group: "Metrics",
    summary: "Figures about everything, for Prometheus",
    description:
      "All series are there at every moment, `ring_*` under the names that Ring has, and `lamplighter_*` for what Ring has not. What instances use comes from the hosts' own measurements, at most 15 s old; a host that does not answer at once is left out. It tells the names of all deployments, so it takes a token that is for all namespaces, unless `METRICS_PUBLIC` is set to `true`. JSON when `Accept` names `application/json`.",
    answers: {
      200: {
        description: "The figures",
        schema: MetricsView,
        media: [EXPOSITION_TYPE, "application/json"],
      },
    },
    problems: ["namespace_not_permitted"],
    handle: async (ask) => {
      // On a public route nobody is asked who they are.
      if (ask.principal.token_id !== "" && ask.principal.namespaces.length > 0)
        fail("namespace_not_permitted", "Your token is for some namespaces only; these figures are about all of them.");
      const figures = await gatherFigures(ask.env, ask.ctx);
      if (ask.request.headers.get("accept")?.includes("application/json"))
        return jsonText(JSON.stringify(asJson(figures)));
      return new Response(expose([...ringSeries(figures), ...ownSeries(figures)]), {
        headers: { "content-type": EXPOSITION_TYPE },
      });
    },
  }),
];

function ringSeries(figures: Figures): Series[] {
  const gauge = (name: string, help: string, samples: Series["samples"]): Series => ({
    name: `ring_${name}`,
    type: "gauge",
    help,
    samples,
  });
  const byWord = (name: string, label: string, help: string, counts: [string, number][]): Series =>
    gauge(
      name,
      help,
      counts.map(([word, count]) => sample(count, { [label]: word })),
    );
  return [
    gauge("deployments", "Deployments, without those that are deleted", [sample(figures.deployments)]),
    byWord("deployments_by_status", "status", "Deployments by status", figures.byStatus),
    byWord("deployments_by_runtime", "runtime", "Deployments by runtime", figures.byRuntime),
    gauge(
      "unhealthy_deployments",
      "Deployments that are not as they should be",
      figures.unhealthy.map(({ namespace, status, count }) => sample(count, { namespace, status })),
    ),
    ...NOUNS.map((noun) => gauge(noun, `How many ${noun} there are`, [sample(figures.of(kindOf(noun)))])),
    byWord(
      "events_by_status",
      "status",
      "Webhook deliveries of the last 7 days by status",
      figures.tally("webhook", DELIVERY_STATUSES),
    ),
    byWord(
      "health_checks_by_status",
      "status",
      "Results of health checks that are kept, by status",
      figures.tally("deployment", CHECK_STATUSES),
    ),
    gauge("runtime_last_refresh_seconds", "When the oldest of the measurements below was taken, seconds since 1970", [
      sample(Math.floor((figures.refreshedAt ?? 0) / 1000)),
    ]),
    ...PER_DEPLOYMENT.map(
      ([name, type, key, help]): Series => ({
        name: `ring_deployment_${name}`,
        type,
        help,
        samples: figures.running.map((one) =>
          sample(one[key], { deployment: one.name, namespace: one.namespace, runtime: one.runtime }),
        ),
      }),
    ),
  ];
}

function ownSeries({ hosts, of, words, silentHosts }: Figures): Series[] {
  const own = (name: string, help: string, samples: Series["samples"]): Series => ({
    name: `lamplighter_${name}`,
    type: "gauge",
    help,
    samples,
  });
  const perHost = (name: string, help: string, value: (host: (typeof hosts)[number]) => number): Series =>
    own(
      `host_${name}`,
      help,
      hosts.map((host) => sample(value(host), { host: host.name, id: host.id })),
    );
  return [
    own(
      "hosts",
      "Hosts by status",
      HOST_STATUSES.map((status) => sample(of("host", status), { status })),
    ),
    own("hosts_unanswered", "Hosts that did not tell in time what runs there uses", [sample(silentHosts)]),
    own(
      "tokens",
      "Tokens by status, without sessions",
      ["active", "revoked"].map((status) => sample(of("token", status), { status })),
    ),
    own(
      "databases",
      "Databases by state",
      DATABASE_STATES.map((state) => sample(of("database", state), { state })),
    ),
    startSeries(words("database")),
    failureSeries(words("database")),
    own("schedules", "How many schedules there are", [sample(of("schedule"))]),
    own("hooks", "How many inbound webhooks there are", [sample(of("hook"))]),
    perHost("ready", "1 when the host is ready", ({ status }) => (status === "ready" ? 1 : 0)),
    perHost("workloads", "Workloads on the host", ({ workloads }) => workloads),
    perHost("memory_capacity_bytes", "Memory that may be reserved", ({ capacity }) => capacity.memory_bytes),
    perHost("memory_reserved_bytes", "Memory that is reserved", ({ reserved }) => reserved.memory_bytes),
    perHost("cpu_capacity_cores", "Cores that may be reserved", ({ capacity }) => capacity.cpu_millis / 1000),
    perHost("cpu_reserved_cores", "Cores that are reserved", ({ reserved }) => reserved.cpu_millis / 1000),
  ];
}

function asJson(figures: Figures): MetricsView {
  return {
    deployments: figures.deployments,
    deployments_by_status: Object.fromEntries(figures.byStatus),
    deployments_by_runtime: Object.fromEntries(figures.byRuntime),
    unhealthy_deployments_by_namespace: figures.unhealthy,
    ...(Object.fromEntries(NOUNS.map((noun) => [noun, figures.of(kindOf(noun))])) as Record<Noun, number>),
    events_by_status: Object.fromEntries(figures.tally("webhook", DELIVERY_STATUSES)),
    health_checks_by_status: Object.fromEntries(figures.tally("deployment", CHECK_STATUSES)),
    runtime_last_refresh_seconds: Math.floor((figures.refreshedAt ?? 0) / 1000),
    deployment_runtime: figures.running,
  };
}
