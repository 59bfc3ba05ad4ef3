// The address of an instance through everything that happens to its engine: control plane, agent and proxy are processes of their own, the engine is
// stood in for.
import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, type TestContext, test } from "vitest";
import type { InstanceView } from "../../contract/instance.ts";
import type { KeyCreated } from "../../contract/instance-key.ts";
import { until } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { standIn } from "./stand-in.ts";

async function start(context: TestContext) {
  const world = await standIn(context);
  const { act, rests, send, id, view, rules } = world;
  rules({ serve: "slow" });
  await act("provision");
  await rests();
  const url = await until(
    () => "it has no endpoint",
    async () => (await view()).endpoint_url,
  );
  const { key } = (await send("POST", `/instances/${id}/keys`, { name: "web" })) as KeyCreated;
  const ask = (authorization = `Bearer ${key}`): Promise<Response> =>
    fetch(`${url}/query`, { method: "POST", body: "users { id }", headers: { authorization } });
  const events = async (reason: string) =>
    (await world.cluster.client.events(`/instances/${id}`)).filter((event) => event.reason === reason);
  return { ...world, url, key, ask, events };
}

// Each has a control plane and a host of its own. One of them waits for a minute in which nobody asks.

/** Callers that ask all the time; what came of it when they are stopped. */
function load(ask: () => Promise<Response>, callers = 8) {
  let isOver = false;
  const failures: string[] = [];
  let count = 0;
  const all = Array.from({ length: callers }, async () => {
    while (!isOver) {
      const outcome = await ask().then(
        async (response) => `${response.status} ${await response.text()}`,
        (error: Error) => `${error.message} ${(error.cause as Error | undefined)?.message}`,
      );
      if (outcome !== "200 []") failures.push(outcome);
      count++;
      await sleep(5);
    }
  });
  return async () => {
    isOver = true;
    await Promise.all(all);
    return { failures, count };
  };
}

/** The proxy of a host. */
function proxyOf(cluster: Cluster, host: string): number {
  const folder = `${cluster.sites.find(({ name }) => name === host)?.dataDir}/proxy/`;
  const found = readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(folder);
    } catch {
      return false;
    }
  });
  if (found.length !== 1) throw new Error(`${found.length} proxies run on ${host}`);
  return Number(found[0]);
}

test.concurrent("nobody notices rebuild, redeploy and resize, nor that the agent or the control plane is killed meanwhile", async (context) => {
  const { cluster, act, rests, view, ask, url } = await start(context);
  const stop = load(ask);
  const build_id = (await view()).latest_build?.id;
  const bodies: Record<string, unknown> = { redeploy: { build_id }, resize: { size: "small" } };
  for (const action of ["rebuild", "redeploy", "resize", "reconfigure", "rebuild"]) {
    const { build_id: before } = await view();
    await act(action, bodies[action]);
    if (action === "redeploy") {
      await cluster.killAgent("one");
      cluster.startAgent("one");
    }
    if (action === "resize") {
      await cluster.killPlane();
      await cluster.startPlane();
    }
    const after = await rests();
    expect([after.status, after.last_operation?.outcome, after.endpoint_url], action).toEqual([
      ...["running", "succeeded", url],
    ]);
    if (action === "rebuild") expect(after.build_id).not.toBe(before);
  }
  const { failures, count } = await stop();
  expect(failures).toEqual([]);
  expect(count).toBeGreaterThan(100);
});

test.concurrent("an engine that is killed is waited for at the same address; so is a proxy", async (context) => {
  const { cluster, id, ask, url, view } = await start(context);
  for (let round = 0; round < 2; round++) {
    const [live] = await cluster.liveOf(id);
    const stop = load(ask);
    process.kill(live?.pids[0] as number, "SIGKILL");
    await until(
      () => "nothing came in its place",
      async () => (await cluster.liveOf(id))[0]?.generation !== live?.generation && (await view()).health === "ok",
    );
    expect((await stop()).failures).toEqual([]);
  }
  const proxy = proxyOf(cluster, "one");
  process.kill(proxy, "SIGKILL");
  await until(
    () => "the proxy is not there again",
    async () => (await ask().catch(() => null))?.status === 200,
  );
  expect(proxyOf(cluster, "one")).not.toBe(proxy);
  // Both at once, which leaves only what the agent has on its disk: the control plane is not needed for it.
  await cluster.killPlane();
  await cluster.killAgent("one");
  process.kill(proxyOf(cluster, "one"), "SIGKILL");
  cluster.startAgent("one");
  await until(
    () => "the proxy does not come back with the agent",
    async () => (await ask().catch(() => null))?.status === 200,
  );
  await cluster.startPlane();
  await cluster.ready("one");
  expect((await view()).endpoint_url).toBe(url);
});

test.concurrent("paused by its user it says so, and no query brings it back; terminated it is known no more", async (context) => {
  const { cluster, id, act, rests, ask, url, view } = await start(context);
  await act("pause");
  expect(await rests()).toMatchObject({ status: "paused", endpoint_url: url });
  const refused = await until(
    () => "it does not say so",
    async () => {
      const response = await ask();
      return response.status === 503 ? response : null;
    },
  );
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
  expect(refused.headers.get("content-type")).toBe("application/problem+json");
  expect(await refused.json()).toMatchObject({ code: "paused", status: 503 });
  await sleep(500);
  expect([(await view()).status, await cluster.liveOf(id)]).toEqual(["paused", []]);
  await act("resume");
  expect(await rests()).toMatchObject({ status: "running", endpoint_url: url });
  await until(
    () => "it does not serve",
    async () => (await ask()).status === 200,
  );
  await act("terminate");
  expect(await rests()).toMatchObject({ status: "terminated", endpoint_url: null });
  const { port } = new URL(url);
  await until(
    () => "the last route has gone, and the proxy is there still",
    () =>
      new Promise<boolean>((resolve) => {
        const socket = connect(Number(port), "127.0.0.1");
        socket.once("connect", () => resolve(socket.destroy() === null));
        socket.once("error", () => resolve(true));
      }),
  );
});

test.concurrent("paused because nobody asks, whoever asks with a key has it back, and waits for it", async (context) => {
  const { cluster, id, send, ask, view, events, url } = await start(context);
  await send("PATCH", `/instances/${id}`, { idle_pause: "1m" });
  await until(
    () => "it is not paused",
    async () => (await view()).status === "paused",
    90_000,
  );
  expect(await cluster.liveOf(id)).toEqual([]);
  expect((await fetch(`${url}/health`)).status).toBe(503);
  expect((await ask("Bearer rxk_web.made-up")).status).toBe(401);
  expect((await view()).status).toBe("paused");
  const answers = await Promise.all(Array.from({ length: 10 }, () => ask()));
  expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200));
  const back = await view();
  expect(back).toMatchObject({
    status: "running",
    endpoint_url: url,
    last_operation: { action: "resume", actor: "idle" },
  });
  expect(await events("wanted")).toHaveLength(1);
  // One that its user pauses stays so, although the idle time is set.
  await send("POST", `/instances/${id}/pause`);
  await until(
    () => "it is not paused",
    async () => (await view()).status === "paused",
  );
  expect((await ask()).status).toBe(503);
  expect((await view()).status).toBe("paused");
});

test.concurrent("moved to another host it is queried there, and its journal says so", async (context) => {
  const { cluster, enrol, act, rests, url, view, key, events, send } = await start(context);
  await enrol("two");
  const [one] = (await cluster.client.hosts()).filter(({ name }) => name === "one");
  await send("POST", `/hosts/${one?.id}/drain`);
  const moved: InstanceView = await until(
    () => "it does not move",
    async () => {
      const now = await view();
      return now.status === "running" && now.endpoint_url !== null && now.endpoint_url !== url && now;
    },
  );
  const authorization = `Bearer ${key}`;
  await until(
    () => "it is not queried at its new endpoint",
    async () =>
      (await fetch(`${moved.endpoint_url}/query`, { method: "POST", body: "x", headers: { authorization } })).status ===
      200,
  );
  const changes = await events("endpoint_changed");
  expect(changes.at(-1)?.data).toEqual({ old: url, new: moved.endpoint_url });
  await until(
    () => "the former host still knows it",
    async () => (await fetch(`${url}/query`, { method: "POST" }).catch(() => null))?.status !== 200,
  );
  await act("pause");
  await rests();
  const two = (await cluster.client.hosts()).find(({ name }) => name === "two");
  await send("POST", `/hosts/${one?.id}/uncordon`);
  await send("POST", `/hosts/${two?.id}/drain`);
  await until(
    () => "a paused one does not leave a host that is drained",
    async () => (await view()).endpoint_url === url,
  );
});
