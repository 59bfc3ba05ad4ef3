import { z } from "zod";
import { ReaderOrder } from "./database-reader.ts";
import { HealthResult, Usage } from "./health.ts";
import { HostCapacity, HostPolicy, HostRuntime } from "./host.ts";
import { Observation, Workload } from "./workload.ts";
import { KeeperAddress } from "./writer.ts";
import { WriterRenewal } from "./writer-task.ts";

/**
 * The frames that a HostObject and its agent exchange, the same over both transports.
 *
 * Tunnel: the agent opens a WebSocket at `/hosts/<id>/tunnel` with the header `Lamplighter-Connect` = a sealed `Connect`. The HostObject
 * answers the first frame, `challenge`, which carries the agent's nonce and a new session; then the agent sends `hello`, its whole
 * `inventory`, and the HostObject answers with the whole `desired`. From then on each side sends what changed. Every frame is sealed, and
 * carries the session and a `seq` that rises by one in each direction, so that nothing can be replayed, reordered or dropped unseen: a
 * frame that does not fit ends the connection, and a new one restates everything.
 *
 * Call: the control plane POSTs a sealed frame to `<endpoint>/frames` and the agent POSTs sealed frames to `/hosts/<id>/frames`. The
 * session is the agent's boot id. The receiver refuses a frame whose `at` is off by more than CLOCK_TOLERANCE_MS, whose nonce it has
 * seen, or whose session is not the present boot. Answers are sealed too and carry the nonce of what they answer.
 *
 * The text "ping" (not sealed) on a tunnel is answered "pong" by the platform without waking the HostObject: that is the heartbeat.
 */

export const PROTOCOL = 1;
export const HEARTBEAT_PING = "ping";
export const HEARTBEAT_PONG = "pong";
/** How often an agent shows that it lives, ms: a ping on a tunnel, a heartbeat frame on call. */
export const HEARTBEAT_EVERY_MS = 10_000;
/** How many workloads or observations go into one frame of a full restatement; keeps a frame far below the 32 MiB limit of a WebSocket message. */
export const FULL_PART = 500;

/** Opens a tunnel. `nonce` comes back in the challenge. */
export const Connect = z.object({
  kind: z.literal("connect"),
  host_id: z.string(),
  boot_id: z.string(),
  at: z.int(),
  nonce: z.string().min(16),
});
export type Connect = z.infer<typeof Connect>;

const head = {
  host_id: z.string(),
  session: z.string(),
  seq: z.int().positive(),
  at: z.int(),
  nonce: z.string(),
};

export const LogQuery = z.object({
  workload_id: z.string(),
  generation: z.int().positive(),
  tail: z.int().nonnegative().nullable(),
  /** Only lines received at or after this moment, ms since 1970. */
  since: z.int().nullable(),
  follow: z.boolean(),
});
export type LogQuery = z.infer<typeof LogQuery>;

/** A question to the agent about something that runs, or about its machine. `logs` answers in chunks of LogLine[]; the others answer once. */
export const Question = z.discriminatedUnion("verb", [
  z.object({ verb: z.literal("logs"), query: LogQuery }),
  z.object({ verb: z.literal("stats"), workload_ids: z.array(z.string()) }),
  z.object({ verb: z.literal("node") }),
  /** Whether these keepers answer this host, with their tokens: for each what is wrong, or null. */
  z.object({ verb: z.literal("check_keepers"), keepers: z.array(KeeperAddress) }),
  z.object({
    verb: z.literal("exec"),
    workload_id: z.string(),
    generation: z.int().positive(),
    command: z.array(z.string()).min(1),
    timeout_ms: z.int().positive(),
  }),
  /** Stops the writer of this term unless clients are connected, of whom none can come in between: `{clients}`. */
  z.object({ verb: z.literal("stop_unused"), workload_id: z.string(), generation: z.int().positive() }),
  /** Gives the running writer of this term another verifier for its owner; answers when it is durable. */
  z.object({
    verb: z.literal("install_verifier"),
    workload_id: z.string(),
    generation: z.int().positive(),
    credential: z.string(),
    verifier: z.string(),
  }),
  /** Makes the role of readers in the running writer of this term what it should be, or (null) takes it away with all that readers left. */
  z.object({
    verb: z.literal("set_reader"),
    workload_id: z.string(),
    generation: z.int().positive(),
    reader: ReaderOrder.nullable(),
  }),
]);
export type Question = z.infer<typeof Question>;

/** Agent to control plane. */
export const AgentBody = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("hello"),
    protocol: z.literal(PROTOCOL),
    boot_id: z.string(),
    agent_version: z.string(),
    runtimes: z.array(HostRuntime),
    capacity: HostCapacity,
    policy: HostPolicy,
  }),
  /** All that the agent knows of, in parts; after `last` the HostObject sends `desired`. */
  z.object({ kind: z.literal("inventory"), observations: z.array(Observation), last: z.boolean() }),
  /** What changed. */
  z.object({ kind: z.literal("report"), observations: z.array(Observation) }),
  /** Everything up to this revision of the desired set was accepted, and whatever is not in it is gone from this host. */
  z.object({ kind: z.literal("settled"), revision: z.int().nonnegative() }),
  /** Results of health checks that say something new. Sent again after a reconnect until the HostObject has had them. */
  z.object({ kind: z.literal("health"), results: z.array(HealthResult) }),
  /** What measured workloads use; only the newest counts, and one that is lost is not sent again. */
  z.object({ kind: z.literal("usage"), usages: z.array(Usage) }),
  /** Asks for the leases of the writers that run here; answered by `renewed`. */
  z.object({ kind: z.literal("renew"), ...WriterRenewal.shape }),
  /** What these routes lead to was asked something by somebody with a key, or (`waits`) is waited for. Said again while that is so; one may be lost. */
  z.object({
    kind: z.literal("asked"),
    routes: z.array(z.object({ id: z.string(), generation: z.int().positive(), waits: z.boolean() })),
  }),
  z.object({ kind: z.literal("heartbeat") }),
  /** Runtimes or capacity changed, e.g. a Docker Engine came up. */
  z.object({ kind: z.literal("facts"), runtimes: z.array(HostRuntime), capacity: HostCapacity, policy: HostPolicy }),
  z.object({ kind: z.literal("chunk"), op: z.string(), data: z.unknown() }),
  z.object({
    kind: z.literal("end"),
    op: z.string(),
    error: z.object({ code: z.string(), message: z.string() }).nullable(),
  }),
]);
export type AgentBody = z.infer<typeof AgentBody>;

/** Control plane to agent. */
export const ControlBody = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("challenge"), answers: z.string() }),
  /** All that this host should run, in parts; what is not in it must go. */
  z.object({
    kind: z.literal("desired"),
    revision: z.int().nonnegative(),
    workloads: z.array(Workload),
    last: z.boolean(),
  }),
  /** What changed since. */
  z.object({ kind: z.literal("apply"), revision: z.int().nonnegative(), workloads: z.array(Workload) }),
  /** These writers, and no others, may go on until `ttl_ms` after `renew` was sent. */
  z.object({ kind: z.literal("renewed"), ...WriterRenewal.shape, ttl_ms: z.int().positive() }),
  z.object({ kind: z.literal("ask"), op: z.string(), question: Question }),
  z.object({ kind: z.literal("cancel"), op: z.string() }),
  /** The host was removed: stop everything, forget the enrolment. */
  z.object({ kind: z.literal("dismiss") }),
  /** Call transport: nothing to say. */
  z.object({ kind: z.literal("ok") }),
]);
export type ControlBody = z.infer<typeof ControlBody>;

export const AgentFrame = z.object({ ...head, body: AgentBody });
export type AgentFrame = z.infer<typeof AgentFrame>;
export const ControlFrame = z.object({ ...head, body: ControlBody });
export type ControlFrame = z.infer<typeof ControlFrame>;

/** Body of `POST /hosts`, sent with a join token. */
export const EnrolRequest = z.strictObject({
  name: z.string().min(1).max(63),
  public_key: z.string().regex(/^[A-Za-z0-9_-]{43}$/, "expected base64url of a 32-byte Ed25519 public key"),
  transport: z.enum(["tunnel", "call"]),
  /** Where the control plane reaches the agent; required with `call`. */
  endpoint: z.url().nullish(),
  labels: z.record(z.string(), z.string()).default({}),
  /** The agent's own key signs `lamplighter-enrol:<name>:<at>`, to prove that it holds it. */
  at: z.int(),
  proof: z.string(),
});
export type EnrolRequest = z.infer<typeof EnrolRequest>;

export const enrolProofText = (name: string, at: number): string => `lamplighter-enrol:${name}:${at}`;

/** Answer of `POST /hosts`. */
export const EnrolAnswer = z.object({ host_id: z.string(), control_public_key: z.string() });
export type EnrolAnswer = z.infer<typeof EnrolAnswer>;
