import type { HealthResult, Usage } from "../contract/health.ts";
import type { Observation } from "../contract/workload.ts";
import { type Remote, remote } from "./remote.ts";

/** What every kind of object that owns workloads hears of them from their hosts. */
type Owner = Rpc.DurableObjectBranded & {
  observe(hostId: string, reports: { slot: number; generation: number; observation: Observation }[]): void;
  probed(hostId: string, results: HealthResult[]): void;
  used(hostId: string, usages: Usage[]): void;
  evict(
    hostId: string,
    why: "host_lost" | "host_draining" | "host_removed",
    slots: { slot: number; generation: number }[],
  ): void;
  capacityChanged(): void;
};
type Owners = Pick<Env, "DEPLOYMENT" | "INSTANCE" | "CONNECTION">;

/** The owner of a workload; its id says of which kind it is. */
export function ownerOf(env: Owners, id: string): Remote<Owner> {
  const kind = id.slice(0, id.indexOf("_"));
  if (kind === "inst") return remote(env.INSTANCE, id);
  if (kind === "conn") return remote(env.CONNECTION, id);
  return remote(env.DEPLOYMENT, id);
}
