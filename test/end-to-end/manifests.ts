import { testImage } from "../docker-image.ts";
import type { ManifestBody } from "./client.ts";
import type { Cluster } from "./cluster.ts";

export type TestRuntime = "process" | "docker";

/** Programs that both runtimes can run. One that sleeps is ended by SIGTERM at once, also where it is the container's first process. */
export const SLEEPS = "trap exit TERM; sleep 100000 & wait";

export function worker(
  cluster: Cluster,
  runtime: TestRuntime,
  name: string,
  more: Record<string, unknown> = {},
): ManifestBody {
  return { ...base(cluster, runtime, name), command: ["/bin/sh", "-c", SLEEPS], ...more };
}

/** A job that leaves a mark when it starts, so that a second run would be seen. */
export function job(cluster: Cluster, runtime: TestRuntime, name: string, code: number, seconds = 0.3): ManifestBody {
  const marks = runtime === "docker" ? "/marks" : cluster.marks;
  return {
    ...base(cluster, runtime, name),
    kind: "job",
    command: ["/bin/sh", "-c", `echo ran >> ${marks}/${name}; sleep ${seconds}; exit ${code}`],
    ...(runtime === "docker" ? { volumes: [{ type: "bind", source: cluster.marks, destination: "/marks" }] } : {}),
  };
}

function base(cluster: Cluster, runtime: TestRuntime, name: string): ManifestBody {
  return {
    name,
    namespace: cluster.namespace,
    runtime,
    stop_timeout: "2s",
    ...(runtime === "docker" ? { image: testImage, config: { image_pull_policy: "Never" } } : {}),
  };
}
