import { instanceId } from "../../contract/id.ts";
import type { InstanceStats } from "../../contract/workload.ts";
import { Gate } from "../gate.ts";
import { type Engine, engineError } from "./engine.ts";
import type { Instance } from "./roster.ts";

/** The engine's answer, as far as it is read; Podman leaves parts out. */
export type RawStats = {
  read: string;
  cpu_stats?: { cpu_usage?: { total_usage?: number } };
  memory_stats?: { usage?: number; limit?: number; stats?: Record<string, number> };
  networks?: Record<string, { rx_bytes?: number; tx_bytes?: number; rx_packets?: number; tx_packets?: number }> | null;
  blkio_stats?: { io_service_bytes_recursive?: { op: string; value: number }[] | null };
  pids_stats?: { current?: number; limit?: number };
};

/** CPU time used up to a moment, ns and ms. */
export type CpuMark = { used: number; at: number };

export const cpuMark = (raw: RawStats): CpuMark => ({
  used: raw.cpu_stats?.cpu_usage?.total_usage ?? 0,
  at: Date.parse(raw.read),
});

/** Of one core, between two marks; 0 when they are not apart. */
export function cpuPercent(before: CpuMark, after: CpuMark): number {
  const elapsed = (after.at - before.at) * 1e6;
  if (!(elapsed > 0) || after.used < before.used) return 0;
  return Math.round(((after.used - before.used) / elapsed) * 10_000) / 100;
}

/** The page cache that the kernel would give back counts as free, as `docker stats` counts it (cgroup version 1, then 2). */
function memoryInUse({ usage = 0, stats = {} }: NonNullable<RawStats["memory_stats"]>): number {
  const cache = stats.total_inactive_file ?? stats.inactive_file ?? 0;
  return cache < usage ? usage - cache : usage;
}

export function instanceStats(
  instance: Pick<Instance, "id" | "generation" | "name">,
  raw: RawStats,
  cpu: number,
): InstanceStats {
  const usage = memoryInUse(raw.memory_stats ?? {});
  const limit = raw.memory_stats?.limit ?? 0;
  const network = { rx_bytes: 0, tx_bytes: 0, rx_packets: 0, tx_packets: 0 };
  for (const card of Object.values(raw.networks ?? {})) {
    network.rx_bytes += card.rx_bytes ?? 0;
    network.tx_bytes += card.tx_bytes ?? 0;
    network.rx_packets += card.rx_packets ?? 0;
    network.tx_packets += card.tx_packets ?? 0;
  }
  const moved = (op: string): number =>
    (raw.blkio_stats?.io_service_bytes_recursive ?? []).reduce(
      (sum, it) => sum + (it.op.toLowerCase() === op ? it.value : 0),
      0,
    );
  const pids = raw.pids_stats ?? {};
  return {
    instance_id: instanceId(instance.id, instance.generation),
    instance_name: instance.name,
    cpu_usage_percent: cpu,
    memory: {
      usage_bytes: usage,
      limit_bytes: limit,
      usage_percent: limit > 0 ? Math.round((usage / limit) * 10_000) / 100 : 0,
    },
    network,
    disk_io: { read_bytes: moved("read"), write_bytes: moved("write") },
    // "No limit" comes as nothing, as 0, or as the largest number.
    pids: { current: pids.current ?? 0, limit: Number.isSafeInteger(pids.limit) ? (pids.limit as number) : 0 },
  };
}

/** Marks closer than this say too little, and older ones say too little about now. */
const NEAREST_MS = 200;
const OLDEST_MS = 60_000;
const READS_AT_ONCE = 32;

/**
 * Reads the use of instances. CPU is what was used since the last reading of that instance when there is a recent one, so that a reading does not
 * have to wait; else it takes two readings a little apart.
 */
export class Meter {
  readonly #engine: () => Engine;
  /** By reader and container. */
  readonly #marks = new Map<string, CpuMark>();

  constructor(engine: () => Engine) {
    this.#engine = engine;
  }

  async read(instances: Instance[], reader: string): Promise<InstanceStats[]> {
    const now = Date.now();
    for (const [key, mark] of this.#marks) if (now - mark.at > OLDEST_MS) this.#marks.delete(key);
    const gate = new Gate(READS_AT_ONCE);
    const read = await Promise.all(instances.map((instance) => gate.pass(() => this.#one(instance, reader))));
    return read.filter((it) => it !== null);
  }

  async #one(instance: Instance, reader: string): Promise<InstanceStats | null> {
    const key = `${reader} ${instance.containerId}`;
    try {
      let raw = await this.#sample(instance.containerId);
      let before = this.#marks.get(key);
      if (!before || cpuMark(raw).at - before.at < NEAREST_MS) {
        before = cpuMark(raw);
        await new Promise((resolve) => setTimeout(resolve, NEAREST_MS));
        raw = await this.#sample(instance.containerId);
      }
      const after = cpuMark(raw);
      this.#marks.set(key, after);
      return instanceStats(instance, raw, cpuPercent(before, after));
    } catch (error) {
      // It ended, or was removed, between the question and the answer.
      if (engineError(error).status !== null) return null;
      throw error;
    }
  }

  async #sample(containerId: string): Promise<RawStats> {
    const options: { stream: false; "one-shot": boolean } = { stream: false, "one-shot": true };
    const answer = await this.#engine().call("stats", (docker) => docker.getContainer(containerId).stats(options));
    return answer as unknown as RawStats;
  }
}
