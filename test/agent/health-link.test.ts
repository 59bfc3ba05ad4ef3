import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { runAgent } from "../../agent/main.ts";
import type { HealthResult, Probe } from "../../contract/health.ts";
import type { ControlPlane } from "./control-plane.ts";
import { cleanups, linked, tidyAfterEach } from "./linked-agent.ts";
import { agentProcess, folder, sh, workload } from "./workload.ts";

tidyAfterEach();

const pace = {
  interval_ms: 150,
  timeout_ms: 2_000,
  threshold: 3,
  readiness: false,
  min_healthy_ms: 0,
  start_period_ms: 0,
};
const command = (text: string, over: Partial<Probe> = {}): Probe =>
  ({ type: "command", command: sh(text), ...pace, ...over }) as Probe;

const results = (plane: ControlPlane, id: string, from = 0): HealthResult[] =>
  plane.heard
    .slice(from)
    .flatMap(({ body }) => (body.kind === "health" ? body.results : []))
    .filter((result) => result.id === id);

/** A folder that programs of any user can look into. */
function open(): string {
  const path = folder();
  chmodSync(path, 0o755);
  return path;
}

describe.each(["tunnel", "call"] as const)("over %s", (transport) => {
  test("results come on change, are restated after a cut, and follow which checks are to run", async () => {
    const { plane } = await linked(transport);
    const flag = join(open(), "well");
    const checks = [
      command(`test -e ${flag}`, { readiness: true, threshold: 1_000 }),
      command("exit 3", { threshold: 2 }),
    ];
    const made = { ...workload({ spec: { health_checks: checks } }), probing: "readiness" as const };
    await plane.apply(made);
    await plane.phase(made.id, "running");
    await plane.until(() => results(plane, made.id).length > 0, "a result");
    expect(results(plane, made.id)).toMatchObject([{ check: 0, status: "failed", type: "command", healthy: false }]);
    writeFileSync(flag, "");
    await plane.until(() => results(plane, made.id).at(-1)?.healthy === true, "ready");

    const from = plane.heard.length;
    await plane.apply({ ...made, probing: "all" });
    await plane.until(() => results(plane, made.id, from).some(({ tripped }) => tripped === 1), "tripped");
    expect(results(plane, made.id, from).every(({ check, generation }) => check === 1 && generation === 1)).toBe(true);
    expect(plane.seen.get(made.id)).toMatchObject({ phase: "running", generation: 1 });

    if (transport === "tunnel") {
      const cut = plane.heard.length;
      plane.cut();
      await plane.until(() => results(plane, made.id, cut).some(({ check }) => check === 0), "restated");
      expect(results(plane, made.id, cut).find(({ check }) => check === 0)).toMatchObject({
        status: "success",
        healthy: true,
      });
    }
  });
});

test("an agent that is killed forgives nothing: the count goes on where it was, and what was healthy is", async () => {
  const dataDir = folder();
  const { plane, agent, options } = await linked("tunnel", dataDir);
  await agent.close();
  const own = { ...options, log: undefined };
  const dir = open();
  const [flag, tries] = [join(dir, "well"), join(dir, "tries")];
  writeFileSync(flag, "");
  writeFileSync(tries, "");
  chmodSync(tries, 0o666);
  const checks = [
    // Long enough that the restart itself is no break.
    command("true", { readiness: true, timeout_ms: 20_000 }),
    command(`echo x >> ${tries}; test -e ${flag}`, { interval_ms: 600, threshold: 4 }),
  ];
  const made = workload({ spec: { health_checks: checks } });

  const first = agentProcess(own);
  await plane.until(() => plane.connections > 1, "linked again");
  await plane.apply(made);
  const of = (check: number, from = 0) => results(plane, made.id, from).filter((result) => result.check === check);
  await plane.until(() => of(0).at(-1)?.healthy === true && of(1).at(-1)?.status === "success", "well");
  rmSync(flag);
  await plane.until(() => of(1).at(-1)?.status === "failed", "failed once");
  await new Promise((resolve) => setTimeout(resolve, 700));
  await first.kill();

  const from = plane.heard.length;
  const second = await runAgent(options);
  cleanups.push(() => second.close());
  await plane.until(() => of(1, from).some(({ tripped }) => tripped === 1), "tripped");
  const last = of(1, from).at(-1);
  expect(last?.streak).toBeGreaterThanOrEqual(4);
  expect(last?.streak).toBeLessThanOrEqual(6);
  expect(of(0, from).map(({ status, healthy }) => [status, healthy])).toEqual([["success", true]]);
  expect(plane.seen.get(made.id)).toMatchObject({ phase: "running", generation: 1 });
});
