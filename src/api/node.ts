import { z } from "zod";
import type { HostView } from "../../contract/host.ts";
import { HostId } from "../../contract/id.ts";
import { HostNode, type Node } from "../../contract/node.ts";
import { CLUSTER_SHARD } from "../../objects/projection.ts";
import { remote } from "../../objects/remote.ts";
import { jsonText } from "../answer.ts";
import { fail, unwrap } from "../problem.ts";
import { route } from "../route.ts";
import { call } from "../stub.ts";
import { HOST_ANSWERS_IN_MS, within } from "../within.ts";

export const NODE = [
  route({
    method: "GET",
    path: "/node/get",
    access: "deployments:read",
    group: "Hosts",
    summary: "A host's machine as it is now",
    description:
      "Ring has one machine; here, without `host`, it is the oldest host that is ready. The host's agent is asked at this moment.",
    query: z.object({ host: HostId.optional().describe("Which host") }),
    answers: {
      200: {
        description: "The machine",
        schema: HostNode,
        example: {
          hostname: "lamp-1",
          os: "Debian GNU/Linux 12 (bookworm)",
          arch: "x86_64",
          uptime: "86400s",
          cpu_count: 8,
          memory_total: 31.2,
          memory_available: 20.1,
          load_average: [0.1, 0.2, 0.3],
          host_id: "host_01k9j4v0a1b2c3d4e5f6g7h8j9",
          host_name: "lamp-1",
        },
      },
    },
    problems: ["host_unavailable", "not_found"],
    handle: async (ask) => {
      const bodies = await call(
        () => remote(ask.env.INDEX, CLUSTER_SHARD),
        (index) => index.hosts(),
      );
      const hosts = bodies.map((body) => JSON.parse(body) as HostView);
      const { host: wanted } = ask.query;
      const host = hosts.find(({ id, status }) => (wanted === undefined ? status === "ready" : id === wanted));
      if (host === undefined && wanted !== undefined) fail("not_found", `There is no host ${wanted}.`);
      if (host === undefined) fail("host_unavailable", "No host is ready.");
      const node = JSON.parse(await machineOf(ask.env, host.id)) as Node;
      return jsonText(JSON.stringify({ ...node, host_id: host.id, host_name: host.name }));
    },
  }),
];

async function machineOf(env: Env, hostId: string): Promise<string> {
  const asked = call(
    () => remote(env.HOST, hostId),
    (host) => host.ask({ verb: "node" }),
  );
  const reply = await within(HOST_ANSWERS_IN_MS, asked).catch(() =>
    fail("host_unavailable", `The host ${hostId} does not answer.`),
  );
  return unwrap(reply);
}
