import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { creation } from "../../agent/docker/creation.ts";
import { containerName } from "../../agent/docker/naming.ts";
import type { Workload } from "../../contract/workload.ts";
import { CuttableProxy, engineNames, engineParts, exits, Harness, never, pause, until } from "./docker-harness.ts";

describe.each(engineNames)("events of %s", { concurrent: true }, (runtime) => {
  const part = engineParts[runtime];
  describe.skipIf(!part.available)(`${part.reason || "available"}`, () => {
    let harness: Harness;

    beforeAll(async () => {
      harness = await Harness.open(runtime, part);
    });
    afterAll(() => harness?.close());

    const container = (workload: Workload) => harness.engine.getContainer(containerName(workload));

    test("an exit is told within some milliseconds of the engine's own event", {
      concurrent: false,
      timeout: 90_000,
    }, async () => {
      const { driver, seen } = await harness.start();
      const lags: number[] = [];
      for (let round = 0; round < 5; round++) {
        const workload = harness.workload({ command: ["sh", "-c", "sleep 0.15; exit 5"] });
        await driver.apply(workload, never);
        const exit = await until("the exit", () => exits(seen, workload)[0]);
        lags.push(exit.at - (exit.phase === "exited" ? exit.exit.at : 0));
        await driver.remove(workload.id, 1, 0);
      }
      // The engine's own stamp is taken before it has finished; Podman's stream is a file that it follows. A busy machine only adds to it.
      expect(Math.min(...lags)).toBeLessThan(runtime === "docker" ? 20 : 500);
      await driver.close();
    });

    test("what ends while the stream is cut is told once each, with its exit code", async () => {
      const proxy = await new CuttableProxy(harness.socketPath, harness.stateDir).open();
      const { driver, seen, log } = await harness.start({ socketPath: proxy.path });
      const workloads = [1, 2, 3, 4].map(() => harness.workload());
      await Promise.all(workloads.map((workload) => driver.apply(workload, never)));
      const [killed, removed, survives, quick] = workloads as [Workload, Workload, Workload, Workload];

      proxy.cut();
      await container(killed).kill({ signal: "SIGKILL" });
      await container(removed).remove({ force: true });
      await container(quick).stop({ t: 1 });
      await pause(300);
      for (const workload of workloads) expect(exits(seen, workload)).toEqual([]);
      proxy.mend();

      for (const workload of [killed, removed, quick]) await until("its exit", () => exits(seen, workload)[0]);
      expect(exits(seen, killed)).toMatchObject([{ exit: { code: 137, evidence: "kept" } }]);
      expect(exits(seen, quick)).toMatchObject([{ exit: { code: 143, evidence: "kept" } }]);
      // The engine still knows how the removed one ended, unless its memory of events is short.
      expect(exits(seen, removed)).toHaveLength(1);
      if (runtime === "docker") expect(exits(seen, removed)).toMatchObject([{ exit: { code: 137, evidence: "kept" } }]);

      await pause(400);
      for (const workload of [killed, removed, quick]) expect(exits(seen, workload)).toHaveLength(1);
      expect(seen.filter((it) => it.id === survives.id && it.phase !== "running")).toEqual([]);
      expect(log.some((line) => line.includes("cut"))).toBe(true);

      // The stream that was mended is alive.
      await container(survives).kill({ signal: "SIGKILL" });
      await until("its exit", () => exits(seen, survives)[0]);
      await driver.close();
      await proxy.close();
    });

    test("cut again and again while containers end, nothing is missed and nothing told twice", async () => {
      const proxy = await new CuttableProxy(harness.socketPath, harness.stateDir).open();
      const { driver, seen } = await harness.start({ socketPath: proxy.path });
      const workloads = [1, 2, 3, 4, 5, 6].map((it) =>
        harness.workload({ command: ["sh", "-c", `sleep 1.${it}; exit ${it}`] }),
      );
      await Promise.all(workloads.map((workload) => driver.apply(workload, never)));
      for (let cut = 0; cut < 6; cut++) {
        proxy.cut();
        await pause(60);
        proxy.mend();
        await pause(140);
      }
      for (const workload of workloads) await until("its exit", () => exits(seen, workload)[0]);
      await pause(400);
      expect(
        workloads.map((workload) => exits(seen, workload).map((it) => it.phase === "exited" && it.exit.code)),
      ).toEqual([1, 2, 3, 4, 5, 6].map((code) => [code]));
      await driver.close();
      await proxy.close();
    });

    test("an apply during a cut is made good when the engine answers again", async () => {
      const proxy = await new CuttableProxy(harness.socketPath, harness.stateDir).open();
      const { driver } = await harness.start({ socketPath: proxy.path });
      const workload = harness.workload();
      const applying = driver.apply(workload, never);
      await pause(30);
      proxy.cut();
      await pause(300);
      proxy.mend();
      expect(await applying).toMatchObject({ phase: "running" });
      expect(await harness.containers(workload)).toHaveLength(1);

      proxy.cut();
      const abort = new AbortController();
      const hopeless = driver.apply(harness.workload(), abort.signal);
      await pause(50);
      abort.abort();
      expect(await hopeless).toMatchObject({ phase: "stopping" });
      expect(await driver.detect()).toBeNull();
      await driver.close();
      await proxy.close();
    });

    test("a removal during a cut is not an exit", async () => {
      const proxy = await new CuttableProxy(harness.socketPath, harness.stateDir).open();
      const { driver, seen } = await harness.start({ socketPath: proxy.path });
      const workload = harness.workload({
        command: ["sh", "-c", "trap 'sleep 0.3; exit 0' TERM; while true; do sleep 0.05; done"],
      });
      await driver.apply(workload, never);
      const removing = driver.remove(workload.id, 1, 5_000).catch(() => "failed");
      await pause(100);
      proxy.cut();
      await pause(600);
      proxy.mend();
      expect(await removing).toBe("failed");
      await pause(600);
      await driver.remove(workload.id, 1, 5_000);
      expect(await harness.containers(workload)).toEqual([]);
      expect(exits(seen, workload)).toEqual([]);
      await driver.close();
      await proxy.close();
    });

    test("what a person restarts is told as running, and its next end as exited", async () => {
      const { driver, seen } = await harness.start();
      const workload = harness.workload();
      await driver.apply(workload, never);
      await container(workload).kill({ signal: "SIGKILL" });
      await until("the first exit", () => exits(seen, workload)[0]);
      await container(workload).start();
      await until("running again", () => seen.find((it) => it.id === workload.id && it.phase === "running"));
      await container(workload).kill({ signal: "SIGKILL" });
      await until("the second exit", () => exits(seen, workload)[1]);
      await driver.close();
    });

    test("what a person removes by force is told as exited", async () => {
      const { driver, seen } = await harness.start();
      const workload = harness.workload();
      await driver.apply(workload, never);
      await container(workload).remove({ force: true });
      await until("the exit", () => exits(seen, workload)[0]);
      // Podman asks politely first.
      expect(exits(seen, workload)).toMatchObject([{ exit: { code: runtime === "docker" ? 137 : 143 } }]);
      await driver.close();
    });

    test("a removal just before a restart of the agent is not told after it", async () => {
      const first = await harness.start();
      const workload = harness.workload();
      await first.driver.apply(workload, never);
      await first.driver.remove(workload.id, 1, 0);
      await first.driver.close();
      const second = await harness.start();
      await pause(300);
      expect(second.found.filter((it) => it.id === workload.id)).toEqual([]);
      expect(second.seen.filter((it) => it.id === workload.id)).toEqual([]);
      await second.driver.close();
    });

    test("another host's containers on the same engine are not ours", async () => {
      const { driver, seen } = await harness.start();
      const workload = harness.workload({ command: ["true"] });
      const other = await harness.engine
        .createContainer(creation(workload, { hostId: `${harness.hostId}-other`, runtime, init: true }))
        .catch((error: unknown) => error as Error);
      if (other instanceof Error) throw other;
      try {
        const stranger = await harness.start({
          hostId: `${harness.hostId}-else`,
          stateDir: `${harness.stateDir}/else`,
        });
        expect(stranger.found).toEqual([]);
        await stranger.driver.remove(workload.id, 1, 0);
        await driver.remove(workload.id, 1, 0);
        expect((await other.inspect()).Id).toBe(other.id);
        expect(seen.filter((it) => it.id === workload.id)).toEqual([]);
        await stranger.driver.close();
      } finally {
        await other.remove({ force: true });
        await driver.close();
      }
    });

    test("without an engine there is nothing to detect and nothing to start", async () => {
      const driver = harness.driver({ socketPath: `${harness.stateDir}/nobody.sock` });
      expect(await driver.detect()).toBeNull();
      await expect(driver.start(() => undefined)).rejects.toThrow(/no container engine answers/);
    });
  });
});
