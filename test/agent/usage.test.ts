import { describe, expect, onTestFinished, test } from "vitest";
import type { Driver } from "../../agent/driver.ts";
import type { Subject } from "../../agent/subject.ts";
import { hasMoved, UsageSampler } from "../../agent/usage.ts";
import type { Usage } from "../../contract/health.ts";
import { instanceId } from "../../contract/id.ts";
import type { InstanceStats } from "../../contract/workload.ts";
import { linked, tidyAfterEach } from "./linked-agent.ts";
import { startDriver, up } from "./process-driver.ts";
import { eventually, folder, sh, spec, workload } from "./workload.ts";

tidyAfterEach();

const stats = (id: string, cpu: number, memory: number): InstanceStats => ({
  instance_id: instanceId(id, 1),
  instance_name: id,
  cpu_usage_percent: cpu,
  memory: { usage_bytes: memory, limit_bytes: 0, usage_percent: 0 },
  network: { rx_bytes: 0, tx_bytes: 0, rx_packets: 0, tx_packets: 0 },
  disk_io: { read_bytes: 0, write_bytes: 0 },
  pids: { current: 1, limit: 0 },
});

const subject = (id: string, measured = true): Subject => ({
  id,
  generation: 1,
  spec: spec({ measured }),
  probing: "all",
  seen: { id, generation: 1, at: 1, phase: "running", started_at: 1, address: null, image_digest: null, notes: [] },
});

function sampler(read: (ids: string[], reader?: string) => Promise<InstanceStats[]>, againMs = 60_000) {
  const told: Usage[][] = [];
  const lines: string[] = [];
  const made = new UsageSampler({
    driver: () => ({ stats: read }) as unknown as Driver,
    told: (usages) => told.push(usages),
    log: (line) => lines.push(line),
    windowMs: 20,
    againMs,
  });
  onTestFinished(() => made.close());
  return { made, told, lines };
}

test.each([
  [10, 100, 14.9, 109, false],
  [10, 100, 15, 100, true],
  [10, 100, 5, 100, true],
  [10, 100, 10, 110, true],
  [10, 100, 10, 90, true],
])("CPU %s and memory %s, then %s and %s: a change is %s", (cpu, memory, cpuNow, memoryNow, is) => {
  const usage = (cpu_usage_percent: number, memory_usage_bytes: number): Usage => ({
    id: "w",
    generation: 1,
    at: 1,
    cpu_usage_percent,
    memory_usage_bytes,
  });
  expect(hasMoved(usage(cpu, memory), usage(cpuNow, memoryNow))).toBe(is);
});

describe("the sampler", () => {
  test("asks for all in one round, tells what changed, and the same again at the latest then", async () => {
    let rounds = 0;
    let cpu = 50;
    const { made, told } = sampler(async (ids, reader) => {
      rounds++;
      expect([ids, reader]).toEqual([["a", "b"], "usage"]);
      return [stats("a", cpu, 1_000), stats("b", 10, 1_000)];
    }, 300);
    for (const [id, measured] of [
      ["a", true],
      ["b", true],
      ["c", false],
    ] as const)
      made.attend(id, subject(id, measured));
    await eventually(() => told.length > 0, "told");
    expect(rounds).toBeGreaterThanOrEqual(2);
    expect(told[0]?.map(({ id }) => id)).toEqual(["a", "b"]);
    cpu = 80;
    await eventually(() => told.length > 1, "told of the change");
    expect(told[1]).toMatchObject([{ id: "a", cpu_usage_percent: 80 }]);
    await eventually(() => told.slice(2).flat().length >= 2, "told again");
    expect(rounds).toBeGreaterThan(8);
  });

  test("goes on after a reading that failed, and stops when there is nothing to measure", async () => {
    let rounds = 0;
    const { made, told, lines } = sampler(async () => {
      if (++rounds < 3) throw new Error("no answer");
      return [stats("a", 1, 1)];
    });
    made.attend("a", subject("a"));
    await eventually(() => told.length > 0, "told");
    expect(lines).toEqual(["process: what workloads use cannot be read: no answer"]);
    made.attend("a", { ...subject("a"), seen: null });
    await new Promise((resolve) => setTimeout(resolve, 50));
    const before = rounds;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(rounds).toBe(before);
  });
});

test("one that reads often does not shorten another's window", async () => {
  const started = await startDriver(folder());
  const { made } = await up(started, {
    command: sh("sleep 0.5; i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done; sleep 1000"),
  });
  await started.driver.stats([made.id], "usage");
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  for (let i = 0; i < 3; i++) await started.driver.stats([made.id]);
  const [late] = await started.driver.stats([made.id]);
  const [whole] = await started.driver.stats([made.id], "usage");
  expect(late?.cpu_usage_percent).toBeLessThan(3);
  expect(whole?.cpu_usage_percent).toBeGreaterThan(0);
});

test("a busy program's use reaches the control plane, and an unmeasured one's does not", async () => {
  const { plane } = await linked("tunnel", folder(), { usageWindowMs: 300 });
  const busy = workload({ spec: { command: sh("while :; do :; done"), measured: true } });
  const quiet = workload({});
  await plane.apply(busy, quiet);
  const used = () => plane.heard.flatMap(({ body }) => (body.kind === "usage" ? body.usages : []));
  await plane.until(() => used().length > 0, "usage");
  expect(used()[0]).toMatchObject({ id: busy.id, generation: 1 });
  expect(used()[0]?.cpu_usage_percent).toBeGreaterThan(15);
  expect(used()[0]?.memory_usage_bytes).toBeGreaterThan(0);
  await new Promise((resolve) => setTimeout(resolve, 700));
  expect(new Set(used().map(({ id }) => id))).toEqual(new Set([busy.id]));
});
