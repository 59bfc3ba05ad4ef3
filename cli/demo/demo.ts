import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { JournalEvent } from "../../contract/event.ts";
import type { HostView } from "../../contract/host.ts";
import { Failure } from "../failure.ts";
import type { Surroundings } from "../session.ts";
import { oneLine } from "../terminal.ts";
import { database, databaseOutlivesDisk } from "./databases.ts";
import { deployments } from "./deployments.ts";
import { instance } from "./instances.ts";
import { isGone, type Scene } from "./scene.ts";
import { Stage, until } from "./stage.ts";
import { Story, seconds } from "./story.ts";

/** The main job of Lamplighter, on real parts: each step is checked from outside, by HTTP requests, process ids and signals. */
export async function demo({ terminal, interrupt }: Surroundings, keep: boolean): Promise<void> {
  const { signal } = interrupt;
  const { color, out } = terminal;
  const started = performance.now();
  const story = new Story(terminal, signal);
  const stage = new Stage(signal);
  interrupt.aftermath = "The demo has put everything away.";
  story.evidence = async () => [...(await journalTail(stage)), ...stage.logTails()];
  out(`${color.bold("Lamplighter demo")} ${color.dim(`in ${stage.folder}`)}\n\n`);
  try {
    const show = (text: string) => out(`${color.dim(text.replaceAll(/^/gm, "    ").trimEnd())}\n`);
    const within: Scene["within"] = (ms, missing, ask) => until(signal, ms, missing, ask);
    await tell({ story, stage, signal, show, within });
  } finally {
    await stage.clear(keep);
  }
  out(`\n${story.summary()}\n`);
  out(`${color.green("Everything held.")} ${seconds(performance.now() - started)} in all. Now try: npm start\n`);
}

async function tell(scene: Scene): Promise<void> {
  const { story, stage, within } = scene;

  await story.step("The control plane starts", async () => {
    const { url, child } = await stage.startControlPlane();
    return `workerd answers at ${url} (process ${child.pid})`;
  });

  await story.step("A host joins", async (tellMore) => {
    const agent = await stage.startAgent("demo-host");
    const ended = agent.exited.then((how) => how);
    let state = "it has not joined";
    const host = await within(
      20_000,
      () => `the host is not ready: ${state}`,
      async () => {
        if ((await Promise.race([ended, sleep(0, null)])) !== null) throw new Failure("the agent has ended");
        const [one] = JSON.parse((await stage.api.get("/hosts")).text) as HostView[];
        state = one === undefined ? state : `${one.status}, ${one.message}`;
        tellMore(state);
        return one?.status === "ready" ? one : null;
      },
    );
    if (!host.runtimes.some(({ runtime }) => runtime === "postgres"))
      throw new Failure("the host has no PostgreSQL: its agent's log says why");
    return `${host.name} is ready, over a tunnel that its agent opened (process ${agent.pid})`;
  });

  await story.step("A keeper and a gateway start", async () => {
    const { address, keeper, gateway } = await stage.startDatabases();
    return `databases are connected to at ${address} (process ${gateway.pid}); their commits are kept by process ${keeper.pid}`;
  });

  story.chapter("A database that is awake only while it is used");
  const shop = await database(scene);

  story.chapter("A read engine compiled from its schema");
  const reader = await instance(scene, shop);

  story.chapter("Processes, jobs and updates");
  const deployed = await deployments(scene);

  story.chapter("The end");
  await databaseOutlivesDisk(scene, shop, reader);

  await story.step("Everything is deleted, and no program is left", async (tellMore) => {
    tellMore("the instance is terminated");
    await reader.terminate(tellMore);
    const made = [`/instances/${reader.id}`, `/databases/${shop.id}`];
    const paths = [...made, ...deployed.views.map(({ id }) => `/deployments/${id}`)];
    for (const path of paths) await stage.api.delete(path);
    for (const path of paths) {
      tellMore(path);
      await within(
        20_000,
        () => `${path} is still there`,
        async () => ((await isGone(stage, path)) ? true : null),
      );
    }
    const left = () => [
      ...[...stage.workloadProcesses(), ...stage.programsOf(reader.id), ...stage.postgresOf(shop.id)].map(
        (one) => `${one.pid} ${one.command}`,
      ),
      ...[...deployed.pids].filter(isAlive).map(String),
    ];
    await within(
      5000,
      () => `processes are left: ${left().join("; ")}`,
      async () => (left().length === 0 ? true : null),
    );
    if (existsSync(stage.databaseFolder(shop.id))) throw new Failure("the database's folder is left");
    return `no deployment, no instance, no database, and none of the ${deployed.pids.size} processes that ever answered`;
  });

  await story.step("Gateway, agent, keeper and control plane stop, and no process is left", async () => {
    await stage.stop();
    const left = () => stage.allProcesses().map(({ pid, command }) => `${pid} ${command}`);
    await within(
      5000,
      () => `processes are left: ${left().join("; ")}`,
      async () => (left().length === 0 ? true : null),
    );
    return "each ended when asked to, and took everything with it";
  });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** The last events of everything that was made. */
async function journalTail(stage: Stage): Promise<string[]> {
  const tails = await Promise.all(
    ["/deployments", "/databases", "/instances"].map(async (path) => {
      const views = JSON.parse((await stage.api.get(path)).text) as { id: string; name: string }[];
      return Promise.all(views.map(({ id, name }) => eventsOf(stage, `${path}/${id}/events`, name)));
    }),
  );
  return tails.flat(2);
}

async function eventsOf(stage: Stage, path: string, name: string): Promise<string[]> {
  const events = JSON.parse((await stage.api.get(path, { query: { limit: 6 } })).text) as JournalEvent[];
  return events.reverse().map((event) => `${name}: ${event.level} ${event.reason}: ${oneLine(event.message)}`);
}
