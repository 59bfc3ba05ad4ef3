import type { HostView } from "../../contract/host.ts";

/** What of a host decides about whether something fits on it. */
export type Room = Pick<
  HostView,
  "status" | "scheduling" | "capacity" | "reserved" | "runtimes" | "labels" | "workloads"
>;

const isSchedulable = (host: Room): boolean => host.status === "ready" && host.scheduling === "open";

/** Whether something that fitted on no host may fit on this one now. A host that only became fuller helps nobody. */
export function helps(before: Room | null, now: Room): boolean {
  if (!isSchedulable(now)) return false;
  if (before === null || !isSchedulable(before)) return true;
  return (
    now.capacity.memory_bytes - now.reserved.memory_bytes >
      before.capacity.memory_bytes - before.reserved.memory_bytes ||
    now.capacity.cpu_millis - now.reserved.cpu_millis > before.capacity.cpu_millis - before.reserved.cpu_millis ||
    now.workloads < before.workloads ||
    now.runtimes.some(({ runtime }) => !before.runtimes.some((other) => other.runtime === runtime)) ||
    JSON.stringify(Object.entries(now.labels).sort()) !== JSON.stringify(Object.entries(before.labels).sort())
  );
}
