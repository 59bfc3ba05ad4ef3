import type { Instance } from "../../contract/deployment.ts";
import { workloadId } from "../../contract/id.ts";
import { workloadSpec } from "../../contract/manifest.ts";
import type { Workload } from "../../contract/workload.ts";
import { remote } from "../remote.ts";
import { askAfter, eachHost, lookForRoom, withdraw } from "../workload-host.ts";
import type { Event } from "./decide.ts";
import type { LetterKey } from "./letters.ts";
import type { DeploymentRecord } from "./record.ts";
import { lacksReferences, resolveReferences } from "./resolve.ts";
import { conclude, handOver, tellParents, tellSuccessor } from "./rollout-delivery.ts";

/** What a letter needs of its object: the present state, and a way to tell what came of it. */
export type Sender = {
  env: Pick<Env, "INDEX" | "HOST" | "DEPLOYMENT" | "NAMESPACE">;
  load: () => DeploymentRecord | null;
  apply: (event: Event) => void;
};

/** Says the present truth about one subject. Throws when the other side could not be reached; it is then tried again. */
export async function deliver(key: LetterKey, sender: Sender): Promise<void> {
  const record = sender.load();
  if (!record) return;
  switch (key) {
    case "place":
      return place(record, sender);
    case "offer":
      return offer(record, sender);
    case "ask":
      return ask(record, sender);
    case "withdraw":
      return withdrawLeaving(record, sender);
    case "probe":
      return probe(record, sender);
    case "parents":
      return tellParents(record, sender);
    case "successor":
      return tellSuccessor(record, sender);
    case "hand_over":
      return handOver(record, sender);
    case "conclude":
      return conclude(record, sender);
    default:
      return remote(sender.env.DEPLOYMENT, key.slice("retire ".length)).retire(record.identity.id);
  }
}

async function place(record: DeploymentRecord, sender: Sender): Promise<void> {
  const placing = (present: DeploymentRecord | null) =>
    present?.state.instances.some((instance) => instance.phase === "placing" && !instance.unresolved) ?? false;
  if (!placing(record) || (await lacksReferences(record, sender))) return;
  await lookForRoom(
    sender.env,
    record.identity.id,
    (hosts) => sender.apply({ type: "hosts", hosts }),
    () => !placing(sender.load()),
  );
}

async function offer(record: DeploymentRecord, sender: Sender): Promise<void> {
  const offered = record.state.instances.filter((instance) => instance.phase === "offered");
  const fill = offered.length > 0 ? await resolveReferences(record, offered, sender) : null;
  if (fill === null) return;
  await eachHost(offered, async (host_id, instances) => {
    const workloads = instances.map((instance) => fill(workloadOf(record, instance)));
    const host = remote(sender.env.HOST, host_id);
    const answers = await host.assign(workloads);
    // What it was sent with may be behind by now, and the letter that says so ahead of it.
    const isBehind = workloads.some(({ probing }) => probing === "readiness") && sender.load()?.state.established;
    if (isBehind) await host.probing(record.identity.id, workloads, "all");
    sender.apply({
      type: "answered",
      host_id,
      answers: instances.map(({ slot, generation }, i) => ({
        slot,
        generation,
        ...(answers[i] ?? { accepted: false, message: "gave no answer" }),
      })),
    });
  });
}

async function ask({ identity, state }: DeploymentRecord, { env, apply }: Sender): Promise<void> {
  const starting = state.instances.filter((instance) => instance.phase === "starting");
  await askAfter(env, identity.id, starting, (host_id, reports) => apply({ type: "observed", host_id, reports }));
}

/** From now on liveness is to be checked too. */
async function probe(record: DeploymentRecord, sender: Sender): Promise<void> {
  const { id, manifest } = record.identity;
  if (!record.state.established || manifest.health_checks.every(({ readiness }) => readiness)) return;
  const housed = record.state.instances.filter((i) => i.phase === "starting" || i.phase === "running");
  await eachHost(housed, (host_id, instances) =>
    remote(sender.env.HOST, host_id).probing(
      id,
      instances.map(({ slot, generation }) => ({ id: workloadId(id, slot), generation })),
      "all",
    ),
  );
}

async function withdrawLeaving({ identity, state }: DeploymentRecord, { env, apply }: Sender): Promise<void> {
  const going = state.leaving.filter(({ serving }) => !serving);
  await withdraw(env, identity.id, going, (host_id, reports) => apply({ type: "observed", host_id, reports }));
}

function workloadOf({ identity, state }: DeploymentRecord, instance: Instance): Workload {
  return {
    id: workloadId(identity.id, instance.slot),
    generation: instance.generation,
    owner: identity.id,
    want: "running",
    ...(identity.manifest.health_checks.length > 0 ? { probing: state.established ? "all" : "readiness" } : {}),
    spec: workloadSpec(identity.manifest),
  };
}
