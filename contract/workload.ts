import { z } from "zod";
import { Probe, Probing } from "./health.ts";
import { Route } from "./route.ts";
import { WriterStart, WriterTask } from "./writer-task.ts";

/**
 * A workload is the one thing an agent runs. This file is what control plane and agent agree on: what should run (`Workload`), and
 * what was seen (`Observation`). Commands are level-shaped: "W at generation G should be running", never "start W".
 */

/** What deployments run on. */
export const RUNTIMES = ["process", "docker", "podman"] as const;
/** And `postgres`, on which only the writers of databases do, and `proxy`, the one of routes: it comes with `process`. */
export const WORKLOAD_RUNTIMES = [...RUNTIMES, "postgres", "proxy"] as const;
export const Runtime = z.enum(WORKLOAD_RUNTIMES);
export type Runtime = z.infer<typeof Runtime>;

export const PortMapping = z.strictObject({
  /**
   * Port on the host; left out, the host chooses a free one for each instance (`ports` in an observation says which). A process gets the chosen one in
   * `PORT_<target>`, and the first also in `PORT`; given, it is the port that the program must listen on.
   */
  published: z.int().nullish(),
  /** Port in the container. A process runs on the host's network: there it only names the port. */
  target: z.int(),
  host_ip: z.string().nullish(),
  protocol: z.enum(["tcp", "udp"]).default("tcp"),
});
export type PortMapping = z.infer<typeof PortMapping>;

export const Mount = z.strictObject({
  /** `bind`: a folder or file of the host, allowed by the host's policy. `volume`: a named volume, scoped to the namespace. */
  type: z.enum(["bind", "volume"]),
  source: z.string(),
  destination: z.string(),
  driver: z.enum(["local", "nfs"]).default("local"),
  permission: z.enum(["ro", "rw"]).default("rw"),
});
export type Mount = z.infer<typeof Mount>;

export const PullPolicy = z.enum(["Always", "IfNotPresent", "Never"]);

/** What to run, in terms that every runtime driver understands. A driver answers a failure for what it cannot honour; it never ignores it. */
export const WorkloadSpec = z.object({
  runtime: Runtime,
  /** For names and labels only: the namespace, and the name that the user gave. */
  namespace: z.string(),
  name: z.string(),
  /** `job` runs once and its exit is the result; `worker` should never exit. */
  kind: z.enum(["worker", "job"]),
  image: z.string().nullable(),
  image_pull_policy: PullPolicy,
  registry: z.object({ server: z.string().nullable(), username: z.string(), password: z.string() }).nullable(),
  /** Container: replaces CMD, not the entrypoint; empty keeps the image's. Process: program and arguments, found in PATH when without a slash. */
  command: z.array(z.string()),
  working_dir: z.string().nullable(),
  environment: z.record(z.string(), z.string()),
  labels: z.record(z.string(), z.string()),
  ports: z.array(PortMapping),
  mounts: z.array(Mount),
  user: z.object({ id: z.int().nullable(), group: z.int().nullable(), privileged: z.boolean() }),
  network: z.enum(["bridge", "host"]),
  /** Thousandths of a core and bytes; null means no limit. */
  cpu_limit_millis: z.int().positive().nullable(),
  memory_limit_bytes: z.int().positive().nullable(),
  /** What the host's ledger reserves: the request, else the limit, else 0. */
  cpu_reserved_millis: z.int().nonnegative(),
  memory_reserved_bytes: z.int().nonnegative(),
  /** After SIGTERM, how long until SIGKILL. */
  stop_timeout_ms: z.int().nonnegative(),
  /** Jobs: it is killed after this long, and its exit says `timed_out`; null for no limit. */
  run_timeout_ms: z.int().positive().nullable().optional(),
  health_checks: z.array(Probe).optional(),
  /** Whether the agent tells what it uses (`Usage`). */
  measured: z.boolean().optional(),
  /** Configs and secrets, as read-only files. `content` is text; it never appears in a log, an event or a list. */
  files: z.array(z.object({ destination: z.string(), content: z.string() })).optional(),
  /** The text of a Docker config.json, in whose `auths` the image's registry is looked up. */
  registry_config: z.string().optional(),
  /** Pull with the credentials of the host's own Docker config, where the host's policy permits it. */
  use_host_auth: z.boolean().optional(),
  /** What of it is secret, sealed, as it is stored in the control plane. It is opened into the fields above when a frame is made; an agent never gets it. */
  sealed: z
    .object({
      environment: z.record(z.string(), z.string()).optional(),
      files: z.array(z.object({ destination: z.string(), content: z.string() })).optional(),
      registry_password: z.string().optional(),
      registry_config: z.string().optional(),
      replication_password: z.string().optional(),
    })
    .optional(),
  /** Of the runtime `postgres`: what its writer is to do. */
  writer: WriterTask.optional(),
  /** Of the runtime `proxy`: where it leads. */
  route: Route.optional(),
  /** Why the sealed part could not be opened, without which it must not be started. */
  unreadable: z.string().optional(),
});
export type WorkloadSpec = z.infer<typeof WorkloadSpec>;

/**
 * `want`: `running` = create it if it is not there (a finished job or a dead worker of this generation is *not* started again: a new
 * generation is how that is said); `gone` = stop it and remove every trace but the fence.
 */
export const Workload = z.object({
  id: z.string(),
  generation: z.int().positive(),
  owner: z.string(),
  want: z.enum(["running", "gone"]),
  /** May change while the generation stays; left out means `all`. */
  probing: Probing.optional(),
  spec: WorkloadSpec,
});
export type Workload = z.infer<typeof Workload>;

/** Why a workload could not be brought up. The kinds are the statuses that a deployment takes from them. */
export const FAILURE_KINDS = [
  "image_pull_back_off",
  "create_container_error",
  "network_error",
  "config_error",
  "file_system_error",
  "error",
] as const;
export const FailureKind = z.enum(FAILURE_KINDS);
export type FailureKind = z.infer<typeof FailureKind>;

/** How a program ended. `code` is null when a signal ended it, and when the evidence is gone (`evidence: "lost"`). */
export const Exit = z.object({
  code: z.int().nullable(),
  signal: z.string().nullable(),
  oom: z.boolean(),
  at: z.int().describe("ms since 1970, the host's clock"),
  evidence: z.enum(["kept", "lost"]),
  /** It was killed by the host because `run_timeout_ms` was over. */
  timed_out: z.boolean().optional(),
});
export type Exit = z.infer<typeof Exit>;

/** Something true about a running workload that its user should know, e.g. `memory_unenforced`. */
export const Note = z.object({ code: z.string(), message: z.string() });
export type Note = z.infer<typeof Note>;

/** A port as the host really gave it. `host_ip` is null where it is bound on every address. */
export const BoundPort = z.object({
  target: z.int(),
  published: z.int(),
  host_ip: z.string().nullable(),
  protocol: z.enum(["tcp", "udp"]),
});
export type BoundPort = z.infer<typeof BoundPort>;

const seen = { id: z.string(), generation: z.int().positive(), at: z.int() };

/** What the agent saw of one generation of one workload. The newest replaces all older ones. */
export const Observation = z.discriminatedUnion("phase", [
  z.object({ ...seen, phase: z.literal("preparing"), message: z.string() }),
  z.object({
    ...seen,
    phase: z.literal("running"),
    started_at: z.int(),
    /** Where it answers, reachable from the host at least: an IP or `IP:port`; null when it has none. */
    address: z.string().nullable(),
    image_digest: z.string().nullable(),
    notes: z.array(Note),
    ports: z.array(BoundPort).optional(),
    /** Of a writer: how it came up. */
    start: WriterStart.optional(),
  }),
  /** It ran and ended by itself; an intended stop is never seen as this. */
  z.object({ ...seen, phase: z.literal("exited"), exit: Exit }),
  z.object({
    ...seen,
    phase: z.literal("failed"),
    failure: z.object({ kind: FailureKind, reason: z.string(), message: z.string() }),
  }),
  z.object({ ...seen, phase: z.literal("stopping") }),
  /** Nothing of it is left on this host. */
  z.object({ ...seen, phase: z.literal("gone") }),
]);
export type Observation = z.infer<typeof Observation>;

/** Resource use of one instance at one moment. CPU is a percentage of one core. */
export const InstanceStats = z.object({
  instance_id: z.string(),
  instance_name: z.string(),
  cpu_usage_percent: z.number(),
  memory: z.object({ usage_bytes: z.number(), limit_bytes: z.number(), usage_percent: z.number() }),
  network: z.object({ rx_bytes: z.number(), tx_bytes: z.number(), rx_packets: z.number(), tx_packets: z.number() }),
  disk_io: z.object({ read_bytes: z.number(), write_bytes: z.number() }),
  pids: z.object({ current: z.number(), limit: z.number() }),
});
export type InstanceStats = z.infer<typeof InstanceStats>;

/** One line that an instance wrote. `timestamp` is when the runtime received it. */
export const LogLine = z.object({
  instance: z.string(),
  stream: z.enum(["stdout", "stderr"]),
  message: z.string(),
  level: z.enum(["error", "warning", "info", "debug", "unknown"]),
  timestamp: z.iso.datetime(),
});
export type LogLine = z.infer<typeof LogLine>;

export const ExecResult = z.object({
  exit_code: z.int().nullable(),
  stdout: z.string(),
  stderr: z.string(),
  truncated: z.boolean(),
});
export type ExecResult = z.infer<typeof ExecResult>;
