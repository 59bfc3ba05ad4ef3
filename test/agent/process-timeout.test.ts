import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Observation } from "../../contract/workload.ts";
import { exitOf, json, linesOf, never, startDriver, up } from "./process-driver.ts";
import { eventually, folder, isRunning, sh, workload } from "./workload.ts";

describe("a job's time", () => {
  test("is over: it is asked to end, and how it ended says so", async () => {
    const started = await startDriver(folder());
    const command = sh("trap 'echo asked; exit 7' TERM; while :; do sleep 0.02; done");
    const { made } = await up(started, { kind: "job", command, run_timeout_ms: 300, stop_timeout_ms: 5_000 });
    expect(await exitOf(started, made.id)).toMatchObject({ code: 7, signal: null, timed_out: true, evidence: "kept" });
    expect((await linesOf(started.driver, made.id)).map(({ message }) => message)).toContain("asked");
  });

  test("is over: one that does not listen is killed, with all that it started", async () => {
    const started = await startDriver(folder());
    const command = sh("trap '' TERM; setsid sleep 1000 & echo $!; while :; do sleep 0.02; done");
    const { made } = await up(started, { kind: "job", command, run_timeout_ms: 200, stop_timeout_ms: 300 });
    expect(await exitOf(started, made.id)).toMatchObject({
      code: null,
      signal: "SIGKILL",
      timed_out: true,
      oom: false,
    });
    const [line] = await linesOf(started.driver, made.id);
    await started.driver.remove(made.id, 1, 0);
    expect(isRunning(Number(line?.message))).toBe(false);
  });

  test("is not over when it ended by itself, or was removed", async () => {
    const started = await startDriver(folder());
    const { made } = await up(started, { kind: "job", command: sh("exit 3"), run_timeout_ms: 60_000 });
    const exit = await exitOf(started, made.id);
    expect(exit).toMatchObject({ code: 3 });
    expect(exit).not.toHaveProperty("timed_out");
  });

  test("holds while there is no agent, and is known to the next", async () => {
    const dataDir = folder();
    const before = await startDriver(dataDir);
    const { made } = await up(before, { kind: "job", run_timeout_ms: 400, stop_timeout_ms: 1_000 });
    const { pid } = json(join(dataDir, "process", made.id, "g1", "child.json"));
    await before.driver.close();
    await eventually(() => !isRunning(pid), "it was ended");
    const after = await startDriver(dataDir);
    expect(await exitOf(after, made.id)).toMatchObject({ signal: "SIGTERM", timed_out: true });
    expect(await after.driver.apply(made, never)).toMatchObject({ phase: "exited", exit: { timed_out: true } });
  });
});

describe("ports", () => {
  const portsOf = (seen: Observation) => (seen.phase === "running" ? (seen.ports ?? []) : []);
  const say = sh("echo $PORT $PORT_80 $PORT_53 $PORT_9; sleep 1000");

  test("that are left to the host come from the agent's range, and the program is told", async () => {
    const started = await startDriver(folder(), { portRange: { from: 24_100, to: 24_199 } });
    const ports = [
      { target: 80, protocol: "tcp" as const },
      { target: 53, protocol: "udp" as const, published: null },
      { target: 53, protocol: "tcp" as const },
      { target: 9, protocol: "tcp" as const, published: 24_207 },
    ];
    const { made, seen } = await up(started, { ports, command: say });
    const bound = portsOf(seen);
    expect(bound.map(({ target, protocol }) => `${target}/${protocol}`)).toEqual([
      "80/tcp",
      "53/udp",
      "53/tcp",
      "9/tcp",
    ]);
    const [web, udp, tcp, given] = bound.map(({ published }) => published);
    expect([given, udp]).toEqual([24_207, tcp]);
    for (const port of [web, udp]) expect(port).toBeGreaterThanOrEqual(24_100);
    for (const port of [web, udp]) expect(port).toBeLessThan(24_200);
    await eventually(async () => (await linesOf(started.driver, made.id)).length > 0, "it has said so");
    const [line] = await linesOf(started.driver, made.id);
    expect(line?.message).toBe(`${web} ${web} ${tcp} 24207`);
    expect(seen).toMatchObject({ address: `127.0.0.1:${web}` });
  });

  test("are held over a restart of the agent, and given back with the instance", async () => {
    const dataDir = folder();
    const portRange = { from: 24_210, to: 24_212 };
    const before = await startDriver(dataDir, { portRange });
    const ports = [
      { target: 80, protocol: "tcp" as const },
      { target: 81, protocol: "tcp" as const },
    ];
    const { made, seen } = await up(before, { ports });
    await before.driver.close();
    const after = await startDriver(dataDir, { portRange });
    expect(portsOf(after.found[0]?.observation as Observation)).toEqual(portsOf(seen));
    const second = workload({ spec: { ports } });
    expect(await after.driver.apply(second, never)).toMatchObject({
      phase: "failed",
      failure: { reason: "no_free_port" },
    });
    await after.driver.remove(made.id, 1, 0);
    const { seen: third } = await up(after, { ports });
    expect(portsOf(third)).toHaveLength(2);
  });

  test("of others are left alone", async () => {
    const other = createServer().listen(24_220);
    await new Promise((resolve) => other.once("listening", resolve));
    const started = await startDriver(folder(), { portRange: { from: 24_220, to: 24_221 } });
    const { seen } = await up(started, { ports: [{ target: 80, protocol: "tcp" }] });
    other.close();
    expect(portsOf(seen)).toMatchObject([{ target: 80, published: 24_221 }]);
  });

  test("one that is asked for is not chosen for another port of the same program", async () => {
    const started = await startDriver(folder(), { portRange: { from: 24_230, to: 24_231 } });
    const ports = [
      { target: 80, protocol: "tcp" as const },
      { target: 81, protocol: "tcp" as const, published: 24_230 },
    ];
    const { seen } = await up(started, { ports });
    expect(portsOf(seen).map(({ published }) => published)).toEqual([24_231, 24_230]);
    const { seen: named } = await up(started, {
      environment: { PORT: "24233" },
      ports: [{ target: 80, protocol: "tcp" }],
    });
    expect(portsOf(named)).toMatchObject([{ target: 80, published: 24_233 }]);
  });
});
