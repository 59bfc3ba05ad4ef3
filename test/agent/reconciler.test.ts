import { statSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { Driver, Found } from "../../agent/driver.ts";
import { Ledger } from "../../agent/ledger.ts";
import { FENCE_KEPT_MS, Reconciler, type ReconcilerOptions } from "../../agent/reconciler.ts";
import type { Observation, Workload } from "../../contract/workload.ts";
import { eventually, folder, workload } from "./workload.ts";

/** A driver without a runtime: what is there is a set, and each call waits until the test lets it go on. */
class Model implements Driver {
  readonly runtime = "process";
  readonly there = new Set<string>();
  readonly calls: string[] = [];
  applied: (workload: Workload, abort: AbortSignal) => Promise<Observation> = async ({ id, generation }) =>
    running(id, generation);
  removing: () => Promise<void> = async () => {};
  readonly #busy = new Set<string>();

  async apply(made: Workload, abort: AbortSignal): Promise<Observation> {
    this.calls.push(`apply ${made.generation}`);
    return this.#alone(made.id, async () => {
      this.there.add(`${made.id} ${made.generation}`);
      return this.applied(made, abort);
    });
  }

  async remove(id: string, generation: number): Promise<void> {
    this.calls.push(`remove ${generation}`);
    await this.#alone(id, async () => {
      await this.removing();
      this.there.delete(`${id} ${generation}`);
    });
  }

  async #alone<T>(id: string, body: () => Promise<T>): Promise<T> {
    if (this.#busy.has(id)) throw new Error("two calls for one workload at a time");
    this.#busy.add(id);
    try {
      return await body();
    } finally {
      this.#busy.delete(id);
    }
  }

  detect = async () => "1";
  start = async (): Promise<Found[]> => [];
  async *logs() {}
  exec = async () => ({ exit_code: 0, stdout: "", stderr: "", truncated: false });
  stats = async () => [];
  close = async () => {};
}

const running = (id: string, generation: number): Observation => ({
  id,
  generation,
  at: 1,
  phase: "running",
  started_at: 1,
  address: null,
  image_digest: null,
  notes: [],
});

function make(dataDir = folder(), over: Partial<ReconcilerOptions> = {}) {
  const model = new Model();
  const settled: number[] = [];
  const reports: string[] = [];
  const lines: string[] = [];
  const ledger = Ledger.open(dataDir);
  const reconciler = new Reconciler({
    ledger,
    driver: () => model,
    permit: async (made) => ({ permitted: true, workload: made }),
    changed: (id) =>
      reports.push(`${id} ${reconciler.observation(id)?.phase} ${reconciler.observation(id)?.generation}`),
    attend: () => {},
    settled: (revision) => settled.push(revision),
    log: (line) => lines.push(line),
    ...over,
  });
  let isOpen = true;
  const close = (): void => {
    if (isOpen) ledger.close();
    isOpen = false;
    reconciler.close();
  };
  onTestFinished(close);
  const sees = (id: string, phase: Observation["phase"], generation = 1) =>
    eventually(() => {
      const seen = reconciler.observation(id);
      return seen?.phase === phase && seen.generation === generation;
    }, `${id} is ${phase}`);
  return { model, settled, reports, lines, ledger, reconciler, close, sees };
}

test("which checks run may change while the generation stays, and changes nothing else", async () => {
  const dataDir = folder();
  const attended: string[] = [];
  const attend = (id: string): void => void attended.push(`${first.reconciler.subject(id)?.probing}`);
  const first = make(dataDir, { attend });
  const one = workload();
  first.reconciler.accept([{ ...one, probing: "readiness" }]);
  await first.sees(one.id, "running");
  expect(first.reconciler.subject(one.id)).toMatchObject({ probing: "readiness", seen: { phase: "running" } });
  attended.length = 0;
  first.reconciler.acceptAll(2, [{ ...one, probing: "all" }]);
  first.reconciler.accept([one]);
  expect(attended).toEqual(["all"]);
  expect(first.reconciler.subject(one.id)).toMatchObject({ probing: "all", seen: { phase: "running" } });
  expect(first.model.calls).toEqual(["apply 1"]);
  first.close();

  const second = make(dataDir);
  second.reconciler.adopt("process", [{ id: one.id, generation: 1, owner: "o", observation: running(one.id, 1) }]);
  expect(second.reconciler.subject(one.id)).toMatchObject({ probing: "all", seen: { phase: "running" } });
  second.reconciler.accept([
    { ...one, generation: 2 },
    { ...one, generation: 2, probing: "readiness" },
  ]);
  await second.sees(one.id, "running", 2);
  expect(second.reconciler.subject(one.id)).toMatchObject({ generation: 2, probing: "readiness" });
  second.reconciler.accept([{ ...one, generation: 2, want: "gone" }]);
  expect(second.reconciler.subject(one.id)).toBe(null);
});

test("an older generation goes before a newer comes", async () => {
  const { model, reconciler, sees } = make();
  const one = workload();
  reconciler.accept([one]);
  await sees(one.id, "running");
  reconciler.accept([{ ...one, generation: 2 }]);
  await sees(one.id, "running", 2);
  expect(model.calls).toEqual(["apply 1", "remove 1", "apply 2"]);
  expect([...model.there]).toEqual([`${one.id} 2`]);
});

test("the same again does nothing; older is refused and logged, before and after a restart", async () => {
  const dataDir = folder();
  const first = make(dataDir);
  const one = workload({ generation: 5 });
  first.reconciler.accept([one]);
  await first.sees(one.id, "running", 5);
  first.reconciler.accept([one, { ...one, generation: 4 }, { ...one, generation: 4, want: "gone" }]);
  first.close();
  expect(first.model.calls).toEqual(["apply 5"]);
  expect(first.lines.filter((line) => line.includes("stale"))).toHaveLength(2);

  const second = make(dataDir);
  second.reconciler.accept([{ ...one, generation: 4 }]);
  expect(second.lines.filter((line) => line.includes("stale"))).toHaveLength(1);
  expect(second.model.calls).toEqual([]);
});

test("gone while an apply is under way breaks it off, and what it made is removed", async () => {
  const { model, reconciler, sees, reports } = make();
  model.applied = (made, abort) =>
    new Promise((resolve) => abort.addEventListener("abort", () => resolve(running(made.id, made.generation))));
  const one = workload();
  reconciler.accept([one]);
  await eventually(() => model.calls.length === 1, "apply is called");
  reconciler.accept([{ ...one, want: "gone" }]);
  await sees(one.id, "gone");
  expect(model.calls).toEqual(["apply 1", "remove 1"]);
  expect(reports.filter((line) => line.includes("running"))).toEqual([]);
});

test("a newer generation while an apply is under way takes its place", async () => {
  const { model, reconciler, sees } = make();
  model.applied = (made, abort) =>
    made.generation > 1
      ? Promise.resolve(running(made.id, made.generation))
      : new Promise((resolve) => abort.addEventListener("abort", () => resolve(running(made.id, 1))));
  const one = workload();
  reconciler.accept([one]);
  await eventually(() => model.calls.length === 1, "apply is called");
  reconciler.accept([{ ...one, generation: 2 }]);
  await sees(one.id, "running", 2);
  expect(model.calls).toEqual(["apply 1", "remove 1", "apply 2"]);
});

test("a failure is told, what is half made is removed, and it is not tried again, not even after a restart", async () => {
  const dataDir = folder();
  const { model, reconciler, sees, close } = make(dataDir);
  model.applied = () => Promise.reject(new Error("no space for hunter2 left"));
  const one = workload({ spec: { environment: { PASSWORD: "hunter2" } } });
  reconciler.accept([one]);
  await sees(one.id, "failed");
  await eventually(() => model.there.size === 0, "nothing is there");
  expect(reconciler.observation(one.id)).toMatchObject({
    failure: { reason: "driver_error", message: "no space for [hidden] left" },
  });
  expect(model.calls).toEqual(["apply 1", "remove 1"]);
  close();

  const after = make(dataDir);
  after.reconciler.adopt("process", []);
  expect(after.reconciler.observation(one.id)).toMatchObject({ phase: "failed" });
  expect(after.model.calls).toEqual([]);
});

test("an exit is told, kept, and never answered with a restart", async () => {
  const dataDir = folder();
  const { model, reconciler, sees, close } = make(dataDir);
  const one = workload();
  reconciler.accept([one]);
  await sees(one.id, "running");
  const exit = { code: 3, signal: null, oom: false, at: 5, evidence: "kept" as const };
  reconciler.observe({ id: one.id, generation: 1, at: 5, phase: "exited", exit });
  reconciler.observe(running(one.id, 1));
  await sees(one.id, "exited");
  close();
  const after = make(dataDir);
  after.reconciler.adopt("process", []);
  expect(after.reconciler.inventory()).toMatchObject([{ phase: "exited", exit: { code: 3 } }]);
  expect(model.calls.concat(after.model.calls)).toEqual(["apply 1"]);
});

test("what was accepted and not done is done after a restart, without the control plane", async () => {
  const dataDir = folder();
  const before = make(dataDir);
  before.model.applied = () => new Promise(() => {});
  const one = workload();
  const two = workload();
  before.reconciler.accept([one, { ...two, want: "gone" }]);
  await eventually(() => before.model.calls.length === 1, "apply is called");
  before.close();
  const after = make(dataDir);
  after.reconciler.adopt("process", []);
  await after.sees(one.id, "running");
  await after.sees(two.id, "gone");
});

test("what ran and vanished while the agent was dead has exited; it is not made again", async () => {
  const dataDir = folder();
  const before = make(dataDir);
  const one = workload();
  before.reconciler.accept([one]);
  await before.sees(one.id, "running");
  await new Promise((resolve) => setImmediate(resolve));
  before.close();
  const after = make(dataDir);
  after.reconciler.adopt("process", []);
  await after.sees(one.id, "exited");
  expect(after.reconciler.observation(one.id)).toMatchObject({ exit: { evidence: "lost", code: null } });
  expect(after.model.calls).toEqual([]);
});

test("a full set sends away what it does not name, and is settled only when that is gone", async () => {
  const { model, settled, reconciler, sees } = make();
  const [kept, left, update] = [workload(), workload(), workload()];
  reconciler.accept([kept, left, update]);
  for (const { id } of [kept, left, update]) await sees(id, "running");
  reconciler.adopt("process", [
    { id: "dep_unknown-0", generation: 4, owner: "x", observation: running("dep_unknown-0", 4) },
  ]);
  model.there.add("dep_unknown-0 4");

  let letGo = (): void => {};
  const held = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  model.removing = () => held;
  model.applied = () => new Promise(() => {});
  reconciler.acceptAll(7, [kept, { ...update, generation: 2 }]);
  await eventually(
    () => model.calls.filter((call) => call.startsWith("remove")).length === 3,
    "three are being removed",
  );
  expect(settled).toEqual([]);
  letGo();
  await eventually(() => settled.length > 0, "it is settled");
  // The new generation is still on its way.
  expect(settled).toEqual([7]);
  expect([...model.there]).toEqual([`${kept.id} 1`, `${update.id} 2`]);
  reconciler.acceptAll(8, [kept, { ...update, generation: 2 }]);
  expect(settled).toEqual([7, 8]);
});

test("what is left out may come back at its generation; what was ended may not", async () => {
  const { reconciler, sees, lines } = make();
  const one = workload();
  reconciler.accept([one]);
  await sees(one.id, "running");
  reconciler.acceptAll(2, []);
  await sees(one.id, "gone");
  reconciler.acceptAll(3, [one]);
  await sees(one.id, "running");
  reconciler.accept([{ ...one, want: "gone" }]);
  await sees(one.id, "gone");
  reconciler.accept([one]);
  expect(lines.at(-1)).toContain("ended");
  expect(reconciler.observation(one.id)?.phase).toBe("gone");
});

test("an agent that has lost its memory learns the fence from what runs, and waits to be told", async () => {
  const { model, reconciler, lines, sees } = make();
  const one = workload({ generation: 6 });
  reconciler.adopt("process", [{ id: one.id, generation: 6, owner: "x", observation: running(one.id, 6) }]);
  expect(reconciler.inventory()).toMatchObject([{ id: one.id, generation: 6, phase: "running" }]);
  reconciler.accept([{ ...one, generation: 5 }]);
  expect(lines.at(-1)).toContain("stale");
  reconciler.acceptAll(1, [one]);
  await sees(one.id, "running", 6);
  expect(model.calls).toEqual([]);
});

test("a removal that fails is tried again, and a denied workload never reaches the driver", async () => {
  const { model, reconciler, sees } = make(undefined, {
    permit: async () => ({ permitted: false, denial: { reason: "policy_denied", message: "no" } }),
  });
  const one = workload();
  let tries = 0;
  model.removing = async () => {
    if (++tries < 2) throw new Error("busy");
  };
  reconciler.accept([one]);
  await sees(one.id, "failed");
  await eventually(() => tries === 2, "it is tried again");
  expect(model.calls).not.toContain("apply 1");
});

test("a runtime that does not answer is waited for; one that is not enabled is a failure", async () => {
  let driver: Driver | "waiting" | "disabled" = "waiting";
  const { model, reconciler, sees } = make(undefined, { driver: () => driver });
  const one = workload();
  reconciler.accept([one]);
  await sees(one.id, "preparing");
  driver = model;
  reconciler.resume();
  await sees(one.id, "running");
  driver = "disabled";
  const two = workload();
  reconciler.accept([two]);
  await sees(two.id, "failed");
  expect(reconciler.observation(two.id)).toMatchObject({ failure: { reason: "runtime_not_enabled" } });
});

test("eight are applied at a time", async () => {
  const { model, reconciler } = make();
  let open = 0;
  let most = 0;
  model.applied = async ({ id, generation }) => {
    most = Math.max(most, ++open);
    await new Promise((resolve) => setTimeout(resolve, 5));
    open--;
    return running(id, generation);
  };
  reconciler.accept(Array.from({ length: 40 }, () => workload()));
  await eventually(() => model.there.size === 40, "all are there");
  expect(most).toBe(8);
});

test("the fence of what is gone is kept for seven days", async () => {
  const dataDir = folder();
  let now = 1_000_000;
  const { reconciler, sees, close } = make(dataDir, { now: () => now });
  const one = workload({ generation: 3 });
  reconciler.accept([{ ...one, want: "gone" }]);
  await sees(one.id, "gone", 3);
  now += FENCE_KEPT_MS;
  reconciler.prune();
  expect(reconciler.observation(one.id)).not.toBe(null);
  now += 1;
  reconciler.prune();
  expect(reconciler.observation(one.id)).toBe(null);
  close();
});

test("the ledger is for its owner only, and for one agent at a time", () => {
  const dataDir = folder();
  const ledger = Ledger.open(dataDir);
  ledger.keep([{ id: "w", fence: 1, want: "gone", owner: "o", probing: "all", spec: null, last: null, changedAt: 1 }]);
  for (const name of ["ledger.db", "ledger.db-wal"]) expect(statSync(join(dataDir, name)).mode & 0o077, name).toBe(0);
  expect(() => Ledger.open(dataDir)).toThrow(`Another agent (process ${process.pid}) works on ${dataDir}`);
  ledger.close();
  Ledger.open(dataDir).close();
});
