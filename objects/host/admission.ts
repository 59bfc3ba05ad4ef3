import type { HostCapacity, HostRuntime, HostStatus, Scheduling } from "../../contract/host.ts";
import { formatBytes } from "../../contract/quantity.ts";
import type { WorkloadSpec } from "../../contract/workload.ts";

/** What the host's own books say when a workload asks to be taken. */
export type Books = {
  status: HostStatus;
  scheduling: Scheduling;
  runtimes: readonly HostRuntime[];
  capacity: HostCapacity;
  /** Without what the same workload's older generation holds. */
  reserved: HostCapacity;
  /** The workload that holds a published port ("8080/tcp"), if any. */
  holderOf: (port: string) => string | null;
};

const KNOWN_TO_COME_BACK: readonly HostStatus[] = ["syncing", "unreachable"];

/** Why the host does not take it, as a sentence that goes behind the host's name; null when it does. */
export function obstacle(spec: WorkloadSpec, books: Books): string | null {
  const isRoute = spec.runtime === "proxy";
  // A route goes where its engine is, whatever else is not to come there, and its host is told when it is back.
  if (books.status !== "ready" && !(isRoute && KNOWN_TO_COME_BACK.includes(books.status))) return `is ${books.status}`;
  const isBeside = (spec.route?.target ?? spec.route?.loading) != null;
  const isNeeded = isRoute && (isBeside || books.scheduling === "cordoned");
  if (books.scheduling !== "open" && !isNeeded) return `is ${books.scheduling}`;
  if (!books.runtimes.some(({ runtime }) => runtime === spec.runtime)) return `has no ${spec.runtime} runtime`;
  const memory = books.capacity.memory_bytes - books.reserved.memory_bytes;
  if (spec.memory_reserved_bytes > memory)
    return `has ${formatBytes(Math.max(0, memory))} of memory free of ${formatBytes(spec.memory_reserved_bytes)} needed`;
  const cpu = books.capacity.cpu_millis - books.reserved.cpu_millis;
  if (spec.cpu_reserved_millis > cpu)
    return `has ${Math.max(0, cpu)}m of CPU free of ${spec.cpu_reserved_millis}m needed`;
  for (const port of portsOf(spec)) {
    const holder = books.holderOf(port);
    if (holder !== null) return `has port ${port} in use by ${holder}`;
  }
  return null;
}

/** The host ports that a workload publishes, as "8080/tcp". */
export const portsOf = (spec: WorkloadSpec): string[] =>
  spec.ports.flatMap(({ published, protocol }) => (published == null ? [] : [`${published}/${protocol}`]));
