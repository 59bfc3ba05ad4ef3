import { type InstanceSpec, InstanceState, type Runner, SLOT } from "../../contract/instance.ts";
import type { InstanceAction } from "../../contract/instance-action.ts";
import type { ReportBody, SourceTest } from "../../contract/instance-report.ts";
import type { InstanceStatus } from "../../contract/instance-status.ts";
import type { Observation } from "../../contract/workload.ts";
import { decide, type InstanceDecision, type InstanceEvent, initial } from "../../objects/instance/decide.ts";
import { runnersOf } from "../../objects/instance/draft.ts";
import { deadlineOf, lettersFor } from "../../objects/instance/letters.ts";
import { standingOf } from "../../objects/instance/view.ts";

export const START = Date.parse("2026-06-01T12:00:00Z");
export const HOST = "host_a";
const GiB = 1024 ** 3;

export const hostNamed = (id: string, memory = 64 * GiB) => ({
  id,
  name: id,
  status: "ready" as const,
  scheduling: "open" as const,
  labels: {},
  runtimes: [{ runtime: "process" as const, version: "1" }],
  capacity: { memory_bytes: memory, cpu_millis: 64_000 },
  reserved: { memory_bytes: 0, cpu_millis: 0 },
});

export const GOOD_TEST: SourceTest = {
  ok: true,
  error: null,
  server_version: "11.8",
  latency_ms: 1,
  estimated_bytes: 1e6,
  schemas: ["shop"],
  replication: { mode: "binlog", ready: true },
  findings: [],
};

/** Of a source at which engines leave something that stays without them. */
export const POSTGRES_TEST: SourceTest = { ...GOOD_TEST, replication: { mode: "logical", ready: true } };

export const built = (over: Record<string, unknown> = {}): ReportBody => ({
  kind: "built",
  result: {
    ok: true,
    artifact: { hash: "a".repeat(64), bytes: 10 },
    schema_hash: "s",
    tables: 3,
    warnings: [],
  },
  ...over,
});

/** An instance that is driven by hand, with hosts that do what they are told. */
export class Driven {
  now = START;
  state: InstanceState = initial(START).state;
  spec: InstanceSpec = {
    settings: {
      size: "nano",
      sync_mode: "auto",
      sync_interval: 30,
      log_level: "info",
      binlog_server_id: null,
      reconnect_mode: "full",
      safety_net: null,
      keep_source_awake: false,
    },
    config: null,
    labels: {},
    pause_schedule: null,
    idle_pause: null,
  };
  image: string | null = null;
  busyAt: number | null = null;
  hosts = [hostNamed(HOST)];
  last: InstanceDecision = initial(START);
  letters = new Set<string>();
  reasons: string[] = [];
  moves: string[] = [];
  /** Every reason so far. */
  heard: string[] = [];
  #ids = 0;

  do(event: InstanceEvent): this {
    const before = this.state;
    this.#ids += 1;
    const ids = { operation: `op_${this.#ids}`, build: `bld_${this.#ids}` };
    const facts = {
      instance_id: "inst_1",
      now: this.now,
      jitter: 0.5,
      spec: this.spec,
      image: this.image,
    };
    this.last = decide(before, event, { ...facts, busy_at: this.busyAt, ids });
    this.state = InstanceState.parse(this.last.state);
    if (this.last.size !== null)
      this.spec = { ...this.spec, settings: { ...this.spec.settings, size: this.last.size } };
    for (const change of this.last.builds) if (change.type === "succeeded") this.image = change.id;
    if (this.last.purge) this.image = null;
    this.letters = lettersFor(before, this.state, event.type);
    this.reasons = this.last.entries.map(({ reason }) => reason).filter((reason) => reason !== "state_transition");
    this.heard.push(...this.reasons);
    this.moves = this.last.entries
      .filter(({ reason }) => reason === "state_transition")
      .map(({ data }) => `${data?.old_status}>${data?.new_status}`);
    return this;
  }
  act(action: InstanceAction, over: Record<string, unknown> = {}): this {
    return this.do({ type: "act", action, actor: "tok_me", by: "user", ...over });
  }
  get status(): InstanceStatus {
    return this.state.status;
  }
  get standing() {
    return standingOf({ state: this.state, spec: this.spec, image: this.image });
  }
  get deadline(): number | null {
    return deadlineOf(this.state, this.spec, { now: this.now, busy_at: this.busyAt });
  }
  runner(slot: number): Runner {
    const runner = runnersOf(this.state).find((one) => one.slot === slot);
    if (!runner) throw new Error(`nothing in slot ${slot}`);
    return runner;
  }
  /** Every workload that looks for a host gets one, which takes it and says that it runs. */
  place(): this {
    this.do({ type: "hosts", hosts: this.hosts });
    for (const { slot, generation, ...runner } of runnersOf(this.state)) {
      if (runner.phase !== "offered") continue;
      this.do({ type: "answered", host_id: runner.host_id, answers: [{ slot, generation, accepted: true }] });
      this.see(slot, { phase: "running", started_at: this.now, address: "127.0.0.1:4", image_digest: null, notes: [] });
    }
    return this;
  }
  see(slot: number, observation: Record<string, unknown>, over: { generation?: number; host_id?: string } = {}): this {
    const runner = runnersOf(this.state).find((one) => one.slot === slot);
    const generation = over.generation ?? runner?.generation ?? 0;
    const host_id = over.host_id ?? (runner && "host_id" in runner ? runner.host_id : HOST);
    const seen = { id: `x-${slot}`, generation, at: this.now, ...observation } as Observation;
    return this.do({ type: "observed", host_id, reports: [{ slot, generation, observation: seen }] });
  }
  exit(slot: number, code: number | null, oom = false): this {
    const exit = { code, signal: code === null ? "SIGKILL" : null, oom, at: this.now, evidence: "kept" };
    return this.see(slot, { phase: "exited", exit });
  }
  say(slot: number, body: ReportBody, over: { generation?: number; id?: string; revision?: number } = {}): this {
    const { operation } = this.state;
    const runner = runnersOf(this.state).find((one) => one.slot === slot);
    return this.do({
      type: "reported",
      slot,
      generation: over.generation ?? runner?.generation ?? 0,
      operation: { id: over.id ?? operation?.id ?? "none", revision: over.revision ?? operation?.revision ?? 1 },
      body,
    });
  }
  /** Everything that was to go is gone. */
  gone(): this {
    for (const { slot, generation, host_id } of this.state.leaving)
      this.see(slot, { phase: "gone" }, { generation, host_id });
    return this;
  }
  engineSlot(): number {
    const engine = this.state.candidate ?? this.state.serving;
    if (!engine) throw new Error("no engine");
    return engine.runner.slot;
  }
  load(): this {
    return this.say(this.engineSlot(), { kind: "loaded", rows: 5, tables: 3 });
  }
  admit(): this {
    return this.do({ type: "admitted", build_id: this.state.operation?.build_id ?? "" });
  }
  later(ms: number): this {
    this.now += ms;
    return this;
  }
  due(): this {
    return this.do({ type: "due" });
  }
  /** What waits for a time has it, and its host. */
  next(): this {
    this.now = Math.max(this.now, this.deadline ?? 0);
    return this.due().place();
  }

  /** As far as this status, the ordinary way. */
  static at(status: InstanceStatus, test = GOOD_TEST): Driven {
    const one = new Driven();
    const to: Record<InstanceStatus, () => Driven> = {
      registered: () => one,
      testing_connection: () => one.act("provision").place(),
      queued: () => to.testing_connection().say(SLOT.test, { kind: "tested", test }),
      building: () => to.queued().admit().place(),
      deploying: () => to.building().say(SLOT.build, built()).place(),
      running: () => to.deploying().load().gone(),
      pausing: () => to.running().act("pause"),
      paused: () => released(to.pausing().gone()),
      resuming: () => to.paused().act("resume").place(),
      failed: () => to.building().say(SLOT.build, FAILED_BUILD).gone(),
      stopped: () => to.running().exit(one.engineSlot(), 0).gone(),
      terminating: () => to.running().act("terminate"),
      terminated: () => released(to.terminating().gone()),
    };
    const released = (going: Driven) =>
      going.state.job === null ? going : going.place().say(SLOT.release, { kind: "released", left: [] }).gone();
    to[status]();
    if (one.status !== status) throw new Error(`wanted ${status}, came to ${one.status}`);
    return one;
  }
}

export const FAILED_BUILD: ReportBody = {
  kind: "built",
  result: {
    ok: false,
    code: "config_invalid",
    message: "no such table",
    violations: [{ message: "x", line: 3, column: 5 }],
  },
};
