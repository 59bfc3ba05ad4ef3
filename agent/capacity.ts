import { availableParallelism, totalmem } from "node:os";
import type { HostCapacity } from "../contract/host.ts";

const MIB = 1024 ** 2;

/** What workloads may reserve on a machine: all cores, and all memory but a reserve for the system (5 %, at least 256 MiB). */
export function capacityOf(memoryBytes: number, cores: number): HostCapacity {
  const reserve = Math.max(256 * MIB, Math.ceil(memoryBytes * 0.05));
  return { memory_bytes: Math.max(0, memoryBytes - reserve), cpu_millis: cores * 1000 };
}

/** The capacity of this machine, or of the container that the agent itself is limited to. */
export function ownCapacity(): HostCapacity {
  const constrained = process.constrainedMemory();
  const total = totalmem();
  return capacityOf(constrained > 0 && constrained < total ? constrained : total, availableParallelism());
}
