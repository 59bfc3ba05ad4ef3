import { z } from "zod";
import { HealthCheck, type Probe } from "./health.ts";
import { parseCpu, parseDuration, parseMemory } from "./quantity.ts";
import { isSealed } from "./sealed.ts";
import { shellWords } from "./shell-words.ts";
import { type Mount, PortMapping, type PullPolicy, RUNTIMES, type WorkloadSpec } from "./workload.ts";

/**
 * A deployment as its user writes it: the body of `POST /deployments`, and an entry of a manifest file. The fields are Ring's, and ours
 * where Ring has none (`working_dir`, `stop_timeout`, `placement`). What the fields may hold together is `manifest-rules.ts`.
 */

/** A DNS label, as in Ring's namespaces, one character allowed. */
const NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
export const NAME_MESSAGE =
  "expected 1 to 63 lower-case letters, digits or `-`, starting and ending with a letter or digit";
export const Name = z.string().regex(NAME, NAME_MESSAGE);

const Quantity = z.union([z.string(), z.number()]).transform(String);
const Resources = z.strictObject({
  limits: z.strictObject({ cpu: Quantity.optional(), memory: Quantity.optional() }).optional(),
  requests: z.strictObject({ cpu: Quantity.optional(), memory: Quantity.optional() }).optional(),
});

const Plain = z.union([z.string(), z.number().transform(String), z.boolean().transform(String)]);

/** The value of a variable: written here, or the name of where it is kept, looked up each time that an instance is started. */
export const EnvironmentValue = z.union(
  [
    Plain,
    z.strictObject({ secretRef: z.string() }),
    z.strictObject({ configRef: z.string(), key: z.string().describe("The config's entry") }),
  ],
  "expected text, a number, true or false, `{secretRef: name}` or `{configRef: name, key: entry}`",
);
export type EnvironmentValue = z.infer<typeof EnvironmentValue>;

/**
 * `bind`: a folder or file of the host, which its policy must allow. `volume`: a named volume, of the namespace. `config`: an entry of a config as a
 * file, `secret`: a secret as a file; both are read-only.
 */
export const Volume = z
  .strictObject({
    type: z.enum(["bind", "volume", "config", "secret"]),
    source: z.string().nullish().describe("bind: a path of the host; else a name. Required"),
    key: z.string().nullish().describe("config: which entry. Required there, and nowhere else"),
    destination: z
      .string()
      .describe("Container: an absolute path. Process runtime: a path below the folder that $LAMPLIGHTER_FILES names"),
    driver: z.enum(["local", "nfs"]).default("local"),
    permission: z.enum(["ro", "rw"]).optional().describe("ro for config and secret, else rw"),
  })
  .transform((volume) => ({
    ...volume,
    permission: volume.permission ?? (volume.type === "config" || volume.type === "secret" ? "ro" : "rw"),
  }));
export type Volume = z.infer<typeof Volume>;

export const MANIFEST_FIELDS = {
  name: Name,
  namespace: Name.default("default"),
  runtime: z
    .string()
    .default("docker")
    .describe(`One of ${RUNTIMES.join(", ")}`),
  kind: z.enum(["worker", "job"]).default("worker"),
  image: z.string().nullish().describe("Required but for the process runtime"),
  replicas: z.int().min(0).max(1000).default(1),
  command: z
    .array(z.string())
    .default([])
    .describe("Container: replaces CMD. Process: the program and its arguments; required"),
  labels: z.record(z.string(), Plain).default({}),
  environment: z.record(z.string(), EnvironmentValue).default({}),
  ports: z.array(PortMapping).default([]),
  volumes: z.array(Volume).default([]),
  resources: Resources.nullish(),
  config: z
    .strictObject({
      image_pull_policy: z.string().default("Always"),
      server: z.string().nullish(),
      username: z.string().nullish(),
      password: z.string().nullish().describe("Write-only: never answered"),
      image_pull_secret: z
        .string()
        .nullish()
        .describe("A secret that holds a Docker config.json: its `auths` has the registry's credentials"),
      use_host_auth: z
        .boolean()
        .nullish()
        .describe("Pull with the credentials of the host's own Docker config, where the host's policy permits it"),
      user: z
        .strictObject({
          id: z.int().min(0).nullish(),
          group: z.int().min(0).nullish(),
          privileged: z.boolean().default(false),
        })
        .nullish(),
    })
    .nullish(),
  network: z.strictObject({ mode: z.enum(["bridge", "host"]).default("bridge") }).nullish(),
  working_dir: z.string().startsWith("/", "expected an absolute path").nullish(),
  stop_timeout: z.string().default("10s").describe("From SIGTERM to SIGKILL"),
  health_checks: z.array(HealthCheck).default([]),
  autoscale: z
    .strictObject({
      min: z.int(),
      max: z.int(),
      target_cpu: z.number().describe("Percent of one core per instance, above 0 and below 100"),
    })
    .nullish(),
  max_surge: z.int().min(0).default(1).describe("Rolling update: instances above `replicas`, both versions together"),
  max_unavailable: z
    .int()
    .min(0)
    .default(0)
    .describe("Rolling update: ready instances that may be missing from `replicas`"),
  rollout_deadline: z.string().default("600s").describe("How long without progress until readiness counts as failed"),
  on_deadline: z
    .enum(["drain", "rollback", "fail"])
    .default("drain")
    .describe(
      "Rolling update at its deadline: `drain` goes over to the new version all the same, `rollback` goes back to the old one, `fail` stops and leaves the old one serving",
    ),
  retries: z.int().min(0).max(100).default(0).describe("Jobs: how often a failed run is tried again"),
  deadline: z.string().nullish().describe("Jobs: the host kills it when it has run for this long"),
  ttl_after_finished: z.string().nullish().describe("Jobs: deleted this long after it has finished"),
  placement: z
    .strictObject({ labels: z.record(z.string(), z.string()).default({}) })
    .nullish()
    .describe("Only hosts that carry all of these labels"),
} as const;

export const Manifest = z.strictObject(MANIFEST_FIELDS);
export type Manifest = z.infer<typeof Manifest>;

/** What an agent gets to run for a valid manifest, but for what it refers to (`reference.ts`). Numbers are parsed here, once. */
export function workloadSpec(manifest: Manifest): WorkloadSpec {
  const { limits, requests } = manifest.resources ?? {};
  const cpu = (text: string | undefined) => (text === undefined ? null : parseCpu(text));
  const memory = (text: string | undefined) => (text === undefined ? null : parseMemory(text));
  const config = manifest.config;
  const registry =
    config?.username != null && config.password != null
      ? { server: config.server ?? null, username: config.username, password: config.password }
      : null;
  return {
    runtime: manifest.runtime as WorkloadSpec["runtime"],
    namespace: manifest.namespace,
    name: manifest.name,
    kind: manifest.kind,
    image: manifest.image ?? null,
    image_pull_policy: (config?.image_pull_policy ?? "Always") as z.infer<typeof PullPolicy>,
    registry: registry && { ...registry, password: isSealed(registry.password) ? "" : registry.password },
    ...(registry && isSealed(registry.password) ? { sealed: { registry_password: registry.password } } : {}),
    ...(config?.use_host_auth ? { use_host_auth: true } : {}),
    command: manifest.command,
    working_dir: manifest.working_dir ?? null,
    environment: Object.fromEntries(
      Object.entries(manifest.environment).flatMap(([key, value]) => (typeof value === "string" ? [[key, value]] : [])),
    ),
    labels: manifest.labels,
    ports: manifest.ports,
    mounts: manifest.volumes.flatMap(mountOf),
    user: {
      id: config?.user?.id ?? null,
      group: config?.user?.group ?? null,
      privileged: config?.user?.privileged ?? false,
    },
    network: manifest.network?.mode ?? "bridge",
    cpu_limit_millis: cpu(limits?.cpu),
    memory_limit_bytes: memory(limits?.memory),
    cpu_reserved_millis: cpu(requests?.cpu) ?? cpu(limits?.cpu) ?? 0,
    memory_reserved_bytes: memory(requests?.memory) ?? memory(limits?.memory) ?? 0,
    stop_timeout_ms: parseDuration(manifest.stop_timeout) as number,
    ...(manifest.deadline == null ? {} : { run_timeout_ms: parseDuration(manifest.deadline) as number }),
    ...(manifest.health_checks.length === 0 ? {} : { health_checks: manifest.health_checks.map(probeOf) }),
    ...(manifest.autoscale ? { measured: true } : {}),
  };
}

function mountOf({ type, source, destination, driver, permission }: Volume): Mount[] {
  return type === "bind" || type === "volume" ? [{ type, source: source ?? "", destination, driver, permission }] : [];
}

function probeOf(check: HealthCheck): Probe {
  const pace = {
    interval_ms: parseDuration(check.interval) as number,
    timeout_ms: parseDuration(check.timeout) as number,
    threshold: check.threshold,
    readiness: check.readiness,
    min_healthy_ms: parseDuration(check.min_healthy_time) as number,
    start_period_ms: parseDuration(check.start_period) as number,
  };
  switch (check.type) {
    case "tcp":
      return { type: "tcp", port: check.port, ...pace };
    case "http":
      return { type: "http", url: check.url, ...pace };
    case "command":
      return { type: "command", command: shellWords(check.command) as string[], ...pace };
  }
}
