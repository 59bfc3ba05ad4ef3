import type { HostView } from "../../contract/host.ts";
import { formatBytes } from "../../contract/quantity.ts";
import type { Runtime } from "../../contract/workload.ts";

/** What one replica needs of a host. */
export type Need = { runtime: Runtime; labels: Record<string, string>; memory_bytes: number; cpu_millis: number };

/** A host as the index knows it; the host itself has the last word when it is asked to reserve. */
export type Candidate = Pick<
  HostView,
  "id" | "name" | "status" | "scheduling" | "labels" | "runtimes" | "capacity" | "reserved"
>;

export type Choice =
  | { type: "chosen"; host_id: string }
  /** `impossible`: there are hosts of this kind, and not one is large enough even when empty. */
  | { type: "none"; impossible: boolean; message: string };

/**
 * Chooses a host: of those that fit, the one with the fewest replicas of this deployment, then the most free memory, then the most free
 * CPU, then by id.
 * @param own how many replicas of the deployment each host has already
 * @param refused hosts that have said no to this replica, and why
 */
export function choose(
  hosts: readonly Candidate[],
  need: Need,
  own: ReadonlyMap<string, number>,
  refused: Readonly<Record<string, string>>,
): Choice {
  const obstacles = hosts.map((host) => ({ host, obstacle: obstacle(host, need, refused) }));
  const fitting = obstacles.filter(({ obstacle }) => obstacle === null).map(({ host }) => host);
  if (fitting.length > 0) {
    const best = fitting.reduce((a, b) => (rank(a, b, own) <= 0 ? a : b));
    return { type: "chosen", host_id: best.id };
  }
  const kin = hosts.filter((host) => host.status !== "removed" && suits(host, need) === null);
  const impossible = kin.length > 0 && kin.every((host) => host.capacity.memory_bytes < need.memory_bytes);
  return { type: "none", impossible, message: explain(obstacles, need, impossible, kin) };
}

/** Whether one that does not fit now may fit later: it is away, has no room, or has not said yet what it can run. */
export const mayFit = (host: Candidate, need: Need): boolean =>
  host.status !== "removed" &&
  (suits(host, need) === null
    ? host.capacity.memory_bytes >= need.memory_bytes
    : host.runtimes.length === 0 && host.status !== "ready");

function rank(a: Candidate, b: Candidate, own: ReadonlyMap<string, number>): number {
  return (
    (own.get(a.id) ?? 0) - (own.get(b.id) ?? 0) ||
    freeMemory(b) - freeMemory(a) ||
    freeCpu(b) - freeCpu(a) ||
    (a.id < b.id ? -1 : 1)
  );
}

const freeMemory = (host: Candidate): number => host.capacity.memory_bytes - host.reserved.memory_bytes;
const freeCpu = (host: Candidate): number => host.capacity.cpu_millis - host.reserved.cpu_millis;

/** Why the host can never run it, whatever its load; null when it could. */
function suits(host: Candidate, need: Need): string | null {
  if (!host.runtimes.some(({ runtime }) => runtime === need.runtime)) return `has no ${need.runtime} runtime`;
  const missing = Object.entries(need.labels).find(([key, value]) => host.labels[key] !== value);
  return missing ? `lacks the label ${missing[0]}=${missing[1]}` : null;
}

function obstacle(host: Candidate, need: Need, refused: Readonly<Record<string, string>>): string | null {
  if (host.status !== "ready") return `is ${host.status}`;
  if (host.scheduling !== "open") return `is ${host.scheduling}`;
  const unsuited = suits(host, need);
  if (unsuited !== null) return unsuited;
  const refusal = refused[host.id];
  if (refusal !== undefined) return refusal;
  if (freeMemory(host) < need.memory_bytes)
    return `has ${formatBytes(Math.max(0, freeMemory(host)))} of memory free of ${formatBytes(need.memory_bytes)} needed`;
  if (freeCpu(host) < need.cpu_millis) return `has ${freeCpu(host)}m of CPU free of ${need.cpu_millis}m needed`;
  return null;
}

function explain(
  obstacles: { host: Candidate; obstacle: string | null }[],
  need: Need,
  impossible: boolean,
  kin: Candidate[],
): string {
  if (obstacles.length === 0) return "no host has joined yet: `lamplighter host join-token` makes a token for one";
  if (impossible) {
    const largest = Math.max(...kin.map((host) => host.capacity.memory_bytes));
    return `needs ${formatBytes(need.memory_bytes)} of memory; the largest host that could run it has ${formatBytes(largest)} in all`;
  }
  const told = obstacles.slice(0, 5).map(({ host, obstacle }) => `${host.name} ${obstacle}`);
  const rest = obstacles.length - told.length;
  return `no host fits: ${told.join("; ")}${rest > 0 ? `; and ${rest} more` : ""}`;
}
