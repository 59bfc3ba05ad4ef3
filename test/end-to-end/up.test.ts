import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Docker from "dockerode";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { PROJECT } from "../../cli/up/bundle.ts";
import { leftovers } from "../../cli/up/leftovers.ts";
import type { DeploymentView } from "../../contract/deployment.ts";
import type { HostView } from "../../contract/host.ts";
import { ensureTestImage, testImage } from "../docker-image.ts";
import { freePort } from "../free-port.ts";
import { Client, until } from "./client.ts";
import { docker } from "./cluster.ts";
import { keysOf } from "./invariants.ts";
import { type Live, type Site, sweep, world } from "./world.ts";

const folder = mkdtempSync(join(tmpdir(), "lamplighter-up-"));
const data = join(folder, "data");
const agentDir = join(data, "agent");
const site: Site = { name: "local", dataDir: agentDir };
const engine = docker.available ? new Docker({ socketPath: docker.path }) : null;
const namespace = `up${process.pid}`;

let port = 0;
let up: { child: ChildProcess; output: () => string; exited: Promise<number | null> };
let client: Client;
const deployed: DeploymentView[] = [];
let before: Live[] = [];

/** `lamplighter up`, as a user starts it. */
function run(): typeof up {
  const runtime = engine ? "process,docker" : "process";
  const child = spawn(
    process.execPath,
    [join(PROJECT, "cli", "main.ts"), "up", "--port", String(port), "--data", data, "--runtime", runtime],
    {
      cwd: folder,
      // Its own home, so that the user's contexts are left alone.
      env: {
        ...process.env,
        HOME: folder,
        XDG_CONFIG_HOME: join(folder, "config"),
        LAMPLIGHTER_URL: undefined,
        LAMPLIGHTER_TOKEN: undefined,
      },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk) => {
      output += chunk;
    });
  }
  return { child, output: () => output, exited: new Promise((done) => child.once("exit", (code) => done(code))) };
}

const bannered = () =>
  until(
    () => `up does not come up:\n${up.output()}`,
    () => up.output().includes(`http://127.0.0.1:${port}`) && up.output().includes("root-token"),
  );
const pidsOf = (what: "workerd" | "agent") =>
  leftovers(data, agentDir)
    .filter(({ command }) => /workerd serve /.test(command) === (what === "workerd"))
    .map(({ pid }) => pid);

function kill(pids: readonly number[]): void {
  expect(pids.length).toBeGreaterThan(0);
  for (const pid of pids) process.kill(pid, "SIGKILL");
}

async function bootId(): Promise<string | null> {
  const { id } = await client.host("local");
  return (await client.json<HostView>(`/hosts/${id}`)).boot_id;
}

/** Everything is as it was: the same deployments in the same state, run by the same processes and containers. */
async function asBefore(): Promise<void> {
  await until(
    () => `the host is not ready\n${up.output()}`,
    async () => (await client.hosts()).some((host) => host.name === "local" && host.status === "ready"),
  );
  for (const { id, name, status, restart_count } of deployed) {
    await until(
      () => `${name} is not ${status}`,
      async () => (await client.deployment(id)).status === status,
    );
    expect(await client.deployment(id)).toMatchObject({ id, name, status, restart_count });
  }
  expect(keysOf((await world([site], engine)).live)).toEqual(keysOf(before));
}

beforeAll(async () => {
  chmodSync(folder, 0o711);
  mkdirSync(join(folder, "config"));
  if (engine) await ensureTestImage(docker.path);
  port = await freePort();
  client = new Client(() => `http://127.0.0.1:${port}`, "");
  up = run();
  await bannered();
  client = new Client(() => `http://127.0.0.1:${port}`, readFileSync(join(data, "root-token"), "utf8").trim());
  const base = { namespace, stop_timeout: "1s" };
  const command = ["/bin/sleep", "100000"];
  const config = { image_pull_policy: "Never" };
  const views = [await client.apply({ ...base, name: "plain", runtime: "process", replicas: 2, command })];
  if (engine)
    views.push(await client.apply({ ...base, name: "boxed", runtime: "docker", image: testImage, command, config }));
  for (const { id, name } of views) {
    await until(
      () => `${name} does not run`,
      async () => (await client.deployment(id)).status === "running",
    );
    deployed.push(await client.deployment(id));
  }
  before = (await world([site], engine)).live;
  expect(before).toHaveLength(engine ? 3 : 2);
});

afterEach(({ task }) => {
  if (task.result?.state === "fail") console.log(up.output());
});

afterAll(async () => {
  up?.child.kill("SIGKILL");
  await up?.exited;
  for (const { pid } of leftovers(data, agentDir)) process.kill(pid, "SIGKILL");
  await sweep([site, { name: "all", dataDir: data }], engine);
  await engine
    ?.getNetwork(`lamplighter_${namespace}`)
    .remove()
    .catch(() => undefined);
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
});

test("a second up on the same data folder is refused, and says who has it", async () => {
  const first = up;
  const second = run();
  expect(await second.exited).not.toBe(0);
  expect(second.output()).toContain("already running");
  expect(second.output()).toContain(String(first.child.pid));
  await asBefore();
});

test("workerd is killed: up starts it again, and nothing else", async () => {
  const [agent] = pidsOf("agent");
  const old = pidsOf("workerd");
  kill(old);
  await until(
    () => "it is not started again",
    () => pidsOf("workerd").some((pid) => !old.includes(pid)),
  );
  await asBefore();
  expect(pidsOf("agent")).toEqual([agent]);
});

test("the agent is killed: up starts it again, and it restarts nothing", async () => {
  const boot = await bootId();
  const workerd = pidsOf("workerd");
  kill(pidsOf("agent"));
  await until(
    () => "it is not started again",
    async () => (await bootId()) !== boot,
  );
  await asBefore();
  expect(pidsOf("workerd")).toEqual(workerd);
});

test("up itself is killed: started again, it takes over", async () => {
  const boot = await bootId();
  up.child.kill("SIGKILL");
  await up.exited;
  up = run();
  await bannered();
  await until(
    () => "the agent is not started anew",
    async () => (await bootId()) !== boot,
  );
  await asBefore();
  expect([pidsOf("workerd").length, pidsOf("agent").length]).toEqual([1, 1]);
});

test("all of them are killed at once: started again, everything is as it was", async () => {
  const boot = await bootId();
  up.child.kill("SIGKILL");
  kill([...pidsOf("agent"), ...pidsOf("workerd")]);
  await up.exited;
  await until(
    () => "they live",
    () => leftovers(data, agentDir).length === 0,
  );
  up = run();
  await bannered();
  expect(await bootId()).not.toBe(boot);
  await asBefore();
});

test("up is killed while it starts, at several moments: the next start works", async () => {
  for (const moment of ["up.lock", "control-plane/config.capnp", "logs/agent.log"]) {
    up.child.kill("SIGKILL");
    kill([...pidsOf("agent"), ...pidsOf("workerd")]);
    await up.exited;
    rmSync(join(data, "logs"), { recursive: true, force: true });
    rmSync(join(data, "control-plane"), { recursive: true, force: true });
    up = run();
    await until(
      () => `${moment} is not written`,
      () => existsSync(join(data, moment)),
    );
    up.child.kill("SIGKILL");
    await up.exited;
    up = run();
    await bannered();
    await asBefore();
  }
});

test("asked to stop, it stops both and leaves the workloads running; it then takes them up again", async () => {
  up.child.kill("SIGTERM");
  expect(await up.exited).not.toBeNull();
  expect(leftovers(data, agentDir)).toEqual([]);
  expect(keysOf((await world([site], engine)).live)).toEqual(keysOf(before));
  up = run();
  await bannered();
  await asBefore();
  for (const { id } of deployed) await client.delete(id);
  for (const { id, name } of deployed)
    await until(
      () => `${name} stays`,
      () => client.isGone(id),
    );
  expect(await world([site], engine)).toMatchObject({ live: [], remains: [], shims: [] });
});
