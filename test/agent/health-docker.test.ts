// Health checks of real containers, through a whole agent: each kind, on each engine.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { HealthResult, Probe } from "../../contract/health.ts";
import { type EngineName, engineNames, engineParts, Harness } from "./docker-harness.ts";
import { linked, tidyAfterEach } from "./linked-agent.ts";
import { folder } from "./workload.ts";

tidyAfterEach();

const pace = {
  interval_ms: 300,
  timeout_ms: 3_000,
  threshold: 2,
  readiness: false,
  min_healthy_ms: 0,
  start_period_ms: 0,
};

describe.each(engineNames)("%s", (name: EngineName) => {
  const part = engineParts[name];
  let harness: Harness;
  beforeAll(async () => {
    if (part.available) harness = await Harness.open(name, part);
  });
  afterAll(async () => {
    if (part.available) await harness.close();
  });

  test.skipIf(!part.available)("a container is reached at its own address, and asked from inside", async () => {
    const { plane } = await linked("tunnel", folder(), {
      runtimes: [name],
      socketPath: harness.socketPath,
      usageWindowMs: 500,
    });
    const checks: Probe[] = [
      { type: "tcp", port: 8080, ...pace, readiness: true },
      { type: "http", url: "http://localhost:8080/index.html", ...pace },
      { type: "http", url: "http://localhost:8080/missing", ...pace },
      { type: "command", command: ["test", "-e", "/tmp/w/index.html"], ...pace },
      { type: "command", command: ["sh", "-c", "echo no >&2; exit 4"], ...pace },
      { type: "command", command: ["sleep", "100"], ...pace, timeout_ms: 700 },
      { type: "tcp", port: 8081, ...pace },
    ];
    const script =
      "sleep 0.5; mkdir -p /tmp/w; echo hello > /tmp/w/index.html; exec busybox httpd -f -p 8080 -h /tmp/w";
    const made = harness.workload({ command: ["sh", "-c", script], health_checks: checks, measured: true });
    await plane.apply(made);
    const results = (): HealthResult[] =>
      plane.heard.flatMap(({ body }) => (body.kind === "health" ? body.results : []));
    const last = (check: number) => results().findLast((result) => result.check === check);
    await plane.until(
      () => [2, 4, 5, 6].every((check) => (last(check)?.tripped ?? 0) > 0),
      "the bad ones have tripped",
    );
    await plane.until(() => [0, 1, 3].every((check) => last(check)?.healthy === true), "the good ones are green");
    expect(last(2)).toMatchObject({ status: "failed", message: expect.stringMatching(/8080\/missing answered 404$/) });
    expect(last(4)).toMatchObject({ status: "failed", message: "exit code 4: no" });
    expect(last(5)).toMatchObject({ status: "timeout" });
    expect(last(6)).toMatchObject({ status: "failed", message: expect.stringMatching(/:8081: connection refused$/) });
    const used = () => plane.heard.flatMap(({ body }) => (body.kind === "usage" ? body.usages : []));
    await plane.until(() => used().length > 0, "usage");
    expect(used()[0]).toMatchObject({ id: made.id, generation: 1 });
    expect(used()[0]?.memory_usage_bytes).toBeGreaterThan(0);
    await plane.apply({ ...made, want: "gone" });
    await plane.phase(made.id, "gone");
  });
});
