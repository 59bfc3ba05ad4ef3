import { chownSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { ControlPlane } from "./control-plane.ts";
import { type AgentProcess, agentProcess, eventually, folder, isRunning, sh, workload } from "./workload.ts";

/** Agents as processes of their own, killed with a signal that none can catch. */

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function stage() {
  const plane = await ControlPlane.start();
  const dataDir = folder();
  const options = { url: plane.url, dataDir, joinToken: plane.joinToken, transport: "tunnel", runtimes: ["process"] };
  let agent: AgentProcess = agentProcess(options);
  cleanups.push(async () => {
    plane.refuse = 410;
    plane.cut();
    if ((await Promise.race([agent.exited, "alive"])) !== "alive") agent = agentProcess(options);
    await agent.exited;
    await plane.close();
  });
  const restart = (): void => {
    agent = agentProcess(options);
  };
  await plane.until(() => plane.settled.length > 0, "settled");
  return { plane, dataDir, options, restart, agent: () => agent };
}

const pidOf = (dataDir: string, id: string, generation = 1): number =>
  JSON.parse(readFileSync(join(dataDir, "process", id, `g${generation}`, "child.json"), "utf8")).pid;

test("what runs is taken up: same process, nothing restarted; and an end in the meantime is known exactly", async () => {
  const { plane, dataDir, agent, restart } = await stage();
  const [stays, exits, killed] = [workload(), workload({ spec: { command: sh("sleep 0.7; exit 23") } }), workload()];
  await plane.apply(stays, exits, killed);
  for (const { id } of [stays, exits, killed]) await plane.phase(id, "running");
  const pids = [stays, exits, killed].map(({ id }) => pidOf(dataDir, id));
  await agent().kill();
  plane.seen.clear();
  process.kill(pids[2] as number, "SIGSEGV");
  await eventually(() => !isRunning(pids[1] as number), "the second has ended");
  restart();
  expect(await plane.phase(exits.id, "exited")).toMatchObject({ exit: { code: 23, signal: null, evidence: "kept" } });
  expect(await plane.phase(killed.id, "exited")).toMatchObject({
    exit: { code: null, signal: "SIGSEGV", evidence: "kept" },
  });
  await plane.phase(stays.id, "running");
  expect(pidOf(dataDir, stays.id)).toBe(pids[0]);
  expect(isRunning(pids[0] as number)).toBe(true);
});

test("the fence and what was accepted survive, without the control plane", async () => {
  const { plane, dataDir, agent, restart } = await stage();
  const made = workload({ generation: 5 });
  await plane.apply(made);
  await plane.phase(made.id, "running", 5);
  // Accepted, and killed at once: somewhere in the middle of the change.
  await plane.apply({ ...made, generation: 6 });
  await agent().kill();
  plane.refuse = 503;
  restart();
  await eventually(() => agent().output().includes("HTTP 503"), "it runs without the control plane");
  // Whether the kill came before or after the acceptance, there is one generation, and it runs.
  const generations = (): string[] =>
    readdirSync(join(dataDir, "process", made.id)).filter((name) => /^g\d/.test(name));
  await eventually(
    () => generations().length === 1 && isRunning(pidOf(dataDir, made.id, Number(generations()[0]?.slice(1)))),
    "one runs",
  );
  plane.desired = [{ ...made, generation: 6 }];
  plane.refuse = null;
  await plane.phase(made.id, "running", 6);
  await plane.say({ kind: "apply", revision: 99, workloads: [{ ...made, generation: 5 }] });
  await eventually(() => agent().output().includes(`refused ${made.id} generation 5`), "it refuses");
  expect(generations()).toEqual(["g6"]);
});

test("killed at random moments of creation, update and removal, it ends with exactly what is wanted", async () => {
  const { plane, dataDir, agent, restart } = await stage();
  const ids = Array.from({ length: 4 }, () => workload().id);
  const marker = join(dataDir, "starts");
  let seed = 42;
  const random = (): number => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    return seed / 2 ** 31;
  };
  const wanted = new Map<string, { generation: number; running: boolean }>();
  for (let round = 0; round < 12; round++) {
    const changes = ids
      .filter(() => random() < 0.6)
      .map((id) => {
        const before = wanted.get(id);
        const end = before?.running === true && random() < 0.3;
        const generation = end ? before.generation : (before?.generation ?? 0) + 1;
        wanted.set(id, { generation, running: !end });
        const spec = {
          command: sh("trap 'exit 0' TERM; while :; do sleep 0.05; done"),
          environment: { MARKER: marker },
        };
        return workload({ id, generation, want: end ? "gone" : "running", spec });
      });
    await plane.apply(...changes);
    await new Promise((resolve) => setTimeout(resolve, random() * 150));
    await agent().kill();
    plane.seen.clear();
    restart();
  }
  for (const [id, { generation, running }] of wanted) {
    if (running) await plane.phase(id, "running", generation);
    else await eventually(() => readdirSync(join(dataDir, "process")).every((name) => name !== id), `${id} is gone`);
  }
  await plane.until(() => plane.settled.length > 0, "settled");
  // One process group per wanted workload, and no other that carries our marks.
  const marks = new Map<string, Set<string>>();
  for (const name of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const text = readFileSync(`/proc/${name}/environ`, "latin1");
      if (!text.includes(`MARKER=${marker}`)) continue;
      const mark = /LAMPLIGHTER_INSTANCE=([^\0]*)/.exec(text)?.[1] ?? "";
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      const group = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[2] as string;
      marks.set(mark, (marks.get(mark) ?? new Set()).add(group));
    } catch {
      // It has just ended.
    }
  }
  const expected = [...wanted]
    .filter(([, { running }]) => running)
    .map(([id, { generation }]) => `${id}-g${generation}`);
  expect([...marks.keys()].map((mark) => mark.slice(9)).sort()).toEqual(expected.sort());
  for (const groups of marks.values()) expect(groups.size).toBe(1);
});

test("an agent that is killed leaves the lock to the next, and its spare shim does not stay", async () => {
  const { plane, agent, restart, options } = await stage();
  const second = agentProcess(options);
  expect(await second.exited).toBe(1);
  expect(second.output()).toContain(`Another agent (process ${agent().pid})`);
  const children = (): string[] =>
    readdirSync("/proc").filter((name) => {
      try {
        return (
          /^\d+$/.test(name) &&
          readFileSync(`/proc/${name}/cmdline`, "utf8").includes(join(options.dataDir, "process", "shim-"))
        );
      } catch {
        return false;
      }
    });
  expect(children().length).toBe(1);
  await agent().kill();
  await eventually(() => children().length === 0, "the spare has ended");
  const before = plane.connections;
  restart();
  await plane.until(() => plane.connections > before, "it is back");
});

test.runIf(process.getuid?.() === 0)(
  "an agent that is not root runs programs as itself, and says what it cannot enforce",
  async () => {
    const plane = await ControlPlane.start();
    const dataDir = folder();
    chownSync(dataDir, 65534, 65534);
    const options = { url: plane.url, dataDir, joinToken: plane.joinToken, transport: "tunnel", runtimes: ["process"] };
    const agent = agentProcess(options, { uid: 65534, gid: 65534 });
    cleanups.push(() => plane.close());
    const escapes = "setsid sleep 1000 & setsid sleep 1000 & id -u; wait";
    const made = workload({ spec: { command: sh(escapes), memory_limit_bytes: 64 * 1024 ** 2 } });
    plane.desired = [made];
    expect(await plane.phase(made.id, "running")).toMatchObject({ notes: [{ code: "memory_unenforced" }] });
    const other = workload({ spec: { user: { id: 12345, group: null, privileged: false } } });
    await plane.apply(other);
    expect(await plane.phase(other.id, "failed")).toMatchObject({ failure: { reason: "user_unsupported" } });
    const pid = pidOf(dataDir, made.id);
    await plane.say({ kind: "dismiss" });
    expect(await agent.exited).toBe(0);
    // Without cgroups, too, what left the group is found.
    const mark = `-${made.id}-g1`;
    const left = readdirSync("/proc").filter((name) => {
      try {
        return (
          /^\d+$/.test(name) && isRunning(Number(name)) && readFileSync(`/proc/${name}/environ`, "utf8").includes(mark)
        );
      } catch {
        return false;
      }
    });
    expect(left).toEqual([]);
    expect(isRunning(pid)).toBe(false);
  },
);
