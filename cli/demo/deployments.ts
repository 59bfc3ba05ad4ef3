import type { DeploymentView } from "../../contract/deployment.ts";
import type { HostView } from "../../contract/host.ts";
import type { WebhookAttempt, WebhookCreated } from "../../contract/webhook-endpoint.ts";
import type { LogLine } from "../../contract/workload.ts";
import { Failure } from "../failure.ts";
import { declarations } from "../manifest/deployments.ts";
import { Source } from "../manifest/source.ts";
import { underLoad } from "./load.ts";
import { isGone, type Scene } from "./scene.ts";
import type { Stage } from "./stage.ts";
import { seconds } from "./story.ts";

type Greeting = { version: string; pid: number };

/** What has been deployed, and the processes that ever answered. */
export type Deployed = { views: readonly DeploymentView[]; pids: ReadonlySet<number> };

/** Processes that are kept running and replaced without a failed request. */
export async function deployments({ story, stage, signal, show, within }: Scene): Promise<Deployed> {
  const seen = new Set<number>();
  const greet = async (address: string): Promise<Greeting> => {
    const response = await fetch(`http://${address}/`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(5000)]),
    });
    const greeting = (await response.json()) as Greeting;
    seen.add(greeting.pid);
    return greeting;
  };
  const greetAll = async (view: DeploymentView, version: string): Promise<Greeting[]> => {
    const greetings = await Promise.all(
      addresses(view).map((address) =>
        within(
          5000,
          () => `${address} does not answer`,
          () => greet(address).catch(() => null),
        ),
      ),
    );
    const wrong = greetings.find((one) => one.version !== version);
    if (greetings.length !== 2 || wrong !== undefined)
      throw new Failure(`expected version ${version} at 2 addresses, got ${JSON.stringify(greetings)}`);
    return greetings;
  };
  const reach = (
    id: string,
    status: string,
    ms: number,
    more: (view: DeploymentView) => boolean = () => true,
  ): Promise<DeploymentView> => {
    let last = "unknown";
    return within(
      ms,
      () => `expected ${status}, but it is ${last}`,
      async () => {
        const view = await read(stage, id);
        last = `${view.status}: ${view.message}`;
        return view.status === status && more(view) ? view : null;
      },
    );
  };

  const receiver = await story.stepFor("A webhook is made, and a ping comes", async () => {
    const receiver = await stage.startReceiver();
    const body = { url: receiver.url, events: ["deployment.status_changed"] };
    const made = JSON.parse((await stage.api.post("/webhooks", { body })).text) as WebhookCreated;
    receiver.secret = made.secret;
    const ping = JSON.parse((await stage.api.post(`/webhooks/${made.id}/ping`)).text) as WebhookAttempt;
    if (ping.outcome !== "delivered" || receiver.told[0]?.type !== "webhook.ping")
      throw new Failure(`the ping did not come: ${ping.error ?? receiver.faults.join()}`);
    const held = `${receiver.url} is told of every change, signed as Standard Webhooks has it; the ping took ${ping.latency_ms} ms`;
    return { held, value: receiver };
  });

  let pids: number[] = [];
  let [web, job] = await story.stepFor(
    "A manifest is applied: a worker with 2 replicas, and a job",
    async (tellMore) => {
      const text = manifest(stage, "1");
      show(text);
      const [worker, counter] = (await apply(stage, text)) as [DeploymentView, DeploymentView];
      tellMore("waiting for the worker");
      const running = await reach(worker.id, "running", 20_000);
      const value: [DeploymentView, DeploymentView] = [running, counter];
      return { held: `${running.name} is running at ${addresses(running).join(" and ")}`, value };
    },
  );

  await story.step("Both replicas answer HTTP requests", async () => {
    const greetings = await greetAll(web, "1");
    pids = greetings.map((one) => one.pid);
    if (new Set(pids).size !== 2) throw new Failure(`expected 2 processes, got ${pids.join(", ")}`);
    return `version 1, from processes ${pids.join(" and ")}`;
  });

  await story.step("The job completes, and its log is kept", async () => {
    job = await reach(job.id, "completed", 20_000);
    const lines = await within(
      5000,
      () => "its log has no sum",
      async () => {
        const log = JSON.parse((await stage.api.get(`/deployments/${job.id}/logs`)).text) as LogLine[];
        return log.some((line) => line.message === "the sum is 500000500000") ? log : null;
      },
    );
    return `it wrote: ${lines.map((line) => `“${line.message}”`).join(", ")}`;
  });

  await story.step("A replica is killed, and comes back", async () => {
    const [victim, other] = pids as [number, number];
    const before = web.instances.map((one) => one.id);
    process.kill(victim, "SIGKILL");
    const at = performance.now();
    const noticed = await within(
      10_000,
      () => "the death was not noticed",
      async () => ((await read(stage, web.id)).restart_count === 1 ? performance.now() - at : null),
    );
    web = await reach(
      web.id,
      "running",
      20_000,
      (view) => addresses(view).length === 2 && view.instances.some((one) => !before.includes(one.id)),
    );
    const greetings = await greetAll(web, "1");
    const fresh = greetings.map((one) => one.pid).filter((pid) => !pids.includes(pid));
    if (fresh.length !== 1 || !greetings.some((one) => one.pid === other))
      throw new Failure(`expected one new process beside ${other}, got ${JSON.stringify(greetings)}`);
    if (web.restart_count !== 1) throw new Failure(`expected restart_count 1, got ${web.restart_count}`);
    pids = greetings.map((one) => one.pid);
    return `process ${victim} died, seen after ${seconds(noticed)}; ${fresh[0]} answers in its place, ${other} never stopped, restart_count is 1`;
  });

  await story.step("Each change has come by webhook, its signature verified", async () => {
    const whole = await within(
      5000,
      () => `told so far: ${JSON.stringify(receiver.told)}; faults: ${receiver.faults.join()}`,
      async () => {
        const chains = [web, job].map(({ id }) => receiver.statusesOf(id));
        return chains[0]?.at(-1) === "running" && chains[1]?.at(-1) === "completed" ? chains : null;
      },
    );
    if (receiver.faults.length > 0) throw new Failure(receiver.faults.join());
    const changes = receiver.told.filter(({ type }) => type !== "webhook.ping");
    const fastest = Math.min(...changes.map(({ afterMs }) => afterMs));
    return `${whole.map((chain) => chain?.join(" → ")).join("; ")}: each once, in order, the fastest ${fastest} ms after it happened`;
  });

  await story.step("A rolling update under load: no request fails", async (tellMore) => {
    const old = web;
    const { served, failed } = await underLoad(
      async () => (await versions(stage, web.name)).flatMap(addresses),
      signal,
      async () => {
        [web] = (await apply(stage, manifest(stage, "2"))) as [DeploymentView];
        if (web.parent_id !== old.id)
          throw new Failure(`expected it to take over from ${old.id}, got ${web.parent_id}`);
        tellMore("the new version gets ready");
        web = await reach(web.id, "running", 20_000, (view) => view.rollout === undefined);
        await within(
          20_000,
          () => `${old.id} is still there`,
          async () => ((await isGone(stage, `/deployments/${old.id}`)) ? true : null),
        );
      },
    );
    if (failed.length > 0)
      throw new Failure(`${failed.length} of ${served + failed.length} requests failed`, {
        details: failed.slice(0, 5),
      });
    const greetings = await greetAll(web, "2");
    pids = greetings.map((one) => one.pid);
    return `${served} requests, all answered; version 2, from processes ${pids.join(" and ")}; version 1 is gone`;
  });

  await story.step("The control plane is killed (-9); the worker does not notice", async (tellMore) => {
    const killed = stage.plane.child;
    const readHost = async () => (JSON.parse((await stage.api.get("/hosts")).text) as [HostView])[0];
    const before = await readHost();
    killed.kill("SIGKILL");
    await killed.exited;
    tellMore("asking the worker meanwhile");
    const during = await greetAll(web, "2");
    await stage.startControlPlane();
    const back = await read(stage, web.id);
    if (back.status !== "running" || back.revision < web.revision)
      throw new Failure(`expected ${web.id} running as before, got ${back.status}`);
    // Its status alone says nothing: it was ready before, and until its agent is back nobody has looked.
    await within(
      20_000,
      () => "the host is not ready again",
      async () => {
        const host = await readHost();
        return host.status === "ready" && host.event_cursor > before.event_cursor ? host : null;
      },
    );
    const after = await greetAll(await reach(web.id, "running", 10_000), "2");
    for (const greetings of [during, after]) {
      if (greetings.some((one) => !pids.includes(one.pid)))
        throw new Failure(`a replica was restarted: expected ${pids.join(", ")}, got ${JSON.stringify(greetings)}`);
    }
    return `both replicas answered while it was down; it is back with its state, and no replica was restarted`;
  });

  return { views: [web, job], pids: seen };
}

function manifest(stage: Stage, version: string): string {
  const { node, greeter, counter } = stage.programs;
  const job = `  counter:
    name: counter
    kind: job
    runtime: process
    command: [${node}, ${counter}]
    environment: { COUNT_TO: "1000000" }
`;
  return `deployments:
  web:
    name: web
    runtime: process
    replicas: 2
    command: [${node}, ${greeter}]
    environment: { VERSION: "${version}" }
    ports: [{ target: 80 }]
    health_checks:
      - { type: http, url: "http://localhost:80/", interval: 200ms, timeout: 2s, readiness: true, min_healthy_time: 200ms, on_failure: restart }
${version === "1" ? job : ""}`;
}

async function apply(stage: Stage, text: string): Promise<DeploymentView[]> {
  const { deployments } = declarations([new Source("demo.yaml", text, () => undefined)]);
  const views: DeploymentView[] = [];
  for (const { body } of deployments)
    views.push(JSON.parse((await stage.api.post("/deployments", { body })).text) as DeploymentView);
  return views;
}

/** Where those of its instances answer that are ready. */
const addresses = (view: DeploymentView): string[] =>
  view.instances.flatMap(({ phase, ready, ports }) =>
    phase === "running" && ready !== false ? (ports ?? []).map(({ published }) => `127.0.0.1:${published}`) : [],
  );

/** All versions of a name that are there now. */
async function versions(stage: Stage, name: string): Promise<DeploymentView[]> {
  const views = JSON.parse((await stage.api.get("/deployments")).text) as DeploymentView[];
  return views.filter((view) => view.name === name && view.status !== "deleted");
}

async function read(stage: Stage, id: string): Promise<DeploymentView> {
  return JSON.parse((await stage.api.get(`/deployments/${id}`)).text) as DeploymentView;
}
