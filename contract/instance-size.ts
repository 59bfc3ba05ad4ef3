import { z } from "zod";

export const INSTANCE_SIZES = ["nano", "small", "medium", "large", "xlarge", "2xlarge"] as const;
export const InstanceSize = z.enum(INSTANCE_SIZES);
export type InstanceSize = z.infer<typeof InstanceSize>;

const MiB = 1024 ** 2;

/** What an engine of each size gets: CPU in thousandths of a core, which is reserved, and memory, which it cannot go beyond. */
export const SIZE = {
  nano: { cpu_millis: 250, memory_bytes: 512 * MiB },
  small: { cpu_millis: 500, memory_bytes: 1024 * MiB },
  medium: { cpu_millis: 1000, memory_bytes: 2048 * MiB },
  large: { cpu_millis: 2000, memory_bytes: 8192 * MiB },
  xlarge: { cpu_millis: 4000, memory_bytes: 16_384 * MiB },
  "2xlarge": { cpu_millis: 8000, memory_bytes: 32_768 * MiB },
} as const satisfies Record<InstanceSize, { cpu_millis: number; memory_bytes: number }>;

/** Of a size's memory, what rows may take: the rest is for V8, for what streams hold, and for the program beside the engine. */
export const rowsBytes = (size: InstanceSize): number =>
  Math.round(Math.min(SIZE[size].memory_bytes - 128 * MiB, SIZE[size].memory_bytes * 0.9));

/** The smallest size for a source of so many bytes: while all of it is read anew, an engine has its rows twice. Null: there is none. */
export const sizeFor = (bytes: number): InstanceSize | null =>
  INSTANCE_SIZES.find((size) => rowsBytes(size) >= 2 * bytes) ?? null;

/** CPU and memory as the source's documents count them: 1024 units a core, and MiB. */
export const taskOf = (size: InstanceSize): { taskCpu: number; taskMemoryMb: number } => ({
  taskCpu: Math.round((SIZE[size].cpu_millis * 1024) / 1000),
  taskMemoryMb: SIZE[size].memory_bytes / MiB,
});
