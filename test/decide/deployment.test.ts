import { describe, expect, test } from "vitest";
import {
  DEPLOYMENT_NEXT,
  DEPLOYMENT_STATUSES,
  type DeploymentState,
  type DeploymentStatus,
  isPassing,
  isTerminal,
  DeploymentState as Schema,
} from "../../contract/deployment.ts";
import type { Exit, Observation } from "../../contract/workload.ts";
import { type Decision, decide, type Event, initial } from "../../objects/deployment/decide.ts";
import type { Facts } from "../../objects/deployment/draft.ts";
import { deadlineOf, isGone, lettersFor } from "../../objects/deployment/letters.ts";
import type { Candidate } from "../../objects/deployment/placement.ts";
import { random } from "../random.ts";

const T0 = Date.UTC(2100, 0, 1);
const GIB = 1024 ** 3;

const host = (id: string, over: Partial<Candidate> = {}): Candidate => ({
  id,
  name: id,
  status: "ready",
  scheduling: "open",
  labels: {},
  runtimes: [{ runtime: "docker", version: "1" }],
  capacity: { memory_bytes: 8 * GIB, cpu_millis: 4000 },
  reserved: { memory_bytes: 0, cpu_millis: 0 },
  ...over,
});

/** A deployment that is driven by hand: keeps state, generation and time, as the object does. */
class Driven {
  state: DeploymentState;
  generation: number;
  now = T0;
  entries: string[] = [];
  letters: string[] = [];
  /** The changes of status that the last event told of. */
  moves: [DeploymentStatus, DeploymentStatus][] = [];
  readonly #facts: Omit<Facts, "generation" | "now">;

  constructor(kind: "worker" | "job" = "worker", replicas = 1, memory = 0) {
    this.#facts = {
      kind,
      replicas,
      need: { runtime: "docker", labels: {}, memory_bytes: memory, cpu_millis: 0 },
      jitter: 0.5,
    };
    const first = initial({ ...this.#facts, generation: 0, now: T0 });
    this.state = first.state;
    this.generation = first.generation;
    this.letters = [...lettersFor(null, first.state, "created")];
  }

  do(event: Event): this {
    const decision: Decision = decide(this.state, event, {
      ...this.#facts,
      generation: this.generation,
      now: this.now,
    });
    this.letters = [...lettersFor(this.state, decision.state, event.type)];
    this.moves = decision.entries.flatMap(({ data }) =>
      data && "old_status" in data ? [[data.old_status, data.new_status] as [DeploymentStatus, DeploymentStatus]] : [],
    );
    this.entries.push(...decision.entries.map(({ reason }) => reason));
    this.state = decision.state;
    this.generation = decision.generation;
    return this;
  }

  hosts(...hosts: Candidate[]): this {
    return this.do({ type: "hosts", hosts });
  }
  accepted(slot = 0): this {
    const instance = this.slot(slot);
    if (instance.phase !== "offered") throw new Error(`slot ${slot} is ${instance.phase}`);
    return this.do({
      type: "answered",
      host_id: instance.host_id,
      answers: [{ slot, generation: instance.generation, accepted: true }],
    });
  }
  seen(observation: Partial<Observation> & { phase: Observation["phase"] }, slot = 0): this {
    const instance = this.slot(slot);
    if (instance.phase === "placing") throw new Error(`slot ${slot} is on no host`);
    const { generation, host_id } = instance;
    const full = {
      id: `w-${slot}`,
      generation,
      at: this.now,
      ...defaults[observation.phase],
      ...observation,
    } as Observation;
    return this.do({ type: "observed", host_id, reports: [{ slot, generation, observation: full }] });
  }
  gone(): this {
    for (const { slot, generation, host_id } of this.state.leaving) {
      const observation: Observation = { phase: "gone", id: `w-${slot}`, generation, at: this.now };
      this.do({ type: "observed", host_id, reports: [{ slot, generation, observation }] });
    }
    return this;
  }
  /** Lets the next deadline come. */
  due(): this {
    const at = deadlineOf(this.state);
    if (at === null) throw new Error(`${this.state.status} has no deadline`);
    this.now = Math.max(at, this.now);
    return this.do({ type: "due" });
  }
  slot(slot = 0) {
    const instance = this.state.instances.find((i) => i.slot === slot);
    if (!instance) throw new Error(`no slot ${slot}`);
    return instance;
  }
  running(): this {
    return this.hosts(host("a")).accepted().seen({ phase: "running" });
  }
}

const exit = (over: Partial<Exit> = {}): Exit => ({
  code: 1,
  signal: null,
  oom: false,
  at: T0,
  evidence: "kept",
  ...over,
});
const defaults: Record<Observation["phase"], object> = {
  preparing: { message: "pulling" },
  running: { started_at: T0, address: "10.0.0.2", image_digest: null, notes: [] },
  exited: { exit: exit() },
  failed: { failure: { kind: "image_pull_back_off", reason: "image_not_found", message: "no such image" } },
  stopping: {},
  gone: {},
};

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

describe("random histories", () => {
  const EVENTS = 120_000;
  test(`${EVENTS} events: only listed edges, generations rise, no passing status without a deadline, terminal stays terminal`, () => {
    const taken = new Set<string>();
    let events = 0;
    for (let seed = 1; events < EVENTS; seed++) {
      const rnd = random(seed);
      const it = new Driven(rnd.pick(["worker", "job"]), rnd.int(3) || 1, rnd.pick([0, 6 * GIB]));
      const drawn = new Set<number>();
      for (let step = 0; step < 120; step++, events++) {
        const before = it.state;
        const generation = it.generation;
        it.now += rnd.int(20_000);
        it.do(randomEvent(it, rnd));
        const context = `seed ${seed} step ${step}: ${before.status} -> ${it.state.status}`;
        let from = before.status;
        for (const [old, next] of it.moves) {
          expect(old, context).toBe(from);
          expect(DEPLOYMENT_NEXT[from], context).toContain(next);
          taken.add(`${from} -> ${next}`);
          from = next;
        }
        expect(from, context).toBe(it.state.status);
        expect(it.generation, context).toBeGreaterThanOrEqual(generation);
        expect(Schema.safeParse(it.state).success, context).toBe(true);
        if (isTerminal(before.status)) expect([before.status, "deleted"], context).toContain(it.state.status);
        if (isPassing(it.state.status) && !isGone(it.state)) expect(deadlineOf(it.state), context).not.toBeNull();
        for (const instance of it.state.instances) {
          if (instance.phase === "placing") drawn.add(instance.generation);
          expect(
            it.state.instances.filter((other) => other.slot === instance.slot),
            context,
          ).toHaveLength(1);
          const twice = it.state.leaving.some((l) => l.slot === instance.slot && l.generation === instance.generation);
          expect(twice, `${context}: generation both here and leaving`).toBe(false);
        }
        expect(it.state.restart_count, context).toBeLessThanOrEqual(5);
        if (isGone(it.state)) break;
      }
    }
    const listed = DEPLOYMENT_STATUSES.flatMap((from) => DEPLOYMENT_NEXT[from].map((to) => `${from} -> ${to}`));
    expect(listed.filter((edge) => !taken.has(edge))).toEqual([]);
  }, 60_000);
});

function randomEvent(it: Driven, rnd: ReturnType<typeof random>): Event {
  const small = rnd.chance(0.02);
  const hosts = ["a", "b"].map((id) =>
    host(id, {
      status: rnd.chance(0.8) ? "ready" : "unreachable",
      scheduling: rnd.chance(0.9) ? "open" : "cordoned",
      capacity: { memory_bytes: (small ? 4 : 8) * GIB, cpu_millis: 4000 },
      reserved: { memory_bytes: rnd.chance(0.9) ? 0 : 4 * GIB, cpu_millis: 0 },
    }),
  );
  const instance =
    it.state.instances.length > 0
      ? rnd.pick(it.state.instances)
      : { slot: 0, generation: 1, phase: "placing" as const };
  const host_id = "host_id" in instance ? instance.host_id : "a";
  const at = { slot: instance.slot, generation: Math.max(1, instance.generation - (rnd.chance(0.1) ? 1 : 0)) };
  const seen = { id: `w-${at.slot}`, generation: at.generation, at: it.now };
  // Half of the time what is waited for comes; the other half anything may.
  const expected = { placing: 1, offered: 2, starting: 4, running: 4, waiting: 9, exited: 0 }[instance.phase];
  switch (rnd.chance(0.6) ? expected : rnd.int(10)) {
    case 0:
      return rnd.chance(0.1)
        ? { type: "delete", entry: { level: "info", component: "api", reason: "deletion_requested", message: "" } }
        : { type: "capacity" };
    case 1:
      return { type: "hosts", hosts };
    case 2:
    case 3:
      return {
        type: "answered",
        host_id,
        answers: [rnd.chance(0.8) ? { ...at, accepted: true } : { ...at, accepted: false, message: "is full" }],
      };
    case 4:
    case 5: {
      const phase = rnd.pick(["preparing", "running", "running", "exited", "failed", "gone", "stopping"] as const);
      const details = {
        ...defaults[phase],
        ...(phase === "exited" ? { exit: exit({ code: rnd.pick([0, 1, null]) }) } : {}),
        ...(phase === "failed"
          ? {
              failure: {
                kind: rnd.pick([
                  "image_pull_back_off",
                  "create_container_error",
                  "network_error",
                  "config_error",
                  "file_system_error",
                  "error",
                ]),
                reason: "x",
                message: "x",
              },
            }
          : {}),
      };
      return {
        type: "observed",
        host_id,
        reports: [{ ...at, observation: { ...seen, phase, ...details } as Observation }],
      };
    }
    case 6:
      return rnd.chance(0.3)
        ? { type: "evicted", host_id, why: rnd.pick(["host_lost", "host_draining", "host_removed"]), slots: [at] }
        : { type: "reapplied" };
    case 7: {
      const leaving = rnd.pick(it.state.leaving.length > 0 ? it.state.leaving : [{ ...at, host_id }]);
      const observation: Observation = { phase: "gone", id: "w", generation: leaving.generation, at: it.now };
      return {
        type: "observed",
        host_id: leaving.host_id,
        reports: [{ slot: leaving.slot, generation: leaving.generation, observation }],
      };
    }
    default: {
      const deadline = deadlineOf(it.state);
      if (deadline !== null) it.now = Math.max(it.now, deadline);
      return { type: "due" };
    }
  }
}
