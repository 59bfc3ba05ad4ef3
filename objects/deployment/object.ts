import { type DeploymentIdentity, isTerminal } from "../../contract/deployment.ts";
import type { Entry } from "../../contract/event.ts";
import type { HealthResult, Usage } from "../../contract/health.ts";
import type { Manifest } from "../../contract/manifest.ts";
import { sameManifest } from "../../contract/manifest-diff.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import type { RolloutReport } from "../../contract/rollout.ts";
import { type RolloutAction, rolloutObstacle } from "../../contract/rollout-action.ts";
import type { Standing } from "../../contract/schedule.ts";
import { permits } from "../../contract/scope.ts";
import deployment0001 from "../../migrations/deployment/0001_create.sql";
import deployment0002 from "../../migrations/deployment/0002_rollout.sql";
import { announce } from "../announce.ts";
import { post } from "../outbox.ts";
import { audit, type By, CLUSTER_SHARD, entryOf, project } from "../projection.ts";
import { remote } from "../remote.ts";
import { type ResourceKind, ResourceObject } from "../resource-object.ts";
import type { Timer } from "../stored-object.ts";
import { isPurged } from "../tombstone.ts";
import { type Decision, decide, type Event, initial } from "./decide.ts";
import { deliver } from "./deliver.ts";
import type { SlotGeneration } from "./draft.ts";
import { explanation, type Running, running, type Told } from "./explain.ts";
import { healthTally, keepResults, results } from "./health-results.ts";
import { isGone, type LetterKey, lettersFor } from "./letters.ts";
import { leavesName, releaseName } from "./name.ts";
import type { Report } from "./observed.ts";
import { type Peek, peekOf } from "./peek.ts";
import { type DeploymentRecord, factsOf, indexRow, load, loadView, save, sourceOf } from "./record.ts";
import { present } from "./rollout-delivery.ts";
import { endsRun, standingOf, tellSchedule, UNKNOWN } from "./run.ts";
import { bury, lastWords } from "./tombstone.ts";

const DEPLOYMENT: ResourceKind<DeploymentRecord, string[]> = {
  noun: "deployment",
  migrations: [
    { id: "deployment/0001", sql: deployment0001 },
    { id: "deployment/0002", sql: deployment0002 },
  ],
  load,
  isVisible: ({ identity }, namespaces) => permits({ namespaces }, identity.manifest.namespace),
};

const DELETION_REQUESTED: Entry = {
  level: "info",
  component: "api",
  reason: "deletion_requested",
  message: "deletion requested",
};

/** One deployment: its state machine, its journal, and its own alarm. Named by its id. */
export class DeploymentObject extends ResourceObject<DeploymentRecord> {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, DEPLOYMENT);
  }

  /** Kept as text, so that it is read without making the record of it. */
  override read(namespaces: string[]): Reply<Answer> {
    const kept = this.isBorn ? loadView(this.sql) : null;
    return kept && permits({ namespaces }, kept.namespace)
      ? accept({ status: 200, body: kept.view, revision: kept.revision })
      : this.unknown();
  }

  protected override view(): string {
    return loadView(this.sql)?.view ?? "";
  }

  /** Makes the deployment. Made already, or purged since: nothing happens. */
  create(identity: DeploymentIdentity, actor: string, requestId: string): void {
    this.bear();
    this.change(() => {
      if (this.load() || isPurged(this.sql)) return;
      const now = identity.created_at;
      this.#write(identity, null, initial(factsOf(identity, 0, now), identity), "created", actor, now);
      this.#audit(identity, "create", { actor, request_id: requestId }, now, null);
    });
  }

  /** Marks it deleted: every instance is removed, then it is purged. */
  delete(mutation: Mutation, namespaces: string[], why: Entry = DELETION_REQUESTED): Reply<Answer> {
    return this.mutate(mutation, namespaces, ({ identity, state, revision }, now) => {
      if (state.status !== "deleted") {
        this.#apply({ type: "delete", entry: why }, mutation.actor, now);
        this.#audit(identity, "delete", mutation, now, revision);
      }
      return accept({ status: 204, body: "", revision: load(this.sql)?.revision ?? revision });
    });
  }

  /** The same manifest was applied again: the restart count starts over. */
  reapplied(actor: string): Reply<Answer> {
    this.change((now) => this.#apply({ type: "reapplied" }, actor, now));
    return this.read([]);
  }

  /** What a host saw of instances of this deployment. Reports of other generations, and repeated ones, change nothing. */
  observe(hostId: string, reports: Report[]): void {
    this.change((now) => this.#apply({ type: "observed", host_id: hostId, reports }, "agent", now));
  }

  /** What health checks of its instances came to on a host. A result that comes twice changes nothing. */
  probed(hostId: string, results: HealthResult[]): void {
    this.change((now) => {
      const record = this.load();
      if (!record) return;
      keepResults(this.sql, record.identity.id, results, now);
      this.#apply({ type: "probed", host_id: hostId, results }, "health_checker", now);
    });
  }

  /** Another version takes over from this one, which may keep so many instances (null: all). Answers what there is; null when there is nothing any more. */
  yieldTo(successor: string, number: number, keep: number | null): RolloutReport | null {
    this.change((now) => this.#apply({ type: "yield", successor, number, keep }, "scheduler", now));
    const record = this.load();
    return record && present(record);
  }

  /** What a parent of this one has. */
  parentReported(id: string, report: RolloutReport): void {
    this.change((now) => this.#apply({ type: "reported", reports: [{ id, report }] }, "scheduler", now));
  }

  /** A version that was taking over from this one has given up. Answers whether this one takes over again. */
  takeOver(from: string, others: string[], number: number): boolean {
    this.change((now) => this.#apply({ type: "take_over", from, others, number }, "scheduler", now));
    const state = this.load()?.state;
    return state !== undefined && state.rollout.role !== "none" && state.rollout.number >= number;
  }

  /** Nothing of this one is left, and another version has taken over. */
  retire(by: string): void {
    this.change((now) => this.#apply({ type: "retired", by }, "scheduler", now));
  }

  /** The manifest is changed in what no instance notices. */
  amend(manifest: Manifest, actor: string, requestId: string): void {
    this.change((now) => {
      const record = this.load();
      if (!record || sameManifest(record.identity.manifest, manifest)) return;
      const from = record.identity.manifest.replicas;
      this.#apply({ type: "amended", from }, actor, now, { ...record.identity, manifest });
      this.#audit(record.identity, "amend", { actor, request_id: requestId }, now, record.revision);
    });
  }

  /** Pauses, resumes or undoes the rolling update to this version. */
  act(action: RolloutAction, mutation: Mutation, namespaces: string[]): Reply<Answer> {
    return this.mutate(mutation, namespaces, ({ identity, state, revision }, now) => {
      const obstacle = rolloutObstacle(state, action);
      if (obstacle !== null && !obstacle.already)
        return refuse("action_not_allowed", `It is not possible to ${action}: ${obstacle.reason}.`, {
          more: { resource_status: state.status, reason_code: obstacle.code },
        });
      if (obstacle === null) {
        this.#apply({ type: action }, mutation.actor, now);
        this.#audit(identity, action, mutation, now, revision);
      }
      return this.read(namespaces);
    });
  }

  /** What its health checks came to, newest first, as JSON texts. */
  healthResults(namespaces: string[], limit: number, latest: boolean): Reply<string[]> {
    const record = this.visible(namespaces);
    return record.ok ? accept(results(this.sql, record.value.identity.id, limit, latest)) : record;
  }

  /** What its instances use on a host, the newest only. */
  used(hostId: string, usages: Usage[]): void {
    this.change((now) => this.#apply({ type: "used", host_id: hostId, usages }, "autoscaler", now));
  }

  /** Something that its manifest refers to, a secret or a config, has appeared or changed. */
  referenceChanged(): void {
    this.change((now) => this.#apply({ type: "resolvable" }, "scheduler", now));
  }

  /** Instances that cannot stay on their host. */
  evict(hostId: string, why: "host_lost" | "host_draining" | "host_removed", slots: SlotGeneration[]): void {
    this.change((now) => this.#apply({ type: "evicted", host_id: hostId, why, slots }, "host", now));
  }

  /** Some host may have room now. */
  capacityChanged(): void {
    this.change((now) => this.#apply({ type: "capacity" }, "scheduler", now));
  }

  /** What applying a manifest must know of the deployment that holds the name. */
  peek(): Peek | null {
    const record = this.load();
    return record && peekOf(record);
  }

  manifest(namespaces: string[]): Reply<Manifest> {
    const record = this.visible(namespaces);
    return record.ok ? accept(record.value.identity.manifest) : record;
  }

  /** For the schedule that it is a run of: how it stands, also when it is purged or was never heard of. */
  standing(): Standing {
    return this.isBorn ? standingOf(this.sql) : UNKNOWN;
  }

  /** Answers when it is in one of the statuses, in a terminal one, purged (not_found), or the time is over. */
  async waitFor(namespaces: string[], statuses: string[], timeoutMs: number): Promise<Reply<Answer>> {
    const isSo = ({ state: { status } }: DeploymentRecord) => statuses.includes(status) || isTerminal(status);
    const record = await this.until(namespaces, timeoutMs, isSo);
    return record.ok ? this.answer(200) : record;
  }

  running(namespaces: string[]): Reply<Running[]> {
    const record = this.visible(namespaces);
    return record.ok ? accept(running(record.value)) : record;
  }

  /** Why it is as it is, what it waits for, and what comes next. */
  async explain(namespaces: string[]): Promise<Reply<string>> {
    const record = this.visible(namespaces);
    if (!record.ok) return record;
    const hosts = (await remote(this.env.INDEX, CLUSTER_SHARD).hosts()).map((body) => JSON.parse(body) as Told);
    return accept(JSON.stringify(explanation(record.value, this.sql, hosts)));
  }

  protected override due({ name }: Timer, now: number): void {
    if (name === "deadline") this.#apply({ type: "due" }, "scheduler", now);
  }

  protected override async deliver(key: string): Promise<void> {
    const record = this.load();
    if (!record) return;
    switch (key) {
      case "index":
        return project(this.sql, this.env.INDEX, indexRow(record, false), healthTally(this.sql));
      case "announce":
        return announce(this.sql, this.env, sourceOf(record.identity));
      case "release":
        return releaseName(this.env, record);
      case "schedule":
        return tellSchedule(this.env, record.identity, record.state);
      case "purge":
        await this.#sayTheRest();
        await tellSchedule(this.env, record.identity, { status: "gone", message: "deleted" });
        await releaseName(this.env, record);
        await project(this.sql, this.env.INDEX, indexRow(record, true));
        return this.change((now) => bury(this.sql, now));
      default:
        return deliver(key as LetterKey, {
          env: this.env,
          load: () => this.load(),
          apply: (event) => this.change((now) => this.#apply(event, "scheduler", now)),
        });
    }
  }

  /** Whatever else is to be said is said before the deployment is forgotten. */
  async #sayTheRest(): Promise<void> {
    for (const key of lastWords(this.sql)) await this.deliver(key);
  }

  #audit({ id, manifest }: DeploymentIdentity, action: string, by: By, now: number, before: number | null): void {
    const of = { kind: "deployment", id, name: manifest.name, namespace: manifest.namespace } as const;
    audit(this.sql, entryOf(of, action, by, now, before, (before ?? 0) + 1));
  }

  /** @param amended what it is from now on, when the event changes that */
  #apply(event: Event, actor: string, now: number, amended?: DeploymentIdentity): void {
    const record = this.load();
    if (!record) return;
    const identity = amended ?? record.identity;
    const facts = factsOf(identity, record.generation, now);
    this.#write(identity, record, decide(record.state, event, facts), event.type, actor, now);
  }

  #write(
    identity: DeploymentIdentity,
    before: DeploymentRecord | null,
    decision: Decision,
    event: Event["type"] | "created",
    actor: string,
    now: number,
  ): void {
    if (save(this.sql, identity, before, decision, { actor, now }))
      post(this.sql, isGone(decision.state) ? "purge" : "index", now);
    for (const key of lettersFor(before?.state ?? null, decision.state, event)) post(this.sql, key, now);
    if (endsRun(identity, before?.state ?? null, decision.state)) post(this.sql, "schedule", now);
    if (leavesName(before?.state ?? null, decision.state)) post(this.sql, "release", now);
  }
}
