import type { Build } from "../../contract/build.ts";
import type { InstanceIdentity, InstanceSpec, InstanceState } from "../../contract/instance.ts";
import type { EngineVitals } from "../../contract/instance-report.ts";
import type { Routing } from "./route.ts";

/** An InstanceObject's row, and what it keeps beside it. */
export type InstanceRecord = {
  identity: InstanceIdentity;
  spec: InstanceSpec;
  state: InstanceState;
  revision: number;
  updated_at: number;
  deleted: boolean;
  builds: Build[];
  image: string | null;
  /** Names of keys that open nothing, as they do not fit the build that serves. */
  unusable_keys: string[];
  /** The last that the engine wrote that failed last. */
  failed_engine: FailedEngine | null;
  vitals: Vitals | null;
  route: Routing;
};

export type FailedEngine = { generation: number; build_id: string | null; at: number; log: string[] };

/** What the engine that serves last said of itself, and when it was last known to be busy: kept beside the state, and no part of its revision. */
export type Vitals = { generation: number; body: EngineVitals; at: number; busy_at: number | null };
