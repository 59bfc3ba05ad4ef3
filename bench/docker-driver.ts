// What the docker driver costs over the bare engine: `apply` (create, start, inspect) against dockerode's create and start of the same container, in
// turn, in one run. And how soon after the engine's own event an exit is told. `node bench/docker-driver.ts [docker|podman] [n] [socket]`
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Docker from "dockerode";
import { creation } from "../agent/docker/creation.ts";
import { dockerDriver } from "../agent/docker/driver.ts";
import { ulid, workloadId } from "../contract/id.ts";
import type { Observation, Workload } from "../contract/workload.ts";
import { ensureTestImage } from "../test/docker-image.ts";

const [runtime = "docker", count = "40", socketPath = "/var/run/docker.sock"] = process.argv.slice(2) as [
  "docker" | "podman",
  string,
  string,
];
const tail = randomBytes(4).toString("hex");
const [hostId, namespace] = [`host_${tail}`, `bench-${tail}`];
const stateDir = mkdtempSync(join(tmpdir(), "lamplighter-bench-"));
const image = await ensureTestImage(socketPath);
const engine = new Docker({ socketPath });
const driver = dockerDriver({ runtime, hostId, socketPath, stateDir });
const seen: Observation[] = [];
await driver.start((observation) => seen.push(observation));
const never = new AbortController().signal;

function workload(command: string[]): Workload {
  const owner = `dep_${ulid(Date.now())}`;
  const none = { registry: null, working_dir: null, environment: {}, labels: {}, ports: [], mounts: [] };
  const limits = {
    cpu_limit_millis: null,
    memory_limit_bytes: null,
    cpu_reserved_millis: 0,
    memory_reserved_bytes: 0,
    stop_timeout_ms: 0,
  };
  const user = { id: null, group: null, privileged: false };
  const spec = {
    ...none,
    ...limits,
    user,
    runtime,
    namespace,
    image,
    command,
    name: "bench",
    kind: "worker",
    image_pull_policy: "IfNotPresent",
    network: "bridge",
  } as const;
  return { id: workloadId(owner, 0), generation: 1, owner, want: "running", spec };
}

const at = (sorted: number[], p: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? Number.NaN;
const sort = (values: number[]): number[] => values.toSorted((a, b) => a - b);

const warm = workload(["sleep", "1000"]);
await driver.apply(warm, never);
const bare: number[] = [];
const applied: number[] = [];
const lags: number[] = [];
for (let round = 0; round < Number(count); round++) {
  const raw = async () => {
    const it = workload(["sleep", "1000"]);
    const begun = performance.now();
    const container = await engine.createContainer(creation(it, { hostId: `${hostId}-bare`, runtime, init: true }));
    await container.start();
    bare.push(performance.now() - begun);
    await container.remove({ force: true });
  };
  const ours = async () => {
    const it = workload(["sleep", "1000"]);
    const begun = performance.now();
    const answer = await driver.apply(it, never);
    applied.push(performance.now() - begun);
    if (answer.phase !== "running") throw new Error(JSON.stringify(answer));
    await driver.remove(it.id, 1, 0);
  };
  for (const run of round % 2 ? [raw, ours] : [ours, raw]) await run();
}
for (let round = 0; round < Number(count) / 2; round++) {
  const it = workload(["sh", "-c", "sleep 0.1; exit 1"]);
  await driver.apply(it, never);
  let exit: Observation | undefined;
  while (!exit) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    exit = seen.find((one) => one.id === it.id && one.phase === "exited");
  }
  if (exit.phase === "exited") lags.push(exit.at - exit.exit.at);
  await driver.remove(it.id, 1, 0);
}
await driver.remove(warm.id, 1, 0);
await driver.close();
await engine.getNetwork(`lamplighter_${namespace}`).remove();
rmSync(stateDir, { recursive: true, force: true });

const [a, b, l] = [sort(applied), sort(bare), sort(lags)];
const ms = (value: number): string => `${value.toFixed(1)} ms`;
console.log(`${runtime}: n=${a.length}`);
console.log(`bare create+start  p50 ${ms(at(b, 0.5))}  p99 ${ms(at(b, 0.99))}`);
console.log(`apply              p50 ${ms(at(a, 0.5))}  p99 ${ms(at(a, 0.99))}`);
console.log(
  `ratio              p50 ${(at(a, 0.5) / at(b, 0.5)).toFixed(3)}  p99 ${(at(a, 0.99) / at(b, 0.99)).toFixed(3)}`,
);
console.log(`engine's event to exited told  n=${l.length}  p50 ${ms(at(l, 0.5))}  p99 ${ms(at(l, 0.99))}`);
