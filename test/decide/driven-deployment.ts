import type { DeploymentState, DeploymentStatus } from "../../contract/deployment.ts";
import type { Exit, Observation } from "../../contract/workload.ts";
import { type Birth, type Decision, decide, type Event, initial } from "../../objects/deployment/decide.ts";
import type { Facts } from "../../objects/deployment/draft.ts";
import { deadlineOf, lettersFor } from "../../objects/deployment/letters.ts";
import type { Candidate } from "../../objects/deployment/placement.ts";

export const DEPLOYMENT = "dep_00000000000000000000000001";
export const T0 = Date.UTC(2100, 0, 1);
export const GIB = 1024 ** 3;

export const host = (id: string, over: Partial<Candidate> = {}): Candidate => ({
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
export class Driven {
  state: DeploymentState;
  generation: number;
  now = T0;
  entries: string[] = [];
  letters: string[] = [];
  /** The changes of status that the last event told of. */
  moves: [DeploymentStatus, DeploymentStatus][] = [];
  #facts: Omit<Facts, "generation" | "now">;

  constructor(kind: "worker" | "job" = "worker", replicas = 1, memory = 0, over: Partial<Facts> = {}, birth?: Birth) {
    this.#facts = {
      id: over.id ?? DEPLOYMENT,
      kind,
      replicas,
      autoscale: null,
      checks: [],
      max_surge: 1,
      max_unavailable: 0,
      patience_ms: 600_000,
      on_deadline: "drain",
      retries: 0,
      ttl_ms: null,
      need: { runtime: "docker", labels: {}, memory_bytes: memory, cpu_millis: 0 },
      jitter: 0.5,
      ...over,
    };
    const first = initial({ ...this.#facts, generation: 0, now: T0 }, birth);
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
    const at = deadlineOf(this.state, this.#facts.ttl_ms);
    if (at === null) throw new Error(`${this.state.status} has no deadline`);
    this.now = Math.max(at, this.now);
    return this.do({ type: "due" });
  }
  /** The manifest is another from here on. */
  amend(over: Partial<Facts>): this {
    const from = this.#facts.replicas;
    this.#facts = { ...this.#facts, ...over };
    return this.do({ type: "amended", from });
  }
  get facts(): Facts {
    return { ...this.#facts, generation: this.generation, now: this.now };
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

export const exit = (over: Partial<Exit> = {}): Exit => ({
  code: 1,
  signal: null,
  oom: false,
  at: T0,
  evidence: "kept",
  ...over,
});
export const defaults: Record<Observation["phase"], object> = {
  preparing: { message: "pulling" },
  running: { started_at: T0, address: "10.0.0.2", image_digest: null, notes: [] },
  exited: { exit: exit() },
  failed: { failure: { kind: "image_pull_back_off", reason: "image_not_found", message: "no such image" } },
  stopping: {},
  gone: {},
};
