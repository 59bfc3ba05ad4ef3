import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { exitOf, json, linesOf, startDriver, up } from "./process-driver.ts";
import { eventually, folder, sh } from "./workload.ts";

const isRoot = process.getuid?.() === 0;
const hasCgroups = isRoot && existsSync("/sys/fs/cgroup/memory/memory.limit_in_bytes");

describe.runIf(hasCgroups)("limits", () => {
  test("memory: the kernel ends it, and that is said", async () => {
    const started = await startDriver(folder());
    const eat = "const held = []; for (;;) held.push(Buffer.alloc(4 << 20, 1));";
    const { made, seen } = await up(started, {
      command: [process.execPath, "-e", eat],
      memory_limit_bytes: 96 * 1024 ** 2,
    });
    expect(seen).toMatchObject({ phase: "running", notes: [] });
    expect(await exitOf(started, made.id)).toMatchObject({
      signal: "SIGKILL",
      code: null,
      oom: true,
      evidence: "kept",
    });
  });

  test("cpu: half a core is half a core", async () => {
    const dataDir = folder();
    const started = await startDriver(dataDir);
    const { made } = await up(started, { command: sh("while :; do :; done"), cpu_limit_millis: 500 });
    const { cgroup } = json(join(dataDir, "process", made.id, "g1", "intent.json"));
    const dir = (cgroup.dirs as string[]).find((each) => existsSync(join(each, "cpu.cfs_quota_us"))) as string;
    const [quota, period] = ["quota", "period"].map((name) => Number(readFileSync(join(dir, `cpu.cfs_${name}_us`))));
    expect((quota as number) / (period as number)).toBe(0.5);
    await started.driver.stats([made.id]);
    // Others want the cores too: that it comes to its half in one of many tenths of a second is what can be asked for, and never to more.
    const throttled = () => Number(/^nr_throttled (\d+)$/m.exec(readFileSync(join(dir, "cpu.stat"), "utf8"))?.[1]);
    await eventually(async () => throttled() > 0, "it is held back", 20_000);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const [stats] = await started.driver.stats([made.id]);
    expect(stats?.cpu_usage_percent).toBeGreaterThan(0);
    expect(stats?.cpu_usage_percent).toBeLessThan(65);
  });

  test("a kill that is not for memory is not called so", async () => {
    const started = await startDriver(folder());
    const { made } = await up(started, { command: sh("kill -9 $$"), memory_limit_bytes: 64 * 1024 ** 2 });
    expect(await exitOf(started, made.id)).toMatchObject({ signal: "SIGKILL", oom: false });
  });

  test("leave no cgroup behind", async () => {
    const dataDir = folder();
    const started = await startDriver(dataDir);
    const { made } = await up(started, { memory_limit_bytes: 64 * 1024 ** 2, cpu_limit_millis: 100 });
    const { mark, cgroup } = json(join(dataDir, "process", made.id, "g1", "intent.json"));
    expect(cgroup.dirs.filter(existsSync).length).toBeGreaterThan(1);
    await started.driver.remove(made.id, 1, 0);
    expect(cgroup.dirs.filter(existsSync), mark).toEqual([]);
  });
});

describe("beside the program", () => {
  test("exec runs as it, where it runs, with what it has", async () => {
    const dataDir = folder();
    const started = await startDriver(dataDir);
    const { made } = await up(started, { command: sh("id -u; pwd; sleep 1000"), environment: { COLOUR: "blue" } });
    await eventually(async () => (await linesOf(started.driver, made.id)).length === 2, "it has said who it is");
    const said = (await linesOf(started.driver, made.id)).map((line) => line.message).join("\n");
    const run = (command: string[], ms = 5_000) => started.driver.exec(made.id, 1, command, ms);
    expect(await run(sh("id -u; pwd; echo $COLOUR >&2; exit 4"))).toEqual({
      exit_code: 4,
      stdout: `${said}\n`,
      stderr: "blue\n",
      truncated: false,
    });
    expect(await run(["no-such-program"])).toMatchObject({ exit_code: 127 });
    expect(await run(sh("sleep 1000"), 100)).toMatchObject({ exit_code: null });
    const much = await run(sh("head -c 3000000 /dev/zero"));
    expect([much.stdout.length, much.truncated]).toEqual([1024 ** 2, true]);
    await expect(started.driver.exec("dep_none-0", 1, ["true"], 100)).rejects.toThrow("is not running");
  });

  test("stats count it and all that it started", async () => {
    const started = await startDriver(folder());
    const { made } = await up(started, { command: sh("sleep 1000 & sleep 1000 & wait") });
    await eventually(async () => (await started.driver.stats([made.id]))[0]?.pids.current === 3, "there are three");
    const [stats] = await started.driver.stats([made.id, "dep_none-0"]);
    expect(stats).toMatchObject({ instance_id: `${made.id}-g1`, pids: { current: 3 } });
    expect(stats?.memory.usage_bytes).toBeGreaterThan(0);
  });
});
