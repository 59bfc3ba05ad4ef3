import { workloadId } from "../contract/id.ts";
import type { Observation } from "../contract/workload.ts";
import type { Candidate } from "./deployment/placement.ts";
import { CLUSTER_SHARD } from "./projection.ts";
import { remote } from "./remote.ts";

/** What every kind of object that owns workloads asks of hosts. */

type Placed = { slot: number; generation: number; host_id: string };
type Told = (hostId: string, reports: { slot: number; generation: number; observation: Observation }[]) => void;

/** Every host, for placement to choose from. */
export async function candidates(env: Pick<Env, "INDEX">): Promise<Candidate[]> {
  return (await remote(env.INDEX, CLUSTER_SHARD).hosts()).map((body) => JSON.parse(body) as Candidate);
}

/** Looks at hosts; when none has room, the owner is told as soon as some may have. */
export async function lookForRoom(
  env: Pick<Env, "INDEX">,
  owner: string,
  look: (hosts: Candidate[]) => void,
  isFound: () => boolean,
): Promise<void> {
  look(await candidates(env));
  if (isFound()) return;
  // Room that came between the look and the registration is seen by the second look; later room is told.
  await remote(env.INDEX, CLUSTER_SHARD).awaitCapacity(owner);
  look(await candidates(env));
}

/** What hosts know of workloads of which nothing was heard for long. */
export const askAfter = (env: Pick<Env, "HOST">, owner: string, placed: readonly Placed[], told: Told): Promise<void> =>
  eachHost(placed, async (hostId, workloads) => {
    const known = await remote(env.HOST, hostId).recheck(workloads.map(({ slot }) => workloadId(owner, slot)));
    const reports = workloads.flatMap(({ slot, generation }, i) => {
      const observation = known[i];
      return observation?.generation === generation ? [{ slot, generation, observation }] : [];
    });
    if (reports.length > 0) told(hostId, reports);
  });

/** Has workloads removed. Told at once is what is gone already. */
export const withdraw = (
  env: Pick<Env, "HOST">,
  owner: string,
  leaving: readonly Placed[],
  told: Told,
): Promise<void> =>
  eachHost(leaving, async (hostId, placed) => {
    const workloads = placed.map(({ slot, generation }) => ({ id: workloadId(owner, slot), generation }));
    const answers = await remote(env.HOST, hostId).withdraw(owner, workloads);
    const at = Date.now();
    const reports = placed.flatMap(({ slot, generation }, i) =>
      answers[i] === "gone"
        ? [{ slot, generation, observation: { phase: "gone" as const, id: workloadId(owner, slot), generation, at } }]
        : [],
    );
    if (reports.length > 0) told(hostId, reports);
  });

/** Asks each host once, all at the same time; one that fails does not keep the answers of the others from being used. */
export async function eachHost<T extends { host_id: string }>(
  items: readonly T[],
  ask: (hostId: string, items: T[]) => Promise<void>,
): Promise<void> {
  const groups = Map.groupBy(items, ({ host_id }) => host_id);
  const outcomes = await Promise.allSettled([...groups].map(([hostId, group]) => ask(hostId, group)));
  const failed = outcomes.find((outcome) => outcome.status === "rejected");
  if (failed) throw failed.reason;
}
