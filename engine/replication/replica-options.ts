import type { Shape } from "../shape/shape.ts";
import type { Source } from "../source/source.ts";
import type { Store } from "../store/table.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { MemoryLimit } from "./memory.ts";

export type ReplicaOptions = {
  shape: Shape;
  source: Source;
  createStore: () => Store;
  memory: MemoryLimit;
  intervalMs: number;
  safetyNetMs: number | null;
  checkpoint: { at: Checkpoint; everyMs: number } | null;
  /** The source is now here and now there, and sleeps in between: `sourceIs` says so. */
  moves: boolean;
  log: (level: "debug" | "info" | "warn" | "error", text: string) => void;
};
