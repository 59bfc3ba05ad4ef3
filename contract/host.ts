import { z } from "zod";
import { AllowedActions } from "./action.ts";
import { Runtime } from "./workload.ts";

/**
 * A host's status. `joining`: enrolled, its agent has not connected yet. `syncing`: connected, and putting away what should not run there.
 * `ready`: it runs what it should. `unreachable`: silent; nothing is moved yet. `lost`: silent for `lost_after`; its stateless workloads run
 * elsewhere. `removed`: taken out; its agent is refused.
 */
export const HOST_STATUSES = ["joining", "syncing", "ready", "unreachable", "lost", "removed"] as const;
export const HostStatus = z.enum(HOST_STATUSES);
export type HostStatus = z.infer<typeof HostStatus>;

/** Every edge of the host's machine. */
export const HOST_NEXT = {
  joining: ["syncing", "removed"],
  syncing: ["ready", "unreachable", "removed"],
  ready: ["syncing", "unreachable", "removed"],
  unreachable: ["syncing", "lost", "removed"],
  lost: ["syncing", "removed"],
  removed: [],
} as const satisfies Record<HostStatus, readonly HostStatus[]>;

/** Whether new workloads are placed there: `open`, `cordoned` (no), `draining` (no, and those that are there move away). */
export const SCHEDULING = ["open", "cordoned", "draining"] as const;
export const Scheduling = z.enum(SCHEDULING);
export type Scheduling = z.infer<typeof Scheduling>;

export const HOST_ACTIONS = ["cordon", "uncordon", "drain", "remove"] as const;
export type HostAction = (typeof HOST_ACTIONS)[number];

/** What each action needs and leaves. `already`: success without work. */
export const HOST_ACTION_TABLE = {
  cordon: { from: ["open", "draining"], already: ["cordoned"], to: "cordoned" },
  uncordon: { from: ["cordoned", "draining"], already: ["open"], to: "open" },
  drain: { from: ["open", "cordoned"], already: ["draining"], to: "draining" },
} as const satisfies Record<
  Exclude<HostAction, "remove">,
  { from: readonly Scheduling[]; already: readonly Scheduling[]; to: Scheduling }
>;

export const HostRuntime = z.object({
  runtime: Runtime,
  version: z.string(),
});
export type HostRuntime = z.infer<typeof HostRuntime>;

export const HostCapacity = z.object({
  /** Memory that workloads may reserve in all, bytes. */
  memory_bytes: z.int().nonnegative(),
  /** CPU that workloads may reserve in all, thousandths of a core. */
  cpu_millis: z.int().nonnegative(),
});
export type HostCapacity = z.infer<typeof HostCapacity>;

/** What the host's own policy file permits; the agent enforces it, the control plane only shows it. */
export const HostPolicy = z.object({
  privileged: z.boolean(),
  host_network: z.boolean(),
  /** Path prefixes that may be bind-mounted; empty means none. */
  host_mounts: z.array(z.string()),
  /** Image name prefixes that may be run; empty means all. */
  images: z.array(z.string()),
  /** Whether images may be pulled with the host's own credentials. */
  host_registry_auth: z.boolean().optional(),
});
export type HostPolicy = z.infer<typeof HostPolicy>;

/** A host that stays silent this long is `lost`, ms. */
export const LOST_AFTER_MS = 60_000;

export const HostView = z.object({
  id: z.string(),
  name: z.string(),
  status: HostStatus,
  scheduling: Scheduling,
  reason: z.string(),
  message: z.string(),
  transport: z.enum(["tunnel", "call"]),
  endpoint: z.string().nullable(),
  labels: z.record(z.string(), z.string()),
  runtimes: z.array(HostRuntime),
  capacity: HostCapacity,
  reserved: HostCapacity,
  policy: HostPolicy.nullable(),
  agent_version: z.string().nullable(),
  boot_id: z.string().nullable(),
  workloads: z.int().nonnegative().describe("How many workloads are on it, those being removed included"),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
  last_seen_at: z.iso.datetime().nullable(),
  revision: z.int().nonnegative(),
  allowedActions: AllowedActions,
  event_cursor: z.int().nonnegative(),
});
export type HostView = z.infer<typeof HostView>;
