import { z } from "zod";

/** The sizes that a database's writer can have. */
export const ProfileName = z.enum(["L1", "L2", "L3", "L4", "L5"]);
export type ProfileName = z.infer<typeof ProfileName>;

export type Profile = { cpu_millis: number; memory_bytes: number; max_connections: number };

const GiB = 1024 ** 3;

/** What each size gets of a host, and how many connections its clients may have open to the writer. */
export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  L1: { cpu_millis: 1_000, memory_bytes: 1 * GiB, max_connections: 100 },
  L2: { cpu_millis: 2_000, memory_bytes: 4 * GiB, max_connections: 200 },
  L3: { cpu_millis: 4_000, memory_bytes: 8 * GiB, max_connections: 400 },
  L4: { cpu_millis: 8_000, memory_bytes: 16 * GiB, max_connections: 800 },
  L5: { cpu_millis: 16_000, memory_bytes: 32 * GiB, max_connections: 1_600 },
};

const MiB = 1024 ** 2;

/** PostgreSQL's own parameters that follow from a size. Published: see docs/design/writers.md. */
export function profileParameters(name: ProfileName): Record<string, string> {
  const { cpu_millis, memory_bytes, max_connections } = PROFILES[name];
  const cpus = Math.max(1, Math.floor(cpu_millis / 1000));
  // A quarter is what PostgreSQL's manual starts from; beyond 4 GiB every start would wait for it to be mapped.
  const shared = Math.min(memory_bytes / 4, 4 * GiB);
  // Half of the rest, if every fourth connection sorts at the same time.
  const work = Math.max(4 * MiB, ((memory_bytes - shared) / 2 / max_connections) * 4);
  return {
    max_connections: String(max_connections),
    shared_buffers: megabytes(shared),
    effective_cache_size: megabytes((memory_bytes * 3) / 4),
    work_mem: megabytes(work),
    maintenance_work_mem: megabytes(Math.min(memory_bytes / 16, 1 * GiB)),
    max_worker_processes: String(cpus + 8),
    max_parallel_workers: String(cpus),
    max_parallel_workers_per_gather: String(Math.max(0, Math.min(4, Math.floor(cpus / 2)))),
    max_parallel_maintenance_workers: String(Math.max(0, Math.min(4, Math.floor(cpus / 2)))),
    max_wal_size: megabytes(Math.max(256 * MiB, Math.min(memory_bytes / 4, 4 * GiB))),
  };
}

const megabytes = (bytes: number): string => `${Math.floor(bytes / MiB)}MB`;
