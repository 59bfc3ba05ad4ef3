import { spawn } from "node:child_process";
import type Docker from "dockerode";
import type { DeploymentView } from "../contract/deployment.ts";
import type { LogLine } from "../contract/workload.ts";
import { type ContainerSite, containerManifest, containerSite, removeDeployment } from "./containers.ts";
import { distribution } from "./distribution.ts";
import { atMost, type Figure, type Line, type Outcome, type Setting } from "./figure.ts";
import { Site } from "./site.ts";

const MOST_MS = 20;
const HEARD_WITHIN_MS = 15_000;

export const deathToStatus: Figure = {
  name: "death-to-status",
  about: "a job is killed until its status `failed` comes over an open event stream",
  measure: async (setting) => {
    const processes = await processLine(setting);
    const containers = await containerLines(setting);
    if ("leftOut" in containers) setting.say(`containers left out: ${containers.leftOut}`);
    return [...("leftOut" in containers ? [] : containers), processes];
  },
};

async function containerLines(setting: Setting): Promise<Outcome> {
  const scene = await containerSite(setting);
  if (typeof scene === "string") return { leftOut: scene };
  const { engine } = scene;
  const viaEngine = await deaths(setting, scene, "e", (id) => engine.getContainer(id).kill());
  const lines = [...viaEngine.lines("container killed through the engine")];
  // What the engine did not ask for itself, it knows less of: the kernel may have done it for want of memory.
  if (process.platform === "linux" && process.getuid?.() === 0) {
    const fromOutside = await deaths(setting, scene, "o", async (id) => {
      process.kill((await engine.getContainer(id).inspect()).State.Pid, "SIGKILL");
    });
    lines.push(...fromOutside.lines("container killed by SIGKILL from the host"));
  }
  return lines;
}

async function deaths(
  { quick }: Setting,
  { site, engine, namespace }: ContainerSite,
  prefix: string,
  kill: (containerId: string) => Promise<void>,
) {
  const afterEvent: number[] = [];
  const afterKill: number[] = [];
  for (let round = 0; round < (quick ? 3 : 40); round++) {
    const id = await running(site, { ...containerManifest(namespace, `${prefix}-${round}`), kind: "job" });
    const [found] = await engine.listContainers({ filters: { label: [`lamplighter.owner=${id}`] } });
    if (found === undefined) throw new Error(`no container of ${id}`);
    const died = await engineEvent(engine, found.Id);
    const failed = await statusFailed(site, id);
    const killed = performance.now();
    await kill(found.Id);
    const at = await failed();
    afterEvent.push(at - (await died()));
    afterKill.push(at - killed);
    await removeDeployment(site, id);
  }
  const ours = distribution(afterEvent);
  return {
    lines: (what: string): Line[] => [
      { what: `${what}: die event → status`, unit: "ms", ours, goal: atMost(MOST_MS, "ms p50", ours.p50) },
      { what: `${what}: kill → status`, unit: "ms", ours: distribution(afterKill) },
    ],
  };
}

async function processLine(setting: Setting): Promise<Line> {
  const site = await Site.start(setting.after);
  await site.startAgent(["process"], setting.after);
  const ours: number[] = [];
  const bare: number[] = [];
  for (let round = 0; round < (setting.quick ? 3 : 40); round++) {
    const command = ["/bin/sh", "-c", "echo $$; exec sleep 1000"];
    const id = await running(site, {
      name: `k-${round}`,
      kind: "job",
      runtime: "process",
      command,
      stop_timeout: "1s",
    });
    const pid = await toldPid(site, id);
    const failed = await statusFailed(site, id);
    const killed = performance.now();
    process.kill(pid, "SIGKILL");
    ours.push((await failed()) - killed);
    await removeDeployment(site, id);
    bare.push(await bareDeath());
  }
  const times = distribution(ours);
  const alone = { what: "SIGKILL → the parent's exit event", ...distribution(bare) };
  return {
    what: "process: SIGKILL → status",
    unit: "ms",
    ours: times,
    bare: alone,
    ratio: times.p50 / alone.p50,
    goal: atMost(MOST_MS, "ms p50", times.p50),
  };
}

async function running({ client }: Site, body: unknown): Promise<string> {
  const { id } = await client.json<DeploymentView>("POST", "/deployments", { body });
  const { status, message } = await client.json<DeploymentView>("GET", `/deployments/${id}?wait=running&timeout=60s`);
  if (status !== "running") throw new Error(`${id} is ${status}: ${message}`);
  return id;
}

/** Resolves when the stream is open, with a promise of when the status came. */
async function statusFailed({ client }: Site, id: string): Promise<() => Promise<number>> {
  const { event_cursor } = await client.json<DeploymentView>("GET", `/deployments/${id}`);
  const came = Promise.withResolvers<number>();
  const late = setTimeout(() => came.reject(new Error(`the end of ${id} was not told`)), HEARD_WITHIN_MS);
  const stream = await client.follow(`/deployments/${id}/events`, event_cursor, (event, at) => {
    if (event.new_status !== "failed") return;
    clearTimeout(late);
    stream.close();
    came.resolve(at);
  });
  return () => came.promise;
}

/** An ear of our own at the engine: resolves when it listens, with a promise of when the death was heard. */
async function engineEvent(engine: Docker, containerId: string): Promise<() => Promise<number>> {
  const stream = (await engine.getEvents({
    filters: { container: [containerId], event: ["die"] },
  })) as NodeJS.ReadableStream & { destroy(): void };
  const heard = new Promise<number>((done) => {
    stream.once("data", () => {
      done(performance.now());
      stream.destroy();
    });
  });
  stream.on("error", () => {});
  return () => heard;
}

/** The process's own number, which it writes as its first line. */
async function toldPid({ client }: Site, id: string): Promise<number> {
  for (;;) {
    const lines = await client.json<LogLine[]>("GET", `/deployments/${id}/logs`);
    const pid = Number(lines[0]?.message);
    if (pid > 0) return pid;
  }
}

function bareDeath(): Promise<number> {
  return new Promise((done, fail) => {
    const child = spawn("/bin/sh", ["-c", "echo $$; exec sleep 1000"], {
      detached: true,
      stdio: ["ignore", "pipe", "ignore"],
    });
    child.on("error", fail);
    child.stdout.once("data", () => {
      const from = performance.now();
      child.once("exit", () => done(performance.now() - from));
      child.kill("SIGKILL");
    });
  });
}
