import { spawn } from "node:child_process";
import type Docker from "dockerode";
import { creation } from "../agent/docker/creation.ts";
import type { DeploymentView } from "../contract/deployment.ts";
import { Manifest, workloadSpec } from "../contract/manifest.ts";
import type { WorkloadSpec } from "../contract/workload.ts";
import { containerManifest, containerSite, removeDeployment } from "./containers.ts";
import { distribution } from "./distribution.ts";
import { compared, type Figure, type Line, type Outcome, type Setting } from "./figure.ts";
import { Site } from "./site.ts";

const MOST = 1.3;
const SCRIPT = "echo up; exec sleep 1000";

export const createToRunning: Figure = {
  name: "create-to-running",
  about: "POST /deployments until GET ?wait=running answers, over the same done by hand",
  measure: async (setting) => {
    const processes = await processLine(setting);
    const containers = await containerLine(setting);
    if ("leftOut" in containers) setting.say(`containers left out: ${containers.leftOut}`);
    return [...("leftOut" in containers ? [] : containers), processes];
  },
};

async function containerLine(setting: Setting): Promise<Outcome> {
  const scene = await containerSite(setting);
  if (typeof scene === "string") return { leftOut: scene };
  const { site, host, engine, namespace } = scene;
  const spec = workloadSpec(Manifest.parse(containerManifest(namespace, "bare")));
  const rounds = await inTurn(setting, setting.quick ? 3 : 40, {
    ours: (i) => deployed(site, containerManifest(namespace, `c-${i}`)),
    bare: (i) => bareContainer(engine, spec, host.id, i),
  });
  return [
    compared(
      "container: POST → running",
      "ms",
      rounds.ours,
      { what: "Engine API create + start + inspect", ...rounds.bare },
      MOST,
    ),
  ];
}

async function processLine(setting: Setting): Promise<Line> {
  const site = await Site.start(setting.after);
  await site.startAgent(["process"], setting.after);
  const manifest = (i: number) => ({
    name: `p-${i}`,
    runtime: "process",
    command: ["/bin/sh", "-c", SCRIPT],
    stop_timeout: "1s",
  });
  const rounds = await inTurn(setting, setting.quick ? 5 : 60, {
    ours: (i) => deployed(site, manifest(i)),
    bare: bareProcess,
  });
  return compared("process: POST → running", "ms", rounds.ours, {
    what: "spawn until its first output",
    ...rounds.bare,
  });
}

type Timed = { ms: number; remove: () => Promise<void> };

/** One after the other, which of them first changing each time; the first two rounds are not counted. */
async function inTurn(
  { say }: Setting,
  n: number,
  sides: { ours: (round: number) => Promise<Timed>; bare: (round: number) => Promise<Timed> },
) {
  const times = { ours: [] as number[], bare: [] as number[] };
  for (let round = -2; round < n; round++) {
    for (const side of round % 2 === 0 ? (["ours", "bare"] as const) : (["bare", "ours"] as const)) {
      const { ms, remove } = await sides[side](round + 2);
      if (round >= 0) times[side].push(ms);
      await remove();
    }
  }
  say(`${n} rounds of each, in turn`);
  return { ours: distribution(times.ours), bare: distribution(times.bare) };
}

async function deployed(site: Site, body: unknown): Promise<Timed> {
  const { client } = site;
  const from = performance.now();
  const { id } = await client.json<DeploymentView>("POST", "/deployments", { body });
  const { status, message } = await client.json<DeploymentView>("GET", `/deployments/${id}?wait=running&timeout=60s`);
  const ms = performance.now() - from;
  if (status !== "running") throw new Error(`${id} is ${status}: ${message}`);
  return { ms, remove: () => removeDeployment(site, id) };
}

async function bareContainer(engine: Docker, spec: WorkloadSpec, hostId: string, round: number): Promise<Timed> {
  // Exactly what the agent would ask for, but of no host: the agent takes it for a stranger's.
  const workload = { id: `bare-${round}`, generation: 1, owner: "bare", want: "running" as const, spec };
  const options = creation(workload, { hostId: `not-${hostId}`, runtime: "docker", init: true });
  const from = performance.now();
  const container = await engine.createContainer(options);
  await container.start();
  const { State } = await container.inspect();
  const ms = performance.now() - from;
  if (!State.Running) throw new Error(`the bare container is ${State.Status}`);
  return { ms, remove: () => container.remove({ force: true }) };
}

function bareProcess(): Promise<Timed> {
  return new Promise((done, fail) => {
    const from = performance.now();
    const child = spawn("/bin/sh", ["-c", SCRIPT], { detached: true, stdio: ["ignore", "pipe", "ignore"] });
    child.on("error", fail);
    child.stdout.once("data", () => {
      const ms = performance.now() - from;
      const ended = new Promise<void>((gone) => child.once("exit", () => gone()));
      done({
        ms,
        remove: () => {
          child.kill("SIGKILL");
          return ended;
        },
      });
    });
  });
}
