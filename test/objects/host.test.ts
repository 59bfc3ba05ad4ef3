import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import type { HostView } from "../../contract/host.ts";
import { newId, workloadId } from "../../contract/id.ts";
import { workloadSpec } from "../../contract/manifest.ts";
import { checkManifest } from "../../contract/manifest-check.ts";
import type { Mutation } from "../../contract/request.ts";
import type { Workload } from "../../contract/workload.ts";
import { random } from "../random.ts";
import { running, SimulatedAgent } from "./simulated-agent.ts";

const mutation = (): Mutation => ({ actor: "tok_test", request_id: "req_test", if_match: null, idempotency: null });
const MIB = 1024 ** 2;

async function joined(): Promise<SimulatedAgent> {
  const agent = await SimulatedAgent.enrol();
  await agent.connect();
  await reaches(agent, "ready");
  return agent;
}

async function view(agent: SimulatedAgent): Promise<HostView> {
  const reply = await agent.host.read();
  if (!reply.ok) throw new Error(reply.refusal.detail);
  return JSON.parse(reply.value.body);
}

async function until(condition: () => Promise<boolean> | boolean, what: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within 10 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
const reaches = (agent: SimulatedAgent, status: string) =>
  until(async () => (await view(agent)).status === status, status);

function workload(
  over: Record<string, unknown> = {},
  generation = 1,
  owner = newId("deployment", Date.now()),
  slot = 0,
): Workload {
  const result = checkManifest({ name: "w", runtime: "podman", image: "x", ...over });
  if (!result.ok) throw new Error(JSON.stringify(result.violations));
  return { id: workloadId(owner, slot), generation, owner, want: "running", spec: workloadSpec(result.manifest) };
}
const needs = (memory: string) => ({ resources: { requests: { memory } } });

describe("a tunnel", () => {
  test("is refused without the host's own signature", async () => {
    const agent = await joined();
    const other = await SimulatedAgent.enrol();
    const tunnel = (header: string) =>
      env.HOST.getByName(agent.id).fetch(`http://control/hosts/${agent.id}/tunnel`, {
        headers: { Upgrade: "websocket", "Lamplighter-Connect": header },
      });
    for (const header of ["", "garbage", btoa(JSON.stringify({ p: "{}", s: "" }))]) {
      const response = await tunnel(header);
      expect([response.status, response.headers.get("Content-Type")]).toEqual([401, "application/problem+json"]);
    }
    expect((await view(agent)).status).toBe("ready");
    expect((await view(other)).status).toBe("joining");
  });

  test.each([
    ["a frame of another session", (agent: SimulatedAgent) => agent.send({ kind: "heartbeat" }, { session: "x" })],
    ["a frame that was sent before", (agent: SimulatedAgent) => agent.send({ kind: "heartbeat" }, { seq: 1 })],
    ["a frame that skips one", (agent: SimulatedAgent) => agent.send({ kind: "heartbeat" }, { seq: 99 })],
    ["a frame of no kind", (agent: SimulatedAgent) => agent.send({ kind: "reboot" } as never)],
    ["text that is no frame", async (agent: SimulatedAgent) => agent.raw("{")],
  ])("is closed by %s", async (_what, spoil) => {
    const agent = await joined();
    await spoil(agent);
    await reaches(agent, "unreachable");
    await agent.connect();
    await reaches(agent, "ready");
  });

  test("survives the object's sleep, and a second one takes over from the first", async () => {
    const agent = await joined();
    await evictDurableObject(env.HOST.getByName(agent.id), { webSockets: "hibernate" });
    const mine = workload();
    expect(await agent.host.assign([mine])).toEqual([{ accepted: true }]);
    await until(() => agent.workloads.has(mine.id), "applied");
    await agent.connect();
    await reaches(agent, "ready");
    expect((await view(agent)).boot_id).toBe("boot-2");
  });
});

describe("assigning", () => {
  test("reserves, refuses what does not fit with the reason, and is harmless when repeated", async () => {
    const agent = await joined();
    const first = workload(needs("6Gi"));
    expect(await agent.host.assign([first, workload(needs("3Gi"))])).toEqual([
      { accepted: true },
      { accepted: false, message: "has 2 GiB of memory free of 3 GiB needed" },
    ]);
    expect(await agent.host.assign([first])).toEqual([{ accepted: true }]);
    expect((await view(agent)).reserved.memory_bytes).toBe(6 * 1024 * MIB);
    expect(await agent.host.assign([workload({ runtime: "docker", image: "x", command: [] })])).toMatchObject([
      { message: "has no docker runtime" },
    ]);
    await agent.host.act("cordon", mutation());
    expect(await agent.host.assign([workload()])).toMatchObject([{ message: "is cordoned" }]);
  });

  test("one port goes to one workload; its next generation may keep it", async () => {
    const agent = await joined();
    const ports = { ports: [{ published: 8080, target: 80 }] };
    const owner = newId("deployment", Date.now());
    expect(await agent.host.assign([workload(ports, 1, owner)])).toEqual([{ accepted: true }]);
    expect(await agent.host.assign([workload(ports)])).toMatchObject([
      { accepted: false, message: expect.stringContaining("port 8080/tcp") },
    ]);
    expect(await agent.host.assign([workload(ports, 2, owner)])).toEqual([{ accepted: true }]);
  });

  test("an older generation is refused, also one that was withdrawn before it came", async () => {
    const agent = await joined();
    const owner = newId("deployment", Date.now());
    await agent.host.assign([workload({}, 5, owner)]);
    expect(await agent.host.assign([workload({}, 4, owner)])).toMatchObject([{ accepted: false }]);
    const other = newId("deployment", Date.now());
    expect(await agent.host.withdraw(other, [{ id: workloadId(other, 0), generation: 3 }])).toEqual(["gone"]);
    expect(await agent.host.assign([workload({}, 3, other)])).toMatchObject([{ accepted: false }]);
    expect(await agent.host.assign([workload({}, 4, other)])).toEqual([{ accepted: true }]);
  });

  test("what is withdrawn is gone only when the agent says so", async () => {
    const agent = await joined();
    const mine = workload(needs("1Gi"));
    await agent.host.assign([mine]);
    await until(() => agent.workloads.has(mine.id), "applied");
    agent.disconnect();
    await reaches(agent, "unreachable");
    expect(await agent.host.withdraw(mine.owner, [mine])).toEqual(["going"]);
    expect((await view(agent)).reserved.memory_bytes).toBe(1024 * MIB);
    await agent.connect();
    await until(async () => (await agent.host.withdraw(mine.owner, [mine]))[0] === "gone", "gone");
    await until(async () => (await view(agent)).workloads === 0, "books empty");
  });
});

describe("removing", () => {
  test("is refused while it is not empty; forced, it ends the host, and its agent is answered 410", async () => {
    const agent = await joined();
    const mine = workload();
    await agent.host.assign([mine]);
    await until(() => agent.workloads.has(mine.id), "applied");
    expect(await agent.host.remove(mutation(), false)).toMatchObject({
      ok: false,
      refusal: { code: "host_not_empty" },
    });
    expect(await agent.host.remove(mutation(), true)).toMatchObject({ ok: true, value: { status: 204 } });
    await until(() => agent.received.includes("dismiss"), "dismissed");
    expect((await agent.connect()).status).toBe(410);
    expect(await agent.host.read()).toMatchObject({ ok: false, refusal: { code: "not_found" } });
    expect(await agent.host.withdraw(mine.owner, [mine])).toEqual(["gone"]);
  });
});

test("questions reach the agent, and fail at once when it is away", async () => {
  const agent = await joined();
  agent.disconnect();
  await reaches(agent, "unreachable");
  expect(await agent.host.ask({ verb: "stats", workload_ids: [] })).toMatchObject({
    ok: false,
    refusal: { code: "host_unavailable" },
  });
});

test("the books are the sums of the rows after any history", async () => {
  const agent = await joined();
  agent.behaviour = () => null;
  const rnd = random(20261121);
  const owners = Array.from({ length: 5 }, () => newId("deployment", Date.now()));
  let generation = 0;
  for (let step = 0; step < 150; step++) {
    const owner = rnd.pick(owners);
    const known = agent.workloads.get(workloadId(owner, 0));
    const kind = rnd.int(4);
    if (kind === 0) {
      generation += 1;
      await agent.host.assign([workload(needs(`${rnd.int(900) + 1}Mi`), generation, owner)]);
    } else if (kind === 1)
      await agent.host.withdraw(owner, [{ id: workloadId(owner, 0), generation: rnd.int(generation + 1) + 1 }]);
    else if (known && kind === 2) await agent.report(running(known.workload));
    else if (known) await agent.exit(known.workload.id, 0);
    const { books, sums } = await runInDurableObject(env.HOST.getByName(agent.id), (_object, state) => ({
      books: state.storage.sql
        .exec("SELECT memory_reserved AS memory, cpu_reserved AS cpu, workloads AS count FROM host")
        .one(),
      sums: state.storage.sql
        .exec(
          "SELECT coalesce(sum(memory), 0) AS memory, coalesce(sum(cpu), 0) AS cpu, count(*) FILTER (WHERE spec IS NOT NULL AND coalesce(json_extract(observation, '$.phase'), '') <> 'gone') AS count FROM workload",
        )
        .one(),
    }));
    expect(books, `step ${step}`).toEqual(sums);
  }
});
