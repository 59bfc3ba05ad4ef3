import { describe, expect, test } from "vitest";
import type { Observation } from "../../contract/workload.ts";
import { deadlineOf, isGone } from "../../objects/deployment/letters.ts";
import { Driven, exit, GIB, host, T0 } from "./driven-deployment.ts";

describe("a worker", () => {
  test("is pending until a host has taken it, creating until it runs, then running", () => {
    const it = new Driven();
    expect(it.state).toMatchObject({ status: "pending", reason: "placing" });
    expect(it.letters).toEqual(["place"]);
    it.hosts(host("a"));
    expect(it.state.status).toBe("pending");
    expect(it.letters).toEqual(["offer"]);
    it.accepted();
    expect(it.state).toMatchObject({ status: "creating", message: "0 of 1 replica running" });
    it.seen({ phase: "preparing", message: "pulling nginx 40 %" });
    expect(it.state.message).toBe("0 of 1 replica running; pulling nginx 40 %");
    it.seen({ phase: "running" });
    expect(it.state).toMatchObject({ status: "running", restart_count: 0 });
    expect(deadlineOf(it.state)).toBeNull();
    expect(it.entries.filter((reason) => reason === "state_transition")).toHaveLength(2);
  });

  test("that dies is replaced after 1, 2, 4, 8 s, and given up at the fifth death", () => {
    const it = new Driven().running();
    for (const [deaths, delay] of [
      [1, 1],
      [2, 2],
      [3, 4],
      [4, 8],
    ] as const) {
      const generation = it.slot().generation;
      it.seen({ phase: "exited" });
      expect(it.state).toMatchObject({ status: "running", reason: "restarting", restart_count: deaths });
      expect(it.slot()).toMatchObject({ phase: "waiting", retry_at: it.now + delay * 1000 });
      it.due();
      expect(it.slot()).toMatchObject({ phase: "placing", generation: generation + 1 });
      expect(it.state.leaving).toMatchObject([{ generation }]);
      it.gone().running();
      expect(it.state.status).toBe("running");
    }
    it.seen({ phase: "exited", exit: exit({ code: null, signal: "SIGKILL" }) });
    expect(it.state).toMatchObject({ status: "crash_loop_back_off", restart_count: 5 });
    expect(it.state.message).toContain("was killed by SIGKILL");
    expect(deadlineOf(it.state)).toBeNull();
    expect(it.slot()).toMatchObject({ phase: "exited" });
  });

  test("that exits 0 has died too: only jobs complete", () => {
    const it = new Driven().running().seen({ phase: "exited", exit: exit({ code: 0 }) });
    expect(it.state).toMatchObject({ status: "running", restart_count: 1 });
  });

  test("whose image cannot be pulled is retried after 1, 2, 4, 8, 16 s and then given up", () => {
    const it = new Driven().hosts(host("a")).accepted().seen({ phase: "failed" });
    for (const [count, delay] of [
      [0, 1],
      [1, 2],
      [2, 4],
      [3, 8],
      [4, 16],
    ] as const) {
      expect(it.state).toMatchObject({ status: "image_pull_back_off", restart_count: count });
      expect(it.slot()).toMatchObject({ phase: "waiting", retry_at: it.now + delay * 1000 });
      it.due().gone().hosts(host("a")).accepted();
      expect(it.state.status).toBe("image_pull_back_off");
      it.seen({ phase: "failed" });
    }
    expect(it.state).toMatchObject({ status: "crash_loop_back_off", restart_count: 5 });
  });

  test("runs when a retry succeeds, and keeps its count", () => {
    const it = new Driven()
      .hosts(host("a"))
      .accepted()
      .seen({ phase: "failed" })
      .due()
      .hosts(host("a"))
      .accepted()
      .seen({ phase: "failed" });
    expect(it.state.restart_count).toBe(1);
    it.due().running();
    expect(it.state).toMatchObject({ status: "running", restart_count: 1 });
    it.do({ type: "reapplied" });
    expect(it.state.restart_count).toBe(0);
    expect(it.entries).toContain("restart_count_reset");
  });

  test("that no host fits says why, and looks again when told", () => {
    const it = new Driven("worker", 1, GIB).hosts(
      host("a", { scheduling: "cordoned" }),
      host("b", { reserved: { memory_bytes: 8 * GIB, cpu_millis: 0 } }),
    );
    expect(it.state).toMatchObject({ status: "pending", reason: "no_host_fits" });
    expect(it.state.message).toBe("no host fits: a is cordoned; b has 0 B of memory free of 1 GiB needed");
    it.do({ type: "capacity" });
    expect(it.letters).toEqual(["place"]);
  });

  test("that no host could ever hold is insufficient_resources", () => {
    const it = new Driven("worker", 1, 16 * GIB).hosts(host("a"), host("b", { status: "unreachable" }));
    expect(it.state).toMatchObject({ status: "insufficient_resources" });
    expect(deadlineOf(it.state)).toBeNull();
    // A host of another kind proves nothing.
    expect(new Driven("worker", 1, 16 * GIB).hosts(host("a", { runtimes: [] })).state.status).toBe("pending");
    expect(new Driven("worker", 1, 16 * GIB).hosts().state.status).toBe("pending");
  });

  test("that a host refuses is offered to the next, and waits when all refuse", () => {
    const it = new Driven().hosts(host("a"), host("b"));
    expect(it.slot()).toMatchObject({ phase: "offered", host_id: "a" });
    it.do({
      type: "answered",
      host_id: "a",
      answers: [{ slot: 0, generation: 1, accepted: false, message: "has port 80/tcp in use by x" }],
    });
    expect(it.letters).toEqual(["place"]);
    it.hosts(host("a"), host("b"));
    expect(it.slot()).toMatchObject({ phase: "offered", host_id: "b", generation: 1 });
    it.do({
      type: "answered",
      host_id: "b",
      answers: [{ slot: 0, generation: 1, accepted: false, message: "is draining" }],
    });
    it.hosts(host("a"), host("b"));
    expect(it.state.message).toBe("no host fits: a has port 80/tcp in use by x; b is draining");
    // Looking again at once asks nobody twice; a deadline, or word of room, does.
    it.hosts(host("a"), host("b"));
    expect(it.slot()).toMatchObject({ phase: "placing" });
    it.do({ type: "capacity" }).hosts(host("a"), host("b"));
    expect(it.slot()).toMatchObject({ phase: "offered", host_id: "a" });
  });

  test("that refers to what is missing waits for it without a host, is told, and looks again by itself", () => {
    const slots = [{ slot: 0, generation: 1 }];
    const it = new Driven().do({ type: "unresolved", message: "secret 's' is missing", slots });
    expect(it.state).toMatchObject({ status: "config_error", restart_count: 0, leaving: [] });
    expect(it.state.message).toContain("secret 's' is missing");
    expect(it.letters).toEqual([]);
    // Neither a look at the hosts that was under way, nor word of room, nor the same news again moves it.
    it.hosts(host("a")).do({ type: "capacity" }).do({ type: "unresolved", message: "secret 's' is missing", slots });
    expect([it.slot().phase, it.letters]).toEqual(["placing", []]);
    expect(it.entries.filter((reason) => reason === "config_error")).toHaveLength(1);
    expect(new Driven().do({ type: "unresolved", message: "", slots }).due().letters).toEqual(["place"]);
    it.do({ type: "resolvable" });
    expect(it.letters).toEqual(["place"]);
    it.do({ type: "resolvable" });
    expect(it.letters).toEqual([]);
    expect(it.running().state).toMatchObject({ status: "running", restart_count: 0 });
  });

  test("whose secret goes while its host is asked takes back what that host may have taken", () => {
    const it = new Driven().hosts(host("a"));
    it.do({ type: "unresolved", message: "secret 's' is missing", slots: [{ slot: 0, generation: 1 }] });
    expect(it.slot()).toMatchObject({ phase: "placing", generation: 2, unresolved: true });
    expect(it.state.leaving).toMatchObject([{ generation: 1, host_id: "a" }]);
    expect(it.letters).toEqual(["withdraw"]);
    // The answer that was lost comes after all.
    it.do({ type: "answered", host_id: "a", answers: [{ slot: 0, generation: 1, accepted: true }] });
    expect(it.slot()).toMatchObject({ phase: "placing", generation: 2 });
    it.gone();
    expect(it.state.leaving).toEqual([]);
  });

  test("spreads its replicas, and counts what the first take", () => {
    const it = new Driven("worker", 4, 3 * GIB).hosts(host("a"), host("b"));
    expect(it.state.instances.map((i) => (i.phase === "offered" ? i.host_id : i.phase))).toEqual(["a", "b", "a", "b"]);
    const five = new Driven("worker", 5, 3 * GIB).hosts(host("a"), host("b"));
    expect(five.state.instances.filter((i) => i.phase === "placing")).toHaveLength(1);
  });

  test("of a lost host moves without counting a restart; the old one must still go", () => {
    const it = new Driven().running();
    it.do({ type: "evicted", host_id: "a", why: "host_lost", slots: [{ slot: 0, generation: 1 }] });
    expect(it.state).toMatchObject({ status: "running", restart_count: 0, leaving: [{ host_id: "a", generation: 1 }] });
    expect(it.letters.sort()).toEqual(["place", "withdraw"]);
    it.hosts(host("a", { status: "lost" }));
    expect(it.state).toMatchObject({ status: "pending", reason: "no_host_fits", message: "no host fits: a is lost" });
    it.hosts(host("b")).accepted().seen({ phase: "running" });
    expect(it.state.status).toBe("running");
    expect(it.state.leaving).toHaveLength(1);
  });

  test("of a drained host serves until its successor runs elsewhere", () => {
    const it = new Driven().running();
    it.do({ type: "evicted", host_id: "a", why: "host_draining", slots: [{ slot: 0, generation: 1 }] });
    expect(it.state).toMatchObject({
      status: "running",
      reason: "moving",
      leaving: [{ generation: 1, serving: true }],
    });
    expect(it.letters).toEqual(["place"]);
    it.hosts(host("a", { scheduling: "draining" }));
    expect(it.state).toMatchObject({ status: "running", leaving: [{ serving: true }] });
    it.hosts(host("a", { scheduling: "draining" }), host("b"))
      .accepted()
      .seen({ phase: "running" });
    expect(it.state).toMatchObject({
      status: "running",
      reason: "running",
      leaving: [{ generation: 1, serving: false }],
    });
    expect(it.letters).toEqual(["withdraw"]);
    it.gone();
    expect(it.state.leaving).toEqual([]);
  });

  test("of a drained host that dies before its successor runs is only gone, not counted", () => {
    const it = new Driven().running();
    it.do({ type: "evicted", host_id: "a", why: "host_draining", slots: [{ slot: 0, generation: 1 }] });
    const dead: Observation = { phase: "exited", id: "w-0", generation: 1, at: T0, exit: exit() };
    it.do({ type: "observed", host_id: "a", reports: [{ slot: 0, generation: 1, observation: dead }] });
    expect(it.state).toMatchObject({ restart_count: 0, leaving: [{ serving: false }] });
    expect(it.letters).toEqual(["withdraw"]);
  });

  test("of a removed host leaves nothing behind", () => {
    const it = new Driven().running();
    it.do({ type: "evicted", host_id: "a", why: "host_removed", slots: [{ slot: 0, generation: 1 }] });
    expect(it.state.leaving).toEqual([]);
    expect(it.slot()).toMatchObject({ phase: "placing", generation: 2 });
  });

  test("waits no longer for an older generation when its host has taken a newer one", () => {
    const it = new Driven().running().seen({ phase: "exited" }).due();
    expect(it.state.leaving).toMatchObject([{ host_id: "a", generation: 1 }]);
    it.hosts(host("a"));
    expect(it.state.leaving).toHaveLength(1);
    it.accepted();
    expect(it.state.leaving).toEqual([]);
    const elsewhere = new Driven().running().seen({ phase: "exited" }).due().hosts(host("b")).accepted();
    expect(elsewhere.state.leaving).toMatchObject([{ host_id: "a", generation: 1 }]);
  });

  test("ignores reports of other generations and hosts", () => {
    const it = new Driven().running();
    const before = it.state;
    const dead: Observation = { phase: "exited", id: "w-0", generation: 1, at: T0, exit: exit() };
    it.do({ type: "observed", host_id: "b", reports: [{ slot: 0, generation: 1, observation: dead }] });
    it.do({
      type: "observed",
      host_id: "a",
      reports: [{ slot: 0, generation: 7, observation: { ...dead, generation: 7 } }],
    });
    it.do({ type: "observed", host_id: "a", reports: [{ slot: 3, generation: 1, observation: dead }] });
    expect(it.state).toEqual(before);
  });

  test("is deleted when every host says that it is gone", () => {
    const it = new Driven("worker", 2)
      .hosts(host("a"), host("b"))
      .accepted(0)
      .accepted(1)
      .seen({ phase: "running" }, 0);
    it.do({ type: "delete", entry: { level: "info", component: "api", reason: "deletion_requested", message: "x" } });
    expect(it.state.status).toBe("deleted");
    expect(it.letters).toEqual(["withdraw"]);
    expect(isGone(it.state)).toBe(false);
    expect(deadlineOf(it.state)).toBeGreaterThan(it.now);
    it.due();
    expect(it.letters).toEqual(["withdraw"]);
    it.gone();
    expect(isGone(it.state)).toBe(true);
    expect(deadlineOf(it.state)).toBeNull();
  });
});

describe("a job", () => {
  test("that exits 0 is completed; its exit stays", () => {
    const it = new Driven("job").running().seen({ phase: "exited", exit: exit({ code: 0 }) });
    expect(it.state).toMatchObject({ status: "completed", exit: { code: 0 }, restart_count: 0 });
    expect(it.slot().phase).toBe("exited");
  });

  test.each([
    [{ code: 3 }, "the job exited with code 3", "job_failed"],
    [{ code: null, signal: "SIGSEGV" }, "the job was killed by SIGSEGV", "job_failed"],
    [{ code: 137, oom: true }, "the job was killed: out of memory", "job_failed"],
    [{ code: null, evidence: "lost" as const }, "the job is gone, and how it ended is not known", "exit_unknown"],
  ])("that ends with %j is failed: %s", (over, message, reason) => {
    const it = new Driven("job").running().seen({ phase: "exited", exit: exit(over) });
    expect(it.state).toMatchObject({ status: "failed", message, reason });
  });

  test("whose exit is the first that is heard of it is completed from creating", () => {
    const it = new Driven("job")
      .hosts(host("a"))
      .accepted()
      .seen({ phase: "exited", exit: exit({ code: 0 }) });
    expect(it.state.status).toBe("completed");
  });

  test("is not run a second time when its host is lost", () => {
    const it = new Driven("job").running();
    it.do({ type: "evicted", host_id: "a", why: "host_lost", slots: [{ slot: 0, generation: 1 }] });
    expect(it.state).toMatchObject({ status: "failed", reason: "host_lost" });
    expect(it.state.leaving).toHaveLength(1);
  });

  test("is left to finish on a host that is drained", () => {
    const it = new Driven("job").running();
    it.do({ type: "evicted", host_id: "a", why: "host_draining", slots: [{ slot: 0, generation: 1 }] });
    expect(it.state.status).toBe("running");
  });

  test("that cannot be created is retried, then failed", () => {
    const it = new Driven("job").hosts(host("a")).accepted().seen({ phase: "failed" });
    for (let i = 0; i < 5; i++) it.due().hosts(host("a")).accepted().seen({ phase: "failed" });
    expect(it.state).toMatchObject({ status: "failed", restart_count: 5, reason: "retries_exhausted" });
  });
});
