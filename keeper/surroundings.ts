import type { Counters } from "./counters.ts";
import type { Gate } from "./gate.ts";
import type { RetentionPolicy } from "./retention.ts";
import type { ObjectStore } from "./store/object-store.ts";

/** What all databases of a keeper share. */
export type Surroundings = {
  name: string;
  dataDir: string;
  store: ObjectStore;
  retention: RetentionPolicy;
  /** How often the beginning of a segment that is not full goes to the object store. */
  tailEveryMs: number;
  backups: Gate;
  shipments: Gate;
  now: () => number;
  /** When this keeper was started, by the clock that is never set. */
  startedAt: number;
  counters: Counters;
  log: (line: string) => void;
};
