import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type EngineName, engineNames, engineParts, exits, Harness, never, until } from "./docker-harness.ts";

describe.each(engineNames)("%s", (name: EngineName) => {
  const part = engineParts[name];
  let harness: Harness;
  beforeAll(async () => {
    if (part.available) harness = await Harness.open(name, part);
  });
  afterAll(async () => {
    if (part.available) await harness.close();
  });

  describe.skipIf(!part.available)("a job's time", () => {
    const trapping = ["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done"];

    test("is over: it is asked to end, and how it ended says so", async () => {
      const { driver, seen } = await harness.start();
      const job = harness.workload({ kind: "job", command: trapping, run_timeout_ms: 800, stop_timeout_ms: 5_000 });
      expect(await driver.apply(job, never)).toMatchObject({ phase: "running" });
      await until("its end", () => exits(seen, job)[0]);
      expect(exits(seen, job)).toMatchObject([{ exit: { code: 7, timed_out: true, oom: false } }]);
      await driver.remove(job.id, 1, 0);
    });

    test("is over: one that does not listen is killed", async () => {
      const { driver, seen } = await harness.start();
      const command = ["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"];
      const job = harness.workload({ kind: "job", command, run_timeout_ms: 300, stop_timeout_ms: 1_000 });
      await driver.apply(job, never);
      await until("its end", () => exits(seen, job)[0], 20_000);
      expect(exits(seen, job)).toMatchObject([{ exit: { code: 137, timed_out: true } }]);
      await driver.remove(job.id, 1, 0);
    });

    test("is not over when it ended by itself", async () => {
      const { driver, seen } = await harness.start();
      const job = harness.workload({ kind: "job", command: ["sh", "-c", "sleep 0.3; exit 3"], run_timeout_ms: 60_000 });
      await driver.apply(job, never);
      await until("its end", () => exits(seen, job)[0]);
      expect(exits(seen, job)[0]?.exit).toMatchObject({ code: 3 });
      expect(exits(seen, job)[0]?.exit).not.toHaveProperty("timed_out");
      await driver.remove(job.id, 1, 0);
    });

    test("counts from its own start, whichever agent looks; also when it was over while there was none", async () => {
      const stateDir = mkdtempSync(join(tmpdir(), "lamplighter-timeout-"));
      // Of a host of its own: the agents of the other tests look after every container of theirs.
      const hostId = `${harness.hostId}-alone`;
      const first = await harness.start({ stateDir, hostId });
      const job = harness.workload({ kind: "job", command: trapping, run_timeout_ms: 1_500, stop_timeout_ms: 5_000 });
      const at = Date.now();
      await first.driver.apply(job, never);
      await first.driver.close();
      await new Promise((resolve) => setTimeout(resolve, 1_800));
      expect((await harness.inspect(job)).State.Running).toBe(true);
      const second = await harness.start({ stateDir, hostId });
      await until("its end", () => exits(second.seen, job)[0]);
      expect(Date.now() - at).toBeLessThan(15_000);
      expect(exits(second.seen, job)).toMatchObject([{ exit: { code: 7, timed_out: true } }]);
      await second.driver.close();

      // An agent that died after the kill and before it saw the end finds what it was.
      const third = await harness.start({ stateDir, hostId });
      expect(third.found.find(({ id }) => id === job.id)?.observation).toMatchObject({
        exit: { code: 7, timed_out: true },
      });
      await third.driver.remove(job.id, 1, 0);
      rmSync(stateDir, { recursive: true, force: true });
    });
  });

  describe.skipIf(!part.available)("ports", () => {
    test("that are left to the host are free ones, each instance its own, and it says which", async () => {
      const { driver } = await harness.start();
      const ports = [
        { target: 80, protocol: "tcp" as const },
        { target: 53, protocol: "udp" as const, published: null },
      ];
      const command = [
        "sh",
        "-c",
        "mkdir -p /tmp/w; echo hello > /tmp/w/index.html; exec busybox httpd -f -p 80 -h /tmp/w",
      ];
      const made = [harness.workload({ ports, command }), harness.workload({ ports, command })];
      const seen = await Promise.all(made.map((one) => driver.apply(one, never)));
      const published = seen.map((it) => (it.phase === "running" ? it.ports : [])?.map((port) => port.published));
      for (const it of seen)
        expect(it).toMatchObject({
          phase: "running",
          address: expect.stringMatching(/^\d/),
          ports: [
            { target: 53, protocol: "udp", host_ip: null },
            { target: 80, protocol: "tcp", host_ip: null },
          ],
        });
      expect(published[0]?.[1]).not.toBe(published[1]?.[1]);
      const answer = await until("an answer", () =>
        fetch(`http://127.0.0.1:${published[0]?.[1]}/index.html`).then(
          (response) => response.text(),
          () => null,
        ),
      );
      expect(answer).toBe("hello\n");
      const again = await harness.start();
      for (const [i, one] of made.entries())
        expect(again.found.find(({ id }) => id === one.id)?.observation).toMatchObject({
          ports: (seen[i] as { ports?: unknown }).ports,
        });
      for (const one of made) await driver.remove(one.id, 1, 0);
    });
  });
});
