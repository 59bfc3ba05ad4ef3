import {
  type ConnectionPatch,
  type ConnectionSpec,
  managedViolations,
  type Source,
  type TestResult,
} from "../../contract/connection.ts";
import type { SourceNeed } from "../../contract/database-reader.ts";
import type { Entry } from "../../contract/event.ts";
import type { Report } from "../../contract/instance-report.ts";
import type { InstanceSettings } from "../../contract/instance-settings.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import { permits } from "../../contract/scope.ts";
import connection0001 from "../../migrations/connection/0001_create.sql";
import { setTimer } from "../alarm.ts";
import type { Seen } from "../instance/engine.ts";
import { cursor } from "../journal.ts";
import { post } from "../outbox.ts";
import { audit, project } from "../projection.ts";
import { copied, remote } from "../remote.ts";
import { type ResourceKind, ResourceObject } from "../resource-object.ts";
import { seal } from "../sealing.ts";
import type { Timer } from "../stored-object.ts";
import { entomb } from "../tombstone.ts";
import { type ConnectionEvent, type ConnectionState, decide, NEVER_TESTED } from "./decide.ts";
import { deliver, TEST_NEED } from "./deliver.ts";
import {
  auditEntry,
  type ConnectionIdentity,
  type ConnectionRecord,
  connectionView,
  indexRow,
  load,
  save,
} from "./record.ts";
import { absent, inUse, settingsViolations, unfit } from "./settings.ts";
import { attachToDatabase, detachFromDatabase, managedBy, sourceFor } from "./source.ts";

const CONNECTION: ResourceKind<ConnectionRecord, string[]> = {
  noun: "connection",
  migrations: [{ id: "connection/0001", sql: connection0001 }],
  // What was deleted is not there any more for anybody but its last letters.
  load: (sql) => {
    const record = load(sql);
    return record?.deleted ? null : record;
  },
  isVisible: ({ identity }, namespaces) => identity.unsaved !== true && permits({ namespaces }, identity.namespace),
};
/** How long the result of a test of nobody's connection can be asked for once more, ms. */
const UNSAVED_MS = 10_000;
const NO_PASSWORD = { password: "" };
/** A test of nobody's connection is over, and gone from its host. */
const isOver = ({ unsaved }: ConnectionIdentity, { test, last_test, leaving }: ConnectionState): boolean =>
  unsaved === true && test === null && last_test !== null && leaving.length === 0;

/** An instance that was never made is forgotten after so long: its request may still be under way before, ms. */
const UNMADE_MS = 60_000;

export type ConnectionCreation = {
  identity: ConnectionIdentity;
  spec: ConnectionSpec;
  password: string;
  mutation: Mutation;
  mayCreateNamespace: boolean;
};

export type Unsaved = { id: string; namespace: string; spec: ConnectionSpec; password: string; mutation: Mutation };

/** One connection to a source: its address, its sealed password, its tests, and which instances read through it. Named by its id. */
export class ConnectionObject extends ResourceObject<ConnectionRecord> {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, CONNECTION);
  }

  protected override view(record: ConnectionRecord): string {
    return JSON.stringify(connectionView(record, cursor(this.sql)));
  }

  /** Makes the connection, once its name is its own. The same id again is the same request: it gets the same answer. */
  async create({ identity, spec, password, mutation, mayCreateNamespace }: ConnectionCreation): Promise<Reply<Answer>> {
    const sealed = await this.#seal(password);
    if (!sealed.ok) return sealed;
    const { id, namespace, name } = identity;
    const led = await attachToDatabase({ identity, spec }, this.env);
    if (!led.ok) return led;
    const names = remote(this.env.NAMESPACE, namespace);
    const claimed = await names.claimName("connection", name, id, mutation, mayCreateNamespace);
    if (!claimed.ok) {
      if (this.load() === null) await detachFromDatabase({ identity, spec }, this.env);
      return copied(claimed);
    }
    return this.make(mutation, (now) => {
      if (this.load() === null) {
        const entry: Entry = { level: "info", component: "api", reason: "connection_created", message: "made" };
        save(this.sql, { identity, spec, password: sealed.value, state: NEVER_TESTED }, [entry], {
          revision: 1,
          actor: mutation.actor,
          now,
        });
        audit(this.sql, auditEntry(identity, "create", mutation, now, null, 1));
        post(this.sql, "index", now);
      }
      return this.answer(201);
    });
  }

  /** Whether another may have its name; null: it was never made, and may still come. */
  isDeleted(): boolean | null {
    return this.isBorn ? this.load() === null : null;
  }

  /** Notes an instance that reads a schema through it. Answers the managed database that it leads to, if it does. */
  attach(instanceId: string, namespace: string, schema: string, settings: InstanceSettings): Reply<string | null> {
    return this.change((now) => {
      const record = this.visible([namespace]);
      if (!record.ok) return absent(this.id, namespace);
      const violations = settingsViolations(record.value.spec, schema, settings);
      if (violations.length > 0) return unfit(violations);
      const { rowsWritten } = this.sql.exec(
        "INSERT INTO attached VALUES (?, ?, ?) ON CONFLICT (instance_id) DO NOTHING",
        instanceId,
        schema,
        now,
      );
      if (rowsWritten > 0) this.#touch(record.value, [], "api", now);
      return accept(record.value.identity.database_id);
    });
  }

  detach(instanceId: string): void {
    this.change((now) => {
      const record = this.load();
      if (!record) return;
      const { rowsWritten } = this.sql.exec("DELETE FROM attached WHERE instance_id = ?", instanceId);
      if (rowsWritten > 0) this.#touch(record, [], "api", now);
    });
  }

  /** Whether an instance may have these settings. */
  permits(schema: string, settings: InstanceSettings): Reply<null> {
    const record = this.load();
    if (!record) return this.unknown();
    const violations = settingsViolations(record.spec, schema, settings);
    return violations.length > 0 ? unfit(violations) : accept(null);
  }

  /** The source as programs are given it. A managed database is woken for what its holder needs it for. */
  async source(holder: string, need: SourceNeed): Promise<Reply<Source>> {
    const record = this.load();
    return record ? sourceFor(record, holder, need, this.env) : this.unknown();
  }

  /** Of a managed database that it leads to. */
  sourceNeed(): SourceNeed | null {
    return this.load()?.state.test == null ? null : TEST_NEED;
  }

  /** It follows none: instances do. */
  sourceStands(): boolean {
    return false;
  }

  async update(patch: ConnectionPatch, mutation: Mutation, namespaces: string[]): Promise<Reply<Answer>> {
    const { password, ...fields } = patch;
    const sealed = password === undefined ? null : await this.#seal(password);
    if (sealed && !sealed.ok) return sealed;
    return this.mutate(mutation, namespaces, (record, now) => {
      const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
      const unfitting = managedBy(record) === null ? [] : managedViolations(patch);
      if (unfitting.length > 0) return unfit(unfitting);
      const spec: ConnectionSpec = { ...record.spec, ...given };
      const lost = record.attached.filter(({ schema }) => !spec.schemas.includes(schema));
      if (lost.length > 0) return inUse(lost, `${lost.map(({ schema }) => schema).join(", ")} is read`);
      const entry: Entry = { level: "info", component: "api", reason: "connection_changed", message: "changed" };
      save(this.sql, { ...record, spec, password: sealed?.value ?? record.password }, [entry], {
        revision: record.revision + 1,
        actor: mutation.actor,
        now,
      });
      audit(this.sql, auditEntry(record.identity, "update", mutation, now, record.revision, record.revision + 1));
      post(this.sql, "index", now);
      return this.answer(200);
    });
  }

  async delete(mutation: Mutation, namespaces: string[]): Promise<Reply<Answer>> {
    await this.#forgetUnmade();
    return this.mutate(mutation, namespaces, (record, now) => {
      if (record.attached.length > 0) return inUse(record.attached, "instances read through it");
      const next = record.revision + 1;
      audit(this.sql, auditEntry(record.identity, "delete", mutation, now, record.revision, next));
      this.sql.exec("UPDATE connection SET deleted_at = ?", now);
      post(this.sql, "purge", now);
      return accept({ status: 204, body: "", revision: next });
    });
  }

  /** Starts a test, unless one is under way, and waits for its result that long; then it is answered as it is. */
  async testSource(mutation: Mutation, namespaces: string[], waitMs: number): Promise<Reply<Answer>> {
    const begun = this.mutate(mutation, namespaces, (record, now) => {
      this.#apply({ type: "test" }, mutation.actor, now);
      const present = this.load() as ConnectionRecord;
      audit(this.sql, auditEntry(record.identity, "test", mutation, now, record.revision, present.revision));
      return this.answer(202);
    });
    if (!begun.ok) return begun;
    const record = await this.until(namespaces, waitMs, ({ state }) => state.test === null);
    return record.ok ? this.answer(record.value.state.test === null ? 200 : 202) : record;
  }

  /** Tests a source that is nobody's connection, and answers what was found. Its password goes with the end of the test, the rest soon after. */
  async testUnsaved({ id, namespace, spec, password, mutation }: Unsaved, waitMs: number): Promise<Reply<TestResult>> {
    const sealed = await this.#seal(password);
    if (!sealed.ok) return sealed;
    this.bear();
    this.change((now) => {
      // Asked once more, because the first call broke off.
      if (this.load() !== null) return;
      const identity = { id, namespace, name: "unsaved", database_id: null, created_at: now, unsaved: true } as const;
      const record = { identity, spec, password: sealed.value, state: NEVER_TESTED };
      save(this.sql, record, [], { revision: 1, actor: mutation.actor, now });
      const tried = { ...identity, name: `${spec.host}:${spec.port}` };
      audit(this.sql, auditEntry(tried, "test", mutation, now, null, null));
      this.#apply({ type: "test", within_ms: waitMs }, mutation.actor, now);
    });
    for (let record = this.load(); record !== null; record = this.load()) {
      const { last_test, test } = record.state;
      if (last_test !== null) return accept(last_test);
      const left = (test?.due_at ?? 0) - Date.now();
      if (left > 0) await this.watchers.next(left);
      else this.change((now) => this.#apply({ type: "due" }, "scheduler", now));
    }
    return this.unknown();
  }

  report({ workload_id, generation, body }: Report): Reply<string> {
    return this.change((now) => {
      const state = this.load()?.state;
      if (!state?.test || state.generation !== generation)
        return refuse("stale_report", `${workload_id} generation ${generation} is not waited for.`);
      if (body.kind === "tested") this.#apply({ type: "reported", generation, test: body.test }, "engine", now);
      return accept(JSON.stringify({ accepted: true, orders: { replication: "running", reload: 0, keys: [] } }));
    });
  }

  observe(hostId: string, reports: Seen[]): void {
    this.change((now) => {
      for (const { generation, observation } of reports) {
        const { phase } = observation;
        if (phase === "gone") this.#apply({ type: "gone", generation, host_id: hostId }, "agent", now);
        if (phase === "failed")
          this.#apply({ type: "ended", generation, message: observation.failure.message }, "agent", now);
        // Its report may still be on its way.
        if (phase === "exited") this.#hurry(generation, now);
      }
    });
  }

  evict(hostId: string, why: string, slots: { slot: number; generation: number }[]): void {
    this.change((now) => {
      for (const { generation } of slots) {
        if (why === "host_draining") continue;
        this.#apply({ type: "ended", generation, message: "its host went away" }, "host", now);
        if (why === "host_removed") this.#apply({ type: "gone", generation, host_id: hostId }, "host", now);
      }
    });
  }

  probed(): void {}
  used(): void {}
  capacityChanged(): void {}

  protected override due(_timer: Timer, now: number): void {
    this.#apply({ type: "due" }, "scheduler", now);
  }

  /** A test that has ended without a word is given a moment for its report, and not the whole time. */
  #hurry(generation: number, now: number): void {
    const record = this.load();
    const test = record?.state.test;
    if (!record || !test || record.state.generation !== generation) return;
    const due_at = Math.min(test.due_at, now + 5_000);
    save(this.sql, { ...record, state: { ...record.state, test: { ...test, due_at } } }, [], {
      revision: record.revision,
      actor: "agent",
      now,
    });
    setTimer(this.sql, "deadline", due_at);
  }

  #apply(event: ConnectionEvent, actor: string, now: number): void {
    const record = this.load();
    if (!record) return;
    const { state, entries } = decide(record.state, event, now);
    setTimer(this.sql, "deadline", state.test?.due_at ?? null);
    if (JSON.stringify(state) === JSON.stringify(record.state)) return;
    const { test } = state;
    if (record.identity.unsaved)
      this.#touch({ ...record, state, ...(test === null ? NO_PASSWORD : {}) }, [], actor, now);
    else this.#touch({ ...record, state }, entries, actor, now);
    if (isOver(record.identity, state)) setTimer(this.sql, "forget", now + UNSAVED_MS);
    if (test === null && record.state.test !== null) post(this.sql, "rest", now);
    if (test !== null && !test.taken) post(this.sql, "test", now);
    if (state.leaving.length > record.state.leaving.length) post(this.sql, "withdraw", now);
  }

  #touch(record: ConnectionRecord, entries: readonly Entry[], actor: string, now: number): void {
    save(this.sql, record, entries, { revision: record.revision + 1, actor, now });
    post(this.sql, "index", now);
  }

  protected override async deliver(key: string): Promise<void> {
    const record = load(this.sql);
    if (!record) return;
    if (key === "index") return project(this.sql, this.env.INDEX, indexRow(record, cursor(this.sql)));
    if (key === "purge") return this.#purge(record);
    const apply = (event: ConnectionEvent) => this.change((now) => this.#apply(event, "scheduler", now));
    return deliver(key, { env: this.env, load: () => this.load(), apply });
  }

  protected override isForgotten(now: number): boolean {
    if (super.isForgotten(now)) return true;
    const record = this.load();
    const isDone = record !== null && isOver(record.identity, record.state) && record.updated_at + UNSAVED_MS <= now;
    return isDone && this.sql.exec("SELECT 1 FROM outbox").toArray().length === 0;
  }

  async #purge(record: ConnectionRecord): Promise<void> {
    const { id, namespace, name } = record.identity;
    await detachFromDatabase(record, this.env);
    await remote(this.env.NAMESPACE, namespace).releaseName("connection", name, id);
    await project(this.sql, this.env.INDEX, indexRow(record, cursor(this.sql)));
    this.change((now) => entomb(this.sql, ["connection", "attached"], now));
  }

  /** Instances that were announced, and then never made. */
  async #forgetUnmade(): Promise<void> {
    for (const { instance_id, at } of this.load()?.attached ?? []) {
      if (Date.now() - at < UNMADE_MS) continue;
      if ((await remote(this.env.INSTANCE, instance_id).isDeleted()) !== false) this.detach(instance_id);
    }
  }

  #seal(password: string): Promise<Reply<string>> {
    return seal(this.env, password, `connection:${this.id}`);
  }
}
