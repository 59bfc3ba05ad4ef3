// Instances with a real control plane and a real agent. The engine's program is stood in for: what is tested here is everything around it.
import { expect, test } from "vitest";
import { freshEnv, lamplighter } from "../cli/captured.ts";
import { until } from "./client.ts";
import { standIn } from "./stand-in.ts";

test("kill -9 of control plane or agent during each action: it ends where it should, or says why not", async (context) => {
  const { cluster, rules, rests, act, view, id } = await standIn(context);
  const interrupted = async (action: string, who: "plane" | "agent") => {
    await act(action);
    if (who === "plane") {
      await cluster.killPlane();
      await cluster.startPlane();
    } else {
      await cluster.killAgent("one");
      cluster.startAgent("one");
    }
    return rests();
  };
  const expected = {
    provision: "running",
    rebuild: "running",
    pause: "paused",
    resume: "running",
    terminate: "terminated",
  };
  for (const who of ["plane", "agent"] as const) {
    for (const [action, status] of Object.entries(expected)) {
      const now = await interrupted(action, who);
      expect([now.status, now.last_operation?.action, now.last_operation?.outcome], `${action} without ${who}`).toEqual(
        [status, action, "succeeded"],
      );
    }
  }
  expect(await cluster.liveOf(id)).toEqual([]);
  rules({ build: "die" });
  const failed = await interrupted("provision", "plane");
  expect([failed.status, failed.last_error?.code]).toEqual(["failed", "builder_died"]);
  expect((await view()).last_error?.message).toContain("exit code 3");
});

test("a failed rebuild leaves the same engine process serving; a queued pause is done after it", async (context) => {
  const { cluster, rules, rests, act, view, id } = await standIn(context);
  await act("provision");
  await rests();
  const endpoint_url = await until(
    () => "it has no endpoint",
    async () => (await view()).endpoint_url,
  );
  const ask = async () => (await fetch(`${endpoint_url}/query`, { method: "POST" })).text();
  expect(await ask()).toBe("[]");
  const [before] = await cluster.liveOf(id);
  rules({ build: "fail" });
  await act("rebuild");
  const after = await rests();
  expect([after.status, after.last_error?.code, await ask()]).toEqual(["running", "config_invalid", "[]"]);
  expect((await cluster.liveOf(id)).map(({ key }) => key)).toEqual([before?.key]);
  rules({ build: "silent" });
  await act("rebuild");
  await until(
    () => "it is not building",
    async () => (await view()).status === "building",
  );
  expect((await act("pause")).desired_state).toBe("paused");
  // The builder is killed, and its agent says so.
  const builder = await until(
    () => "no builder runs",
    async () => (await cluster.liveOf(id)).find(({ workload }) => workload.endsWith("-1")) ?? null,
  );
  await cluster.killInstance(builder);
  await until(
    () => "it is not paused",
    async () => (await view()).status === "paused",
  );
  expect(await cluster.liveOf(id)).toEqual([]);
});

test("what a build writes is read while it is written, and is kept; what an engine writes goes on over rollouts", async (context) => {
  const { cluster, rules, rests, act, send, view, id } = await standIn(context);
  const env = freshEnv({ LAMPLIGHTER_URL: cluster.url, LAMPLIGHTER_TOKEN: cluster.token });
  const logs = (...more: string[]) => lamplighter(["instance", "logs", id, ...more], { env });
  const building = () =>
    until(
      () => "it does not build",
      async () => {
        const { status, latest_build } = await view();
        return status === "building" && latest_build;
      },
    );
  rules({ build: "verbose", serve: "verbose" });
  await act("provision");
  const first = await building();
  const followed = logs("--build", first.id, "--follow");
  const early = await until(
    () => "nothing is read while it is written",
    async () => {
      const { out } = await logs("--build", first.id);
      return out.includes("a complaint") && out;
    },
  );
  expect(early).not.toContain("it goes on");
  // What it writes once it has reported may or may not be among it.
  const linesOf = (out: string) => out.split("\n").filter((line) => line !== "" && line !== "built: 200");
  const whole = linesOf((await followed).out);
  expect(whole).toEqual([expect.stringMatching(/^build of \d+ begins$/), "a complaint", "it goes on", "artifact: 200"]);
  await rests();

  const ending = logs("--follow");
  rules({ build: "die", serve: "verbose" });
  await act("rebuild");
  const second = await building();
  expect((await rests()).last_error?.code).toBe("builder_died");
  // Nothing of either is on the host any more, and each has its own lines.
  expect(await cluster.liveOf(id)).toHaveLength(1);
  const kept = await until(
    () => "the log of the build that died is not kept",
    async () => {
      const { out } = await logs("--build", second.id);
      return out.includes("a complaint") && out;
    },
  );
  expect(linesOf(kept)).toHaveLength(2);
  expect(linesOf((await logs("--build", first.id)).out)).toEqual(whole);
  expect((await logs("--build", second.id, "-f")).out).toBe(kept);

  await act("redeploy", { build_id: first.id });
  await rests();
  await act("terminate");
  const { out } = await ending;
  expect(out.match(/serve of \d+ begins/g)).toHaveLength(2);
  expect(out.match(/loaded: 200/g)).toHaveLength(2);
  expect(linesOf((await logs("--build", first.id)).out)).toEqual(whole);
  await send("DELETE", `/instances/${id}`);
});
