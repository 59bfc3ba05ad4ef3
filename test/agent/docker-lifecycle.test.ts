import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { creation } from "../../agent/docker/creation.ts";
import { containerName } from "../../agent/docker/naming.ts";
import { Marks } from "../../agent/docker/roster.ts";
import type { Workload } from "../../contract/workload.ts";
import { freePort } from "../free-port.ts";
import {
  CuttableProxy,
  engineNames,
  engineParts,
  exits,
  Harness,
  lines,
  never,
  pause,
  type Running,
  until,
} from "./docker-harness.ts";

describe.each(engineNames)("lifecycle on %s", { concurrent: true }, (runtime) => {
  const part = engineParts[runtime];
  describe.skipIf(!part.available)(`${part.reason || "available"}`, () => {
    let harness: Harness;
    let running: Running;

    beforeAll(async () => {
      harness = await Harness.open(runtime, part);
      running = await harness.start();
    });
    afterAll(() => harness?.close());

    const raise = (workload: Workload) => running.driver.apply(workload, never);
    const create = (workload: Workload) =>
      harness.engine.createContainer(creation(workload, { hostId: harness.hostId, runtime, init: true }));

    test("it says which engine it found", async () => {
      expect(await running.driver.detect()).toMatch(/^\d+\.\d+/);
      expect(running.found).toEqual([]);
    });

    test("a worker runs, carries our marks, and is left alone by a second apply", async () => {
      const workload = harness.workload({
        labels: { team: "blue", "lamplighter.workload": "stolen", ring_deployment: "stolen" },
        environment: { GREETING: "good evening" },
      });
      const first = await raise(workload);
      expect(first).toMatchObject({ phase: "running", id: workload.id, generation: 1, notes: [] });
      if (first.phase !== "running") throw new Error("unreachable");
      expect(Math.abs(first.started_at - Date.now())).toBeLessThan(10_000);

      const info = await harness.inspect(workload);
      expect(info.Name).toBe(`/${containerName(workload)}`);
      expect(info.Config.Labels).toMatchObject({
        team: "blue",
        "lamplighter.host": harness.hostId,
        "lamplighter.workload": workload.id,
        "lamplighter.generation": "1",
        "lamplighter.owner": workload.owner,
        ring_deployment: workload.owner,
      });
      expect(info.Config.Env).toContain("GREETING=good evening");
      expect(info.HostConfig.Init).toBe(true);
      expect(info.HostConfig.LogConfig?.Type).toBe("json-file");
      const networks = Object.entries(info.NetworkSettings.Networks);
      expect(networks.map(([name]) => name)).toEqual([`lamplighter_${harness.namespace}`]);
      expect(networks[0]?.[1].Aliases).toEqual(expect.arrayContaining(["web", containerName(workload)]));
      expect(first.address).toBe(networks[0]?.[1].IPAddress);

      expect(await raise(workload)).toMatchObject({ phase: "running", started_at: first.started_at });
      expect(await harness.containers(workload)).toHaveLength(1);
    });

    test.each([0, 3])("a job that exits with %i is told once and not run again", async (code) => {
      const workload = harness.workload({ kind: "job", command: ["sh", "-c", `sleep 0.2; exit ${code}`] });
      await raise(workload);
      await until("the exit", () => exits(running.seen, workload)[0]);
      const started = (await harness.inspect(workload)).State.StartedAt;
      const again = await raise(workload);
      expect(again).toMatchObject({ phase: "exited", exit: { code, signal: null, oom: false, evidence: "kept" } });
      expect((await harness.inspect(workload)).State.StartedAt).toBe(started);
      expect(exits(running.seen, workload)).toHaveLength(1);
      if (again.phase === "exited") expect(Math.abs(again.exit.at - Date.now())).toBeLessThan(10_000);
    });

    test("a job that is over before it could be looked at is answered or told as exited", async () => {
      const workload = harness.workload({ kind: "job", command: ["true"] });
      const answer = await raise(workload);
      if (answer.phase !== "exited") await until("the exit", () => exits(running.seen, workload)[0]);
      expect(await raise(workload)).toMatchObject({ phase: "exited", exit: { code: 0 } });
    });

    test("a kill by the engine is told with code and, where the engine tells it, signal", async () => {
      const workload = harness.workload();
      await raise(workload);
      await harness.engine.getContainer(containerName(workload)).kill({ signal: "SIGKILL" });
      const [exit] = await until("the exit", () =>
        exits(running.seen, workload).length > 0 ? exits(running.seen, workload) : null,
      );
      expect(exit).toMatchObject({ exit: { code: 137, oom: false, evidence: "kept" } });
      if (runtime === "docker") expect(exit).toMatchObject({ exit: { signal: "SIGKILL" } });
    });

    test("a program that exits with 137 by itself was not killed", async () => {
      const workload = harness.workload({ command: ["sh", "-c", "sleep 0.1; exit 137"] });
      await raise(workload);
      await until("the exit", () => exits(running.seen, workload)[0]);
      expect(exits(running.seen, workload)).toMatchObject([{ exit: { code: 137, signal: null, oom: false } }]);
    });

    test("a program that runs out of memory is told as oom", async () => {
      const workload = harness.workload({ command: ["tail", "/dev/zero"], memory_limit_bytes: 32 << 20 });
      const answer = await raise(workload);
      if (answer.phase !== "exited") await until("the exit", () => exits(running.seen, workload)[0]);
      const exit = await raise(workload);
      expect(exit).toMatchObject({ phase: "exited", exit: { code: 137 } });
      // Podman's monitor does not notice it on every machine.
      if (runtime === "docker") expect(exit).toMatchObject({ exit: { signal: "SIGKILL", oom: true } });
    });

    test("remove lets the program stop by itself, leaves nothing, and is not an exit", async () => {
      const command = ["sh", "-c", "trap 'echo bye; exit 0' TERM; echo ready; while true; do sleep 0.05; done"];
      const workload = harness.workload({ command });
      await raise(workload);
      // A signal in the first moments after a start is lost by the engine itself: PID 1 has no handler yet.
      const query = { workload_id: workload.id, generation: 1, tail: null, since: null, follow: false };
      await until("the trap", async () => (await lines(running.driver.logs(query, never))).length > 0);
      const begun = Date.now();
      await running.driver.remove(workload.id, 1, 10_000);
      expect(Date.now() - begun).toBeLessThan(4_000);
      expect(await harness.containers(workload)).toEqual([]);
      await running.driver.remove(workload.id, 1, 10_000);
      await pause(100);
      expect(exits(running.seen, workload)).toEqual([]);
    });

    test("remove kills a program that does not stop, after its time and not before", async () => {
      const workload = harness.workload({ command: ["sh", "-c", "trap '' TERM; while true; do sleep 0.05; done"] });
      await raise(workload);
      await pause(100);
      const begun = Date.now();
      await running.driver.remove(workload.id, 1, 1_000);
      expect(Date.now() - begun).toBeGreaterThanOrEqual(990);
      expect(await harness.containers(workload)).toEqual([]);
      expect(exits(running.seen, workload)).toEqual([]);
    });

    test("remove is content when someone else is removing the same", async () => {
      const workload = harness.workload();
      await raise(workload);
      const other = harness.engine
        .getContainer(containerName(workload))
        .remove({ force: true, v: true })
        .catch(() => undefined);
      await running.driver.remove(workload.id, 1, 0);
      await other;
      expect(await harness.containers(workload)).toEqual([]);
    });

    test("remove ends what is paused", async () => {
      const workload = harness.workload();
      await raise(workload);
      await harness.engine.getContainer(containerName(workload)).pause();
      await running.driver.remove(workload.id, 1, 1_000);
      expect(await harness.containers(workload)).toEqual([]);
    });

    test("with image and network known, an apply is create, start and one inspect", async () => {
      const proxy = await new CuttableProxy(harness.socketPath, harness.stateDir).open();
      // A host of its own, because events of the other tests' containers make a driver ask about them.
      const hostId = `${harness.hostId}-counted`;
      const { driver } = await harness.start({
        socketPath: proxy.path,
        hostId,
        stateDir: `${harness.stateDir}/counted`,
      });
      const first = harness.workload();
      await driver.apply(first, never);
      const asked = async (): Promise<string[]> => {
        const another = harness.workload();
        proxy.requests.length = 0;
        await driver.apply(another, never);
        const requests = proxy.requests.map((it) => it.replace(/[0-9a-f]{64}/, "ID"));
        await driver.remove(another.id, 1, 0);
        return requests;
      };
      let requests = await asked();
      // Now and then the driver compares what runs with what it knows.
      for (let left = 5; left > 0 && requests.includes("GET /containers/json"); left--) requests = await asked();
      expect(requests).toEqual(["POST /containers/create", "POST /containers/ID/start", "GET /containers/ID/json"]);
      await driver.remove(first.id, 1, 0);
      await driver.close();
      await proxy.close();
    });

    test("remove takes only its own generation", async () => {
      const one = harness.workload();
      const two = { ...one, generation: 2 };
      await raise(one);
      await raise(two);
      await running.driver.remove(one.id, 1, 0);
      expect((await harness.containers(one)).map((it) => it.Labels["lamplighter.generation"])).toEqual(["2"]);
    });

    describe("after a crash of the agent", () => {
      const fresh = async (stateDir?: string) => {
        const next = await harness.start(stateDir === undefined ? {} : { stateDir });
        return { ...next, of: (workload: Workload) => next.found.find((it) => it.id === workload.id) };
      };

      test("between create and start, the start is made up for", async () => {
        const workload = harness.workload();
        await create(workload);
        const { driver, of } = await fresh();
        expect(of(workload)).toMatchObject({
          generation: 1,
          owner: workload.owner,
          observation: { phase: "preparing" },
        });
        expect(await driver.apply(workload, never)).toMatchObject({ phase: "running" });
        expect(await harness.containers(workload)).toHaveLength(1);
        await driver.close();
      });

      test("between create and start, also unknown to a driver that was started before", async () => {
        const workload = harness.workload();
        await create(workload);
        expect(await raise(workload)).toMatchObject({ phase: "running" });
      });

      test("after start, what runs is found and goes on", async () => {
        const workload = harness.workload();
        await (await create(workload)).start();
        const { driver, of } = await fresh();
        expect(of(workload)).toMatchObject({ observation: { phase: "running" } });
        const { StartedAt } = (await harness.inspect(workload)).State;
        expect(await driver.apply(workload, never)).toMatchObject({
          phase: "running",
          started_at: Date.parse(StartedAt),
        });
        await driver.close();
      });

      test("what ended meanwhile is found exited and is not run again", async () => {
        const workload = harness.workload({ kind: "job", command: ["sh", "-c", "exit 7"] });
        const container = await create(workload);
        await container.start();
        await container.wait();
        const { driver, of } = await fresh();
        expect(of(workload)).toMatchObject({ observation: { phase: "exited", exit: { code: 7 } } });
        expect(await driver.apply(workload, never)).toMatchObject({ phase: "exited", exit: { code: 7 } });
        await driver.close();
      });

      test("between stop and removal, its end is not an exit", async () => {
        const workload = harness.workload();
        const container = await create(workload);
        await container.start();
        const stateDir = `${harness.stateDir}/crashed-removal`;
        new Marks(stateDir, "removing").mark(container.id);
        await container.stop({ t: 1 });
        const { driver, of, seen } = await fresh(stateDir);
        expect(of(workload)).toMatchObject({ observation: { phase: "stopping" } });
        await driver.remove(workload.id, 1, 1_000);
        expect(await harness.containers(workload)).toEqual([]);
        expect(exits(seen, workload)).toEqual([]);
        await driver.close();
      });

      test("after a start that failed, the failure is found again and the container goes", async () => {
        const ports = [{ published: await freePort(), target: 80, protocol: "tcp" as const, host_ip: "127.0.0.1" }];
        const workload = harness.workload({ ports });
        const holder = harness.workload({ ports });
        await raise(holder);
        await (await create(workload)).start().catch(() => undefined);
        expect(await harness.containers(workload)).toHaveLength(1);
        expect(await raise(workload)).toMatchObject({ phase: "failed", failure: { reason: "port_taken" } });
        expect(await harness.containers(workload)).toEqual([]);
        await running.driver.remove(holder.id, 1, 0);
      });
    });
  });
});
