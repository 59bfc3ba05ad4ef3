import { z } from "zod";
import type { DeploymentView } from "../../contract/deployment.ts";
import { DeploymentId } from "../../contract/id.ts";
import type { Reply } from "../../contract/problem.ts";
import { InstanceStats } from "../../contract/workload.ts";
import { remote } from "../../objects/remote.ts";
import { jsonText } from "../answer.ts";
import { unwrap } from "../problem.ts";
import { type Ask, route } from "../route.ts";
import { call } from "../stub.ts";
import { HOST_ANSWERS_IN_MS, within } from "../within.ts";
import { deploymentStub } from "./deployments.ts";

const DeploymentMetrics = z.object({
  deployment_id: z.string(),
  deployment_name: z.string(),
  instance_count: z.int(),
  total_cpu_usage_percent: z.number().describe("Of one core"),
  total_memory: InstanceStats.shape.memory,
  total_network: InstanceStats.shape.network,
  total_disk_io: InstanceStats.shape.disk_io,
  total_pids: z.number(),
  instances: z.array(InstanceStats.extend({ restart_count: z.int() })),
  unavailable: z
    .array(z.object({ host_id: z.string(), instances: z.array(z.string()), reason: z.string() }))
    .describe("What could not be measured, and why"),
});
type DeploymentMetrics = z.infer<typeof DeploymentMetrics>;

const EXAMPLE: DeploymentMetrics = {
  deployment_id: "dep_01k9j5w0n3x7m2c4v8b6z1q5rt",
  deployment_name: "web",
  instance_count: 1,
  total_cpu_usage_percent: 1.2,
  total_memory: { usage_bytes: 7340032, limit_bytes: 134217728, usage_percent: 5.47 },
  total_network: { rx_bytes: 1204, tx_bytes: 980, rx_packets: 12, tx_packets: 9 },
  total_disk_io: { read_bytes: 0, write_bytes: 4096 },
  total_pids: 3,
  instances: [],
  unavailable: [],
};

export const DEPLOYMENT_METRICS = [
  route({
    method: "GET",
    path: "/deployments/:id/metrics",
    access: "deployments:read",
    group: "Deployments",
    summary: "What its instances use now",
    description:
      "Read from the hosts at this moment. A host that does not answer within 5 s is named in `unavailable`, and what runs there is missing in the sums.",
    params: { id: DeploymentId },
    answers: { 200: { description: "The measurements", schema: DeploymentMetrics, example: EXAMPLE } },
    handle: async (ask) => jsonText(JSON.stringify(await measure(ask))),
  }),
];

type Measured = { stats: InstanceStats[]; unavailable: DeploymentMetrics["unavailable"] };

async function measure(ask: Ask): Promise<DeploymentMetrics> {
  const { namespaces } = ask.principal;
  const [read, where] = await Promise.all([
    call(deploymentStub(ask), (deployment) => deployment.read(namespaces)),
    call(deploymentStub(ask), (deployment) => deployment.running(namespaces)),
  ]);
  const { id, name, restart_count, instances: shown } = JSON.parse(unwrap(read).body) as DeploymentView;
  const up = new Set(shown.filter(({ phase }) => phase === "running").map((instance) => instance.id));
  const byHost = Map.groupBy(
    unwrap(where).filter(({ instance_id }) => up.has(instance_id)),
    ({ host_id }) => host_id,
  );
  const parts = await Promise.all([...byHost].map(([hostId, instances]) => measureHost(ask.env, hostId, instances)));
  const stats = parts.flatMap((part) => part.stats);
  const sum = (read: (stats: InstanceStats) => number) => stats.reduce((total, one) => total + read(one), 0);
  const memory = { usage_bytes: sum((s) => s.memory.usage_bytes), limit_bytes: sum((s) => s.memory.limit_bytes) };
  return {
    deployment_id: id,
    deployment_name: name,
    instance_count: stats.length,
    total_cpu_usage_percent: sum((s) => s.cpu_usage_percent),
    total_memory: {
      ...memory,
      usage_percent: memory.limit_bytes > 0 ? (memory.usage_bytes / memory.limit_bytes) * 100 : 0,
    },
    total_network: {
      rx_bytes: sum((s) => s.network.rx_bytes),
      tx_bytes: sum((s) => s.network.tx_bytes),
      rx_packets: sum((s) => s.network.rx_packets),
      tx_packets: sum((s) => s.network.tx_packets),
    },
    total_disk_io: { read_bytes: sum((s) => s.disk_io.read_bytes), write_bytes: sum((s) => s.disk_io.write_bytes) },
    total_pids: sum((s) => s.pids.current),
    instances: stats.map((one) => ({ ...one, restart_count })),
    unavailable: parts.flatMap((part) => part.unavailable),
  };
}

async function measureHost(
  env: Env,
  hostId: string,
  instances: { workload_id: string; instance_id: string }[],
): Promise<Measured> {
  const missing = (reason: string): Measured => ({
    stats: [],
    unavailable: [{ host_id: hostId, instances: instances.map(({ instance_id }) => instance_id), reason }],
  });
  try {
    const question = { verb: "stats" as const, workload_ids: instances.map(({ workload_id }) => workload_id) };
    const answer = await within(
      HOST_ANSWERS_IN_MS,
      call(
        () => remote(env.HOST, hostId),
        (host): Promise<Reply<string>> => host.ask(question),
      ),
    );
    return answer.ok
      ? { stats: JSON.parse(answer.value) as InstanceStats[], unavailable: [] }
      : missing(answer.refusal.detail);
  } catch (error) {
    return missing(error instanceof Error ? error.message : String(error));
  }
}
