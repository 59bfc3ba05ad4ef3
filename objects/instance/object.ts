import type { SourceNeed, SourceStanding } from "../../contract/database-reader.ts";
import { newId } from "../../contract/id.ts";
import { type InstanceIdentity, type InstanceSpec, type InstanceState, SLOT } from "../../contract/instance.ts";
import type { InstanceAction } from "../../contract/instance-action.ts";
import { type InstancePatch, patched } from "../../contract/instance-check.ts";
import type { KeyCreate } from "../../contract/instance-key.ts";
import type { Report } from "../../contract/instance-report.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import { permits } from "../../contract/scope.ts";
import { setTimer } from "../alarm.ts";
import { announce } from "../announce.ts";
import type { ConnectionObject } from "../connection/object.ts";
import { unfit } from "../connection/settings.ts";
import { cursor } from "../journal.ts";
import { post } from "../outbox.ts";
import { audit, project } from "../projection.ts";
import { copied, remote } from "../remote.ts";
import { type ResourceKind, ResourceObject } from "../resource-object.ts";
import { seal } from "../sealing.ts";
import type { Timer } from "../stored-object.ts";
import { artifactText } from "./build-history.ts";
import type { ActInput, InstanceCreation } from "./creation.ts";
import { decide, type InstanceDecision, type InstanceEvent, initial } from "./decide.ts";
import { deliver, type Sender } from "./deliver.ts";
import { dueEvents } from "./due.ts";
import type { Seen } from "./engine.ts";
import { heard, presentOrders } from "./hearing.ts";
import type { InstanceRecord } from "./kept.ts";
import { keyViolations } from "./key-check.ts";
import { presentSchema, recheckKeys } from "./key-fit.ts";
import { addKey, dropKey, keySecretLabel, keys, keyView, newKeySecret, withKey } from "./keys.ts";
import { buildInQueue, lettersFor } from "./letters.ts";
import { MIGRATIONS } from "./migrations.ts";
import type { EvictionCause } from "./placing.ts";
import { buildsText, endedBuild, type LogState, type LogWanted, logState, missingBuild, refusalOf } from "./reading.ts";
import { auditEntry, factsOf, indexRow, load, save, sourceOf } from "./record.ts";
import { routeAsked, routeCapacity, routeEvicted, routeSeen } from "./routing.ts";
import { needsChanged, sourceNeed } from "./source.ts";
import { keepStanding } from "./standing.ts";
import { bury, sayTheRest } from "./tombstone.ts";
import { instanceView } from "./view.ts";

const INSTANCE: ResourceKind<InstanceRecord, string[]> = {
  noun: "instance",
  migrations: MIGRATIONS,
  // What was deleted is not there any more for anybody but its last letters.
  load: (sql) => {
    const record = load(sql);
    return record?.deleted ? null : record;
  },
  isVisible: ({ identity }, namespaces) => permits({ namespaces }, identity.namespace),
};

/** An engine that is well says within that time that replication is paused or goes on, ms. */
const DONE_WITHIN_MS = 5_000;
/** Whether replication is as it should be, as far as there is an engine to tell. */
const isDone = ({ serving, replication, replication_paused }: InstanceState): boolean =>
  !serving?.loaded || replication === null || (replication === "paused") === replication_paused;

/** One instance: its state machine, its builds, its journal, and its own alarm. Named by its id. */
export class InstanceObject extends ResourceObject<InstanceRecord> {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, INSTANCE);
  }

  protected override view(record: InstanceRecord): string {
    return JSON.stringify(instanceView(record, cursor(this.sql)));
  }

  /** Makes the instance, once its connection and its name are its own. The same id again is the same request: it gets the same answer. */
  async create({ identity, spec, mutation, mayCreateNamespace }: InstanceCreation): Promise<Reply<Answer>> {
    const { id, namespace, name, connection_id } = identity;
    const connection = remote<ConnectionObject>(this.env.CONNECTION, connection_id);
    const attached = await connection.attach(id, namespace, identity.schema, spec.settings);
    if (!attached.ok) return copied(attached);
    const names = remote(this.env.NAMESPACE, namespace);
    const claimed = await names.claimName("instance", name, id, mutation, mayCreateNamespace);
    if (!claimed.ok) {
      if (this.load() === null) await connection.detach(id);
      return copied(claimed);
    }
    const sealed = await seal(this.env, newKeySecret(), keySecretLabel(id));
    if (!sealed.ok) return sealed;
    return this.make(mutation, (now) => {
      if (this.load() === null) {
        const whole = { ...identity, database_id: attached.value };
        this.sql.exec("INSERT INTO key_secret VALUES (1, ?)", sealed.value);
        this.#write(null, whole, spec, initial(now), "specified", mutation.actor, now);
        audit(this.sql, auditEntry(identity, "create", mutation, now, null, 1));
      }
      return this.answer(201);
    });
  }

  /** Whether another may have its name; null: it was never made, and may still come. */
  isDeleted(): boolean | null {
    return this.isBorn ? this.load() === null : null;
  }

  /** Does or queues what the matrix allows now; 202 with the instance. `delete` answers 204. What its engine does at once it has done then, if it says so in time. */
  async act(action: InstanceAction, input: ActInput, mutation: Mutation, namespaces: string[]): Promise<Reply<Answer>> {
    const done = this.#act(action, input, mutation, namespaces);
    if (!done.ok || (action !== "pause-replication" && action !== "resume-replication")) return done;
    const record = await this.until(namespaces, DONE_WITHIN_MS, ({ state }) => isDone(state));
    return record.ok ? this.answer(202) : done;
  }

  #act(action: InstanceAction, input: ActInput, mutation: Mutation, namespaces: string[]): Reply<Answer> {
    return this.mutate(mutation, namespaces, (record, now) => {
      const refusal =
        refusalOf(action, record) ??
        (action === "redeploy" && input.build_id !== undefined ? missingBuild(record, input.build_id) : null);
      if (refusal) return refusal;
      this.#apply({ type: "act", action, actor: mutation.actor, by: "user", ...input }, mutation.actor, now);
      this.#audit(action, record, mutation, now);
      if (action !== "delete") return this.answer(202);
      this.sql.exec("UPDATE instance SET deleted_at = ?", now);
      setTimer(this.sql, "deadline", null);
      post(this.sql, "purge", now);
      return accept({ status: 204, body: "", revision: record.revision + 1 });
    });
  }

  /** Withdraws the queued action. */
  cancelGoal(mutation: Mutation, namespaces: string[]): Reply<Answer> {
    return this.mutate(mutation, namespaces, (record, now) => {
      const refusal = refusalOf("cancel-goal", record);
      if (refusal) return refusal;
      this.#apply({ type: "cancel_goal", actor: mutation.actor }, mutation.actor, now);
      this.#audit("cancel-goal", record, mutation, now);
      return this.answer(200);
    });
  }

  /** Ends a build that waits for its turn or runs. */
  cancelBuild(buildId: string, mutation: Mutation, namespaces: string[]): Reply<Answer> {
    return this.mutate(mutation, namespaces, (record, now) => {
      const refusal = endedBuild(record, buildId);
      if (refusal) return refusal;
      this.#apply({ type: "cancel_build", build_id: buildId, actor: mutation.actor }, mutation.actor, now);
      this.#audit("cancel-build", record, mutation, now);
      return this.answer(200);
    });
  }

  /** Stores another specification; nothing that runs changes by it. */
  async patch(patch: InstancePatch, mutation: Mutation, namespaces: string[]): Promise<Reply<Answer>> {
    const known = this.visible(namespaces);
    if (!known.ok) return known;
    const { identity, spec: before } = known.value;
    const fits = await remote<ConnectionObject>(this.env.CONNECTION, identity.connection_id).permits(
      identity.schema,
      patched(before, patch).settings,
    );
    if (!fits.ok) return copied(fits);
    return this.mutate(mutation, namespaces, (record, now) => {
      const spec = patched(record.spec, patch);
      if (JSON.stringify(spec) !== JSON.stringify(record.spec)) {
        this.#apply({ type: "specified" }, mutation.actor, now, spec);
        this.#audit("update", record, mutation, now);
      }
      return this.answer(200);
    });
  }

  /** An artifact's text, for hosts that do not have it. */
  artifact(hash: string): Reply<ReadableStream<Uint8Array>> {
    const text = this.load() && artifactText(this.sql, hash);
    return text === null ? refuse("not_found", `There is no artifact ${hash}.`) : accept(text);
  }

  /** Takes what one of its programs says. The answer is JSON: what an engine should be. */
  report(report: Report): Reply<string> {
    return this.change((now) => {
      const record = this.load();
      const told = record ? heard(this.sql, record.state, report, now) : this.unknown();
      if (!told.ok) return told;
      const actor = told.value.slot === SLOT.build ? "builder" : "engine";
      this.#apply({ type: "reported", ...told.value }, actor, now);
      return accept(JSON.stringify({ accepted: true, orders: presentOrders(this.sql, this.load()) }));
    });
  }

  /** Makes a key. What is kept of it does not open anything: the key itself is made again from the instance's secret. */
  async createKey(asked: KeyCreate, mutation: Mutation, namespaces: string[]): Promise<Reply<Answer>> {
    const made = this.mutate(mutation, namespaces, (record, now) => {
      const known = Object.keys(record.vitals?.body.row_counts ?? {});
      const unfitting = keyViolations(asked, presentSchema(this.sql, record), known);
      if (unfitting.length > 0) return unfit(unfitting);
      const view = addKey(this.sql, newId("key", now), asked, now);
      this.#audit("create_key", record, mutation, now);
      post(this.sql, "orders", now);
      return accept({ status: 201, body: JSON.stringify(view), revision: record.revision });
    });
    if (!made.ok) return made;
    return withKey(this.env, this.sql, this.id, made.value);
  }

  /** Its keys, without what opens anything: JSON. */
  keys(namespaces: string[]): Reply<string> {
    const record = this.visible(namespaces);
    return record.ok ? accept(JSON.stringify(keys(this.sql).map(keyView))) : record;
  }

  revokeKey(keyId: string, mutation: Mutation, namespaces: string[]): Reply<Answer> {
    return this.mutate(mutation, namespaces, (record, now) => {
      if (!dropKey(this.sql, keyId)) return refuse("not_found", `${record.identity.name} has no key ${keyId}.`);
      this.#audit("revoke_key", record, mutation, now);
      post(this.sql, "orders", now);
      return accept({ status: 204, body: "", revision: record.revision });
    });
  }

  /** What a host saw of its workloads. Reports of other generations, and repeated ones, change nothing. */
  observe(hostId: string, reports: Seen[]): void {
    this.#event({ type: "observed", host_id: hostId, reports }, "agent");
    routeSeen(this.#sender(), hostId, reports);
  }

  /** Workloads cannot stay on their host. */
  evict(hostId: string, why: EvictionCause, slots: { slot: number; generation: number }[]): void {
    routeEvicted(this.#sender(), hostId, why, () =>
      this.#event({ type: "evicted", host_id: hostId, why, slots }, "host"),
    );
  }

  /** Somebody with a key asks on its host, or waits for it there. */
  asked(waits: boolean): void {
    routeAsked(this.#sender(), waits);
  }

  /** No health checks of its workloads are asked for: its programs tell by themselves. */
  probed(): void {}
  used(): void {}

  capacityChanged(): void {
    this.#event({ type: "capacity" }, "scheduler");
    routeCapacity(this.#sender());
  }

  /** The build has its turn. */
  admitted(buildId: string): void {
    this.#event({ type: "admitted", build_id: buildId }, "scheduler");
  }

  /** Whether the build waits for its turn or has it. */
  needsCapacity(buildId: string): boolean {
    return buildInQueue(this.load()?.state ?? null) === buildId;
  }

  /** What it needs of the managed database that it reads from. */
  sourceNeed(): SourceNeed | null {
    const record = this.load();
    return record && sourceNeed(record.state, record.identity.name);
  }

  /** Where that can be read now. Answers whether it wants to be told. */
  sourceStands(standing: SourceStanding): boolean {
    return this.change((now) => {
      const follows = this.sourceNeed()?.follows ?? false;
      if (follows && keepStanding(this.sql, { ...standing })) post(this.sql, "orders", now);
      return follows;
    });
  }

  /** Its builds, newest first: JSON. */
  builds(namespaces: string[]): Reply<string> {
    const record = this.visible(namespaces);
    return record.ok ? accept(buildsText(record.value)) : record;
  }

  /** Where to read the lines of a build, or of its engine. */
  logState(namespaces: string[], what: LogWanted): Reply<LogState> {
    const record = this.visible(namespaces);
    return record.ok ? logState(this.sql, record.value, what) : record;
  }

  protected override due(_timer: Timer, now: number): void {
    const record = this.load();
    for (const { event, actor } of record ? dueEvents(record, now) : []) this.#apply(event, actor, now);
  }

  protected override async deliver(key: string): Promise<void> {
    const record = load(this.sql);
    if (!record) return;
    switch (key) {
      case "index":
        return project(this.sql, this.env.INDEX, indexRow(record, cursor(this.sql)));
      case "announce":
        return announce(this.sql, this.env, sourceOf(record.identity, record.spec.labels));
      case "purge":
        return this.#purge(record);
      default:
        return deliver(key, this.#sender());
    }
  }

  async #purge(record: InstanceRecord): Promise<void> {
    await sayTheRest(this.sql, record, this.env);
    this.change((now) => bury(this.sql, now));
  }

  #sender(): Sender {
    return {
      env: this.env,
      sql: this.sql,
      load: () => this.load(),
      apply: (event) => this.#event(event, "scheduler"),
      change: (work) => this.change(work),
    };
  }

  #audit(action: string, { identity, revision }: InstanceRecord, mutation: Mutation, now: number): void {
    audit(this.sql, auditEntry(identity, action, mutation, now, revision, this.load()?.revision ?? revision));
    post(this.sql, "index", now);
  }

  #event(event: InstanceEvent, actor: string): void {
    this.change((now) => this.#apply(event, actor, now));
  }

  #apply(event: InstanceEvent, actor: string, now: number, spec?: InstanceSpec): void {
    const record = this.load();
    if (!record) return;
    const present = spec ?? record.spec;
    const decision = decide(record.state, event, { ...factsOf(record, now), spec: present });
    this.#write(record, record.identity, present, decision, event.type, actor, now);
  }

  #write(
    before: InstanceRecord | null,
    identity: InstanceIdentity,
    spec: InstanceSpec,
    decision: InstanceDecision,
    event: InstanceEvent["type"],
    actor: string,
    now: number,
  ): void {
    const entries = [...decision.entries, ...recheckKeys(this.sql, before, decision.state)];
    if (save(this.sql, before, { identity, spec }, { ...decision, entries }, { actor, now }))
      post(this.sql, "index", now);
    if (identity.database_id !== null && needsChanged(before?.state ?? null, decision.state))
      post(this.sql, "source", now);
    for (const key of lettersFor(before?.state ?? null, decision.state, event)) post(this.sql, key, now);
  }
}
