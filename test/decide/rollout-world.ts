import { workloadId } from "../../contract/id.ts";
import type { RolloutReport } from "../../contract/rollout.ts";
import type { Event } from "../../objects/deployment/decide.ts";
import { draftOf, type Facts, idOf } from "../../objects/deployment/draft.ts";
import { deadlineOf, isGone } from "../../objects/deployment/letters.ts";
import { isReady, reportOf } from "../../objects/deployment/readiness.ts";
import type { random } from "../random.ts";
import { Driven, exit, host, T0 } from "./driven-deployment.ts";

type Random = ReturnType<typeof random>;

const READINESS = { readiness: true, on_failure: "alert", text: "check 0 (tcp 80)" } as const;

/** A version of a name in a world of versions: its machine, and the letters that it still has to deliver. */
export class Version {
  readonly id: string;
  readonly it: Driven;
  readonly letters = new Set<string>();
  gone = false;

  constructor(id: string, replicas: number, over: Partial<Facts>, takes?: { number: number; parents: Version[] }) {
    this.id = id;
    this.it = new Driven(
      "worker",
      replicas,
      0,
      { id, checks: [READINESS], ...over },
      {
        replaces: null,
        takes_over: takes
          ? {
              number: takes.number,
              parents: takes.parents.map((parent) => parent.id),
              autoscaled: null,
            }
          : null,
      },
    );
    for (const key of this.it.letters) this.letters.add(key);
  }

  do(event: Event): void {
    this.it.do(event);
    for (const key of this.it.letters) this.letters.add(key);
    if (isGone(this.it.state)) this.letters.add("purge");
  }

  report(): RolloutReport {
    const { facts, state } = this.it;
    return reportOf((slot, generation) => idOf(facts, slot, generation), draftOf(state, facts));
  }

  get ready(): number {
    return this.it.state.instances.filter((instance) => isReady(instance, this.it.facts.checks)).length;
  }

  /** Instances that take up room: those that are there, and those on their way out. */
  get size(): number {
    const { instances, leaving } = this.it.state;
    return instances.filter(({ phase }) => phase !== "exited" && phase !== "placing").length + leaving.length;
  }
}

/**
 * Versions of one name, their letters, their hosts and agents, all in one thread that a seed drives: letters come late and out of order, some twice (their
 * effect is made, and the answer is lost), instances take their time to start, to become ready and to go.
 */
export class World {
  readonly versions = new Map<string, Version>();
  now = T0;
  readonly #rnd: Random;
  #number = 0;

  constructor(rnd: Random) {
    this.#rnd = rnd;
  }

  apply(replicas: number, over: Partial<Facts> = {}): Version {
    this.#number += 2;
    const holders = [...this.versions.values()].filter((version) => !version.gone && version.ready > 0);
    const id = `dep_${String(this.#number).padStart(26, "0")}`;
    const takes = holders.length > 0 ? { number: this.#number, parents: holders.reverse() } : undefined;
    const version = new Version(id, replicas, over, takes);
    version.it.now = this.now;
    // What never served is dropped at once.
    for (const other of this.versions.values())
      if (!other.gone && !holders.includes(other) && other.it.state.status !== "deleted")
        other.do({
          type: "delete",
          entry: { level: "info", component: "api", reason: "force_replace", message: "" },
        });
    this.versions.set(id, version);
    return version;
  }

  get present(): Version[] {
    return [...this.versions.values()].filter(({ gone }) => !gone);
  }
  get ready(): number {
    return this.present.reduce((sum, version) => sum + version.ready, 0);
  }
  get size(): number {
    return this.present.reduce((sum, version) => sum + version.size, 0);
  }

  /** Something happens somewhere. Answers false when nothing could. */
  step(faults: number): boolean {
    this.now += this.#rnd.int(400);
    const moves: (() => void)[] = [];
    for (const version of this.present) {
      version.it.now = this.now;
      for (const key of version.letters) moves.push(() => this.#deliver(version, key));
      for (const instance of version.it.state.instances) {
        const { slot, generation } = instance;
        const id = workloadId(version.id, slot);
        const seen = { id, generation, at: this.now };
        if (instance.phase === "starting")
          moves.push(() =>
            version.do({
              type: "observed",
              host_id: instance.host_id,
              reports: [
                {
                  slot,
                  generation,
                  observation: {
                    ...seen,
                    phase: "running",
                    started_at: this.now,
                    address: null,
                    image_digest: null,
                    notes: [],
                  },
                },
              ],
            }),
          );
        if (instance.phase === "running" && !isReady(instance, version.it.facts.checks) && this.canBeReady(version))
          moves.push(() => this.#probe(version, instance.host_id, id, generation, true));
        if (instance.phase === "running" && this.#rnd.chance(faults))
          moves.push(() =>
            this.#rnd.chance(0.5)
              ? this.#probe(version, instance.host_id, id, generation, false)
              : version.do({
                  type: "observed",
                  host_id: instance.host_id,
                  reports: [{ slot, generation, observation: { ...seen, phase: "exited", exit: exit() } }],
                }),
          );
      }
      const deadline = deadlineOf(version.it.state);
      if (deadline !== null && deadline <= this.now) moves.push(() => version.do({ type: "due" }));
    }
    if (moves.length === 0) return this.#toNextDeadline();
    this.#rnd.pick(moves)();
    return true;
  }

  /** Whether the instances of a version ever become ready; overridden by tests of bad versions. */
  canBeReady: (version: Version) => boolean = () => true;

  #probe(version: Version, host_id: string, id: string, generation: number, healthy: boolean): void {
    version.do({
      type: "probed",
      host_id,
      results: [
        {
          id,
          generation,
          check: 0,
          type: "tcp",
          status: healthy ? "success" : "failed",
          message: "",
          started_at: this.now,
          finished_at: this.now,
          streak: 1,
          healthy,
          tripped: 0,
        },
      ],
    });
  }

  /** Nothing can happen before the next deadline: time passes until then. */
  #toNextDeadline(): boolean {
    const deadlines = this.present.flatMap(({ it }) => deadlineOf(it.state) ?? []);
    if (deadlines.length === 0) return false;
    this.now = Math.max(this.now, Math.min(...deadlines));
    return true;
  }

  #deliver(version: Version, key: string): void {
    version.letters.delete(key);
    // The effect may be made, and what it answered be lost: then it is said again.
    const isLost = this.#rnd.chance(0.1);
    if (isLost) version.letters.add(key);
    const tell = (event: Event) => {
      if (!isLost) version.do(event);
    };
    const { state } = version.it;
    const { rollout } = state;
    const other = (id: string) => {
      const found = this.versions.get(id);
      return found && !found.gone ? found : null;
    };
    switch (key) {
      case "place":
        tell({ type: "hosts", hosts: [host("a"), host("b")] });
        return;
      case "offer":
        for (const instance of state.instances)
          if (instance.phase === "offered")
            tell({
              type: "answered",
              host_id: instance.host_id,
              answers: [{ slot: instance.slot, generation: instance.generation, accepted: true }],
            });
        return;
      case "withdraw":
        for (const { slot, generation, host_id, serving } of state.leaving)
          if (!serving)
            tell({
              type: "observed",
              host_id,
              reports: [
                {
                  slot,
                  generation,
                  observation: { phase: "gone", id: workloadId(version.id, slot), generation, at: this.now },
                },
              ],
            });
        return;
      case "parents":
        if (rollout.role !== "child") return;
        for (const { id, keep } of rollout.parents) {
          const parent = other(id);
          parent?.do({ type: "yield", successor: version.id, number: rollout.number, keep });
          tell({ type: "reported", reports: [{ id, report: parent ? parent.report() : "gone" }] });
        }
        return;
      case "successor":
        if (rollout.role === "parent")
          other(rollout.successor)?.do({
            type: "reported",
            reports: [{ id: version.id, report: version.report() }],
          });
        return;
      case "hand_over": {
        if (rollout.role !== "parent" || rollout.handing_over === null) return;
        const heir = other(rollout.successor);
        heir?.do({ type: "take_over", from: version.id, others: rollout.handing_over, number: rollout.number });
        const heard = heir?.it.state.rollout;
        const accepted = heard !== undefined && heard.role !== "none" && heard.number >= rollout.number;
        tell({ type: "handed_over", successor: rollout.successor, accepted });
        return;
      }
      case "purge":
        if ([...version.letters].some((letter) => letter !== "purge")) version.letters.add("purge");
        else if (!isLost) version.gone = true;
        return;
      default:
        if (key.startsWith("retire ")) other(key.slice(7))?.do({ type: "retired", by: version.id });
    }
  }
}
