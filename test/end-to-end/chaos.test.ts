import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { DeploymentView } from "../../contract/deployment.ts";
import { random } from "../random.ts";
import { rounds } from "../rounds.ts";
import type { ManifestBody } from "./client.ts";
import { Cluster, docker } from "./cluster.ts";
import { type Expected, keysOf, settled, watchForDoubles } from "./invariants.ts";
import { job, type TestRuntime, worker } from "./manifests.ts";
import type { Live } from "./world.ts";

const ROUNDS = rounds(8);
const SEED = Number(process.env.LAMPLIGHTER_SEED ?? Math.floor(Math.random() * 1e9));
const MOST_DEPLOYMENTS = 8;

const OPERATIONS = ["create", "update", "delete"] as const;
const VICTIMS = ["control plane", "agent", "both"] as const;
type Victim = (typeof VICTIMS)[number];

/** What was asked for under a name, and what must come of it. */
type Wanted = Expected & { manifest: ManifestBody; runtime: TestRuntime; kind: "worker" | "job"; code: number };

let cluster: Cluster;
const wanted = new Map<string, Wanted>();
let live = new Map<string, Live[]>();
let count = 0;
let rnd = random(SEED);

beforeAll(async () => {
  console.log(`LAMPLIGHTER_SEED=${SEED} LAMPLIGHTER_CHAOS_ROUNDS=${ROUNDS} replays these choices`);
  // One host per transport, so that each is killed in the middle of everything.
  cluster = await Cluster.start([{ name: "tunnel-host" }, { name: "call-host", transport: "call" }], { docker });
});
afterAll(() => cluster?.close());

describe("kill -9 in the middle of one operation", () => {
  const cases = OPERATIONS.flatMap((operation) => VICTIMS.map((victim) => [operation, victim] as const));
  test.each(cases)("of a %s, of the %s", async (operation, victim) => {
    rnd = random(SEED + cases.findIndex((one) => one[0] === operation && one[1] === victim) + 1);
    if (operation !== "create") {
      for (const runtime of cluster.runtimes) await createWorker(runtime, 2);
      await settle();
    }
    const targets = [...wanted.values()].filter(({ kind }) => kind === "worker").map(({ name }) => name);
    const operations = cluster.runtimes.map((runtime, i) => {
      if (operation === "create") return () => createWorker(runtime, 2);
      const name = targets[i] as string;
      return operation === "update" ? () => update(name) : () => remove(name);
    });
    await underFire(operations, victim);
    for (const name of [...wanted.keys()]) await remove(name);
    await settle();
  });
});

test(`${ROUNDS} rounds of random operations, with a kill -9 in the middle of each`, {
  timeout: 60_000 + ROUNDS * 30_000,
}, async () => {
  for (let round = 1; round <= ROUNDS; round++) {
    rnd = random(SEED + 1000 * round);
    const started = Date.now();
    const operations = choose();
    const victim = rnd.pick(VICTIMS);
    const told = operations.map(({ name }) => name).join(", ");
    try {
      await underFire(
        operations.map(({ run }) => run),
        victim,
      );
    } catch (error) {
      throw new Error(
        `round ${round} (${told}; kill ${victim}; LAMPLIGHTER_SEED=${SEED}): ${(error as Error).message}`,
        { cause: error },
      );
    }
    console.log(`round ${round}: ${told}; kill ${victim}; ${Date.now() - started} ms`);
  }
  for (const name of [...wanted.keys()]) await remove(name);
  await settle();
  const world = await cluster.world();
  expect(world).toMatchObject({ live: [], remains: [], shims: [] });
});

/** Runs the operations at random moments, kills the victim at another, brings it back later, and waits until everything is as it should be. */
async function underFire(operations: (() => Promise<void>)[], victim: Victim): Promise<void> {
  const before = live;
  const untouched = new Map([...wanted].map(([name, { id }]) => [name, id]));
  const doubles = watchForDoubles(cluster);
  const delays = operations.map(() => rnd.int(150));
  const [killAt, pause] = [rnd.int(350), rnd.int(600)];
  const agent = rnd.pick(cluster.names);
  await cluster.noteBoots();
  const running = operations.map((run, i) => sleep(delays[i]).then(run));
  await sleep(killAt);
  await Promise.all([
    victim !== "agent" && cluster.killPlane(),
    victim !== "control plane" && cluster.killAgent(agent),
  ]);
  await sleep(pause);
  // Which of the two comes back first is a matter of chance too.
  const back = [
    async () => victim !== "agent" && cluster.startPlane(),
    async () => {
      if (victim !== "control plane") cluster.startAgent(agent);
    },
  ];
  for (const start of rnd.chance(0.5) ? back : back.reverse()) await start();
  for (const name of cluster.names) if (victim === "control plane" || name !== agent) cluster.forgetBoot(name);
  await Promise.all(running);
  for (const name of cluster.names) await cluster.ready(name);
  await settle();
  expect(await doubles.stop(), "workloads that lived twice").toEqual([]);
  for (const [name, id] of untouched) {
    const now = wanted.get(name);
    if (now?.id !== id) continue;
    const [was, is] = [keysOf(before.get(id)), keysOf(live.get(id))];
    const kept = was.filter((key) => is.includes(key));
    expect(kept.length, `${name} (${id}): ${was} became ${is}`).toBe(was.length - (killed.get(id) ?? 0));
  }
  killed.clear();
}

async function settle(): Promise<void> {
  live = await settled(cluster, [...wanted.values()]);
  for (const { name, kind } of wanted.values()) if (kind === "job") expect(runsOf(name), `${name} ran once`).toBe(1);
}

const runsOf = (name: string): number => {
  const path = join(cluster.marks, name);
  return existsSync(path) ? readFileSync(path, "utf8").trim().split("\n").length : 0;
};

type Operation = { name: string; run: () => Promise<void> };
/** How many instances of a deployment were killed in this round. */
const killed = new Map<string, number>();

/** Some operations, each on another deployment. */
function choose(): Operation[] {
  const free = [...wanted.values()];
  const take = (fits: (one: Wanted) => boolean): Wanted | undefined => {
    const fitting = free.filter(fits);
    const one = fitting.length > 0 ? rnd.pick(fitting) : undefined;
    if (one) free.splice(free.indexOf(one), 1);
    return one;
  };
  const operations: Operation[] = [];
  for (let left = 2 + rnd.int(4); left > 0; left--) {
    const runtime = rnd.pick(cluster.runtimes);
    const what =
      wanted.size + operations.length < 3
        ? "create"
        : rnd.pick(["create", "job", "update", "again", "delete", "delete", "kill", "kill"] as const);
    const isWorker = ({ kind }: Wanted) => kind === "worker";
    if (what === "create" || what === "job") {
      if (wanted.size + operations.length >= MOST_DEPLOYMENTS) continue;
      const [replicas, code, seconds] = [1 + rnd.int(3), rnd.pick([0, 0, 3]), rnd.pick([0, 0.3])];
      if (what === "create")
        operations.push({ name: `create ${replicas} on ${runtime}`, run: () => createWorker(runtime, replicas) });
      else
        operations.push({ name: `job that exits ${code} on ${runtime}`, run: () => createJob(runtime, code, seconds) });
      continue;
    }
    const one = take(
      what === "delete" ? () => true : what === "kill" ? (each) => isWorker(each) && each.restarts < 4 : isWorker,
    );
    if (one === undefined) continue;
    const { name, id } = one;
    const run = {
      update: () => update(name),
      again: () => again(name),
      delete: () => remove(name),
      kill: async () => {
        const victims = live.get(id) ?? [];
        const victim = victims[rnd.int(victims.length)];
        if (victim === undefined) throw new Error(`${name} has no instance to kill`);
        await cluster.killInstance(victim);
        killed.set(id, 1);
        one.restarts++;
      },
    }[what];
    operations.push({ name: `${what} ${name}`, run });
  }
  return operations;
}

async function createWorker(runtime: TestRuntime, replicas: number): Promise<void> {
  const name = `worker-${++count}`;
  const manifest = worker(cluster, runtime, name, { replicas });
  const { id } = await cluster.client.apply(manifest);
  wanted.set(name, { name, id, manifest, runtime, kind: "worker", code: 0, status: "running", replicas, restarts: 0 });
}

async function createJob(runtime: TestRuntime, code: number, seconds: number): Promise<void> {
  const name = `job-${++count}`;
  const manifest = job(cluster, runtime, name, code, seconds);
  const { id } = await cluster.client.apply(manifest);
  wanted.set(name, {
    name,
    id,
    manifest,
    runtime,
    kind: "job",
    code,
    status: code === 0 ? "completed" : "failed",
    replicas: 1,
    restarts: 0,
  });
}

async function update(name: string): Promise<void> {
  const one = wanted.get(name) as Wanted;
  const manifest = { ...one.manifest, environment: { CHANGE: String(++count) } };
  const view: DeploymentView = await cluster.client.apply(manifest);
  expect(view.replaces).toBe(one.id);
  wanted.set(name, { ...one, manifest, id: view.id, restarts: 0 });
}

async function again(name: string): Promise<void> {
  const one = wanted.get(name) as Wanted;
  const view = await cluster.client.apply(one.manifest);
  expect(view.id, `${name}, applied again unchanged`).toBe(one.id);
  one.restarts = 0;
}

async function remove(name: string): Promise<void> {
  const one = wanted.get(name) as Wanted;
  await cluster.client.delete(one.id);
  wanted.delete(name);
}
