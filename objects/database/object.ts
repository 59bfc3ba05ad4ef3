import { DurableObject } from "cloudflare:workers";
import { verdict } from "../../contract/action.ts";
import { DATABASE_ACTION_TABLE, type DatabaseAction, type DatabasePatch } from "../../contract/database.ts";
import type { DatabaseSettings } from "../../contract/database-state.ts";
import type { Level } from "../../contract/event.ts";
import type { GatewayFrame, Lookup } from "../../contract/gateway.ts";

import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import type { Credentials } from "../../contract/scram.ts";
import type { Observation } from "../../contract/workload.ts";
import database0001 from "../../migrations/database/0001_create.sql";
import database0002 from "../../migrations/database/0002_suspect.sql";
import { commit, isPostponed, rearm, takeDue } from "../alarm.ts";
import { announce } from "../announce.ts";
import { isBorn } from "../born.ts";
import { after, cursor, newest } from "../journal.ts";
import { migrate } from "../migrate.ts";
import { Outbox, post } from "../outbox.ts";
import { audit, CLUSTER_SHARD, project } from "../projection.ts";
import { remote } from "../remote.ts";
import { once, stale } from "../request.ts";
import { type Resealed, resealed } from "../reseal.ts";
import { answerClose } from "../socket-close.ts";
import { isForgotten, isPurged } from "../tombstone.ts";
import { Watchers } from "../watch.ts";
import { type DatabaseDraft, make } from "./creation.ts";
import { addCredential, bridgeTo, credentialsOf, credentialViews, newestId, retireCredential } from "./credential.ts";
import { type DatabaseEvent, decide, type EvictionCause } from "./decide.ts";
import { deliver } from "./deliver.ts";
import type { Said } from "./draft.ts";
import { explanation } from "./explain.ts";
import { active, demandOf, expire, leaseViews, release, renew } from "./lease.ts";
import { questions, subjects } from "./letters.ts";
import { bootIdOf, Lines, parseFrame } from "./line.ts";
import { lookupOf } from "./lookup.ts";
import { prepare } from "./prepare.ts";
import { auditEntry, type DatabaseRecord, factsOf, load, save, sourceOf } from "./record.ts";
import { answersTo, eventOf, restoreWake } from "./reply.ts";
import { bury, sayTheRest } from "./tombstone.ts";
import { databaseView, indexRow } from "./view.ts";

const MIGRATIONS = [
  { id: "database/0001", sql: database0001 },
  { id: "database/0002", sql: database0002 },
];

/** One database: whether it has a writer, where, under which term, and who uses it. Named by its id. */
export class DatabaseObject extends DurableObject<Env> {
  readonly #sql = this.ctx.storage.sql;
  /** Whether its tables are there; asking SQLite each time would cost more than most reads. */
  #born: boolean;
  readonly #outbox = new Outbox(this.ctx.storage, (key) => this.#deliver(key));
  readonly #watchers = new Watchers();
  readonly #lines = new Lines(this.ctx);

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#born = isBorn(this.#sql);
    if (this.#born) migrate(ctx.storage, MIGRATIONS);
  }

  /** Makes the database: a record, and a name for its log. Nothing is started. The same request again answers the same. */
  async create(draft: DatabaseDraft, mutation: Mutation): Promise<Reply<Answer>> {
    if (!this.#born) migrate(this.ctx.storage, MIGRATIONS);
    this.#born = true;
    const reply = this.#change((now) =>
      once(this.#sql, mutation, now, () =>
        this.#load() !== null || isPurged(this.#sql)
          ? refuse("name_taken", "There is, or was, a database of this id.")
          : make(this.#sql, draft, mutation, now),
      ),
    );
    await this.#outbox.drain();
    return reply;
  }

  /** Whether another may have its name; null: it was never made, and may still come. */
  isDeleted(): boolean | null {
    return this.#born ? this.#load()?.state.status === "deleting" || isPurged(this.#sql) : null;
  }

  update(patch: DatabasePatch, mutation: Mutation, namespaces: string[]): Reply<Answer> {
    return this.#mutate("update", mutation, namespaces, (record, now) => {
      const given = Object.fromEntries(Object.entries(patch).filter(([, value]) => value !== undefined));
      this.#apply({ type: "demand" }, mutation.actor, now, { ...record.settings, ...given });
      this.#lines.say([{ to: null, frame: { kind: "changed" } }]);
      return null;
    });
  }

  /** Its writer, every copy of its data, and what the keepers have, will go. */
  delete(mutation: Mutation, namespaces: string[]): Reply<Answer> {
    return this.#mutate("delete", mutation, namespaces, (_record, now) => {
      this.#apply({ type: "delete" }, mutation.actor, now);
      post(this.#sql, "release", now);
      return null;
    });
  }

  /** The next start is with what there is, though acknowledged commits are missing. */
  acceptLoss(mutation: Mutation, namespaces: string[]): Reply<Answer> {
    return this.#mutate("accept_loss", mutation, namespaces, (_record, now) => {
      this.#apply({ type: "accept_loss" }, mutation.actor, now);
      return null;
    });
  }

  /** Another password, from now on the current one; the one before it stays valid. */
  async rotate(
    made: Credentials,
    sealed: string | null,
    mutation: Mutation,
    namespaces: string[],
  ): Promise<Reply<Answer>> {
    const [current] = this.#born ? credentialsOf(this.#sql) : [];
    const bridged = current === undefined ? null : await bridgeTo(current, made);
    const reply = this.#mutate("rotate_credentials", mutation, namespaces, (record, now) => {
      const pending = record.state.status === "ready" && record.state.installed !== newestId(this.#sql);
      if (pending || newestId(this.#sql) !== current?.verifier.id)
        return refuse(
          "action_not_allowed",
          "The last rotation has not reached PostgreSQL yet; try again in a moment.",
          {
            more: { resource_status: record.state.status, retry_after: 1 },
          },
        );
      addCredential(this.#sql, made.verifier, bridged, now);
      this.#apply({ type: "demand" }, mutation.actor, now);
      if (record.state.status === "ready") post(this.#sql, `install ${record.state.term} ${made.verifier.id}`, now);
      this.#lines.say([{ to: null, frame: { kind: "changed" } }]);
      const [added] = credentialViews(this.#sql, record.state.installed);
      return accept({ status: 201, body: JSON.stringify({ ...added, sealed }), revision: record.revision });
    });
    // A writer that runs has it by the time that its owner does.
    await this.#outbox.drain();
    return reply;
  }

  /** Ends the password of before the last rotation. */
  retire(credential: string, mutation: Mutation, namespaces: string[]): Reply<Answer> {
    return this.#mutate("rotate_credentials", mutation, namespaces, (record, now) => {
      const outcome = retireCredential(this.#sql, credential);
      if (outcome === "unknown") return refuse("not_found", `There is no credential ${credential}.`);
      if (outcome === "current")
        return refuse("action_not_allowed", "This is the current password; rotate first.", {
          more: { resource_status: record.state.status },
        });
      this.#apply({ type: "demand" }, mutation.actor, now);
      this.#lines.say([{ to: null, frame: { kind: "changed" } }]);
      return accept({ status: 204, body: "", revision: record.revision });
    });
  }

  credentials(namespaces: string[]): Reply<string> {
    const record = this.#visible(namespaces);
    return record.ok ? accept(JSON.stringify(credentialViews(this.#sql, record.value.state.installed))) : record;
  }

  /** What a gateway may know; null when there is nothing of it. It wakes nothing. */
  lookup(name: string, namespaces: string[]): Lookup | null {
    const record = this.#visible(namespaces);
    return record.ok && record.value.state.status !== "deleting" ? lookupOf(this.#sql, record.value, name) : null;
  }

  /** What a host saw of its writers. Late, repeated, or of an older term, it changes nothing. */
  observe(hostId: string, reports: { term: number; observation: Observation }[]): void {
    this.#change((now) => {
      for (const { term, observation } of reports)
        this.#apply({ type: "observed", host_id: hostId, term, observation }, "agent", now);
    });
  }

  /** Its writer cannot stay on its host. */
  evict(hostId: string, why: EvictionCause, terms: number[]): void {
    this.#change((now) => {
      for (const term of terms) this.#apply({ type: "evicted", host_id: hostId, term, why }, "host", now);
    });
  }

  read(namespaces: string[]): Reply<Answer> {
    const record = this.#visible(namespaces);
    if (!record.ok) return record;
    const view = databaseView(this.#sql, record.value, this.#lines.connected(), Date.now());
    return accept({ status: 200, body: JSON.stringify(view), revision: record.value.revision });
  }

  leases(namespaces: string[]): Reply<string> {
    const record = this.#visible(namespaces);
    return record.ok ? accept(JSON.stringify(leaseViews(this.#sql, this.#lines.connected()))) : record;
  }

  async explain(namespaces: string[]): Promise<Reply<string>> {
    const record = this.#visible(namespaces);
    if (!record.ok) return record;
    const hosts = await remote(this.env.INDEX, CLUSTER_SHARD).hosts();
    return accept(JSON.stringify(explanation(this.#sql, record.value, this.#lines.connected(), hosts, Date.now())));
  }

  events(namespaces: string[], level: Level | null, limit: number): Reply<string[]> {
    const record = this.#visible(namespaces);
    return record.ok ? accept(newest(this.#sql, level, limit)) : record;
  }

  /** Events after a seq: at once when there are any, else when one comes, or none after `waitMs`. */
  async follow(namespaces: string[], seq: number, waitMs: number): Promise<Reply<{ seq: number; body: string }[]>> {
    const record = this.#visible(namespaces);
    if (!record.ok) return record;
    if (cursor(this.#sql) <= seq) await this.#watchers.next(waitMs);
    return accept(this.#born ? after(this.#sql, seq, 500) : []);
  }

  /** Answers when it is in one of the states, gone (not_found), or the time is over. */
  async waitFor(namespaces: string[], states: string[], timeoutMs: number): Promise<Reply<Answer>> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const record = this.#visible(namespaces);
      const left = deadline - Date.now();
      if (!record.ok || states.includes(record.value.state.status) || left <= 0) return this.read(namespaces);
      await this.#watchers.next(left);
    }
  }

  /** Seals anew, with the newest key, what of it is sealed. */
  async reseal(): Promise<Reply<Resealed>> {
    return this.#born ? resealed(this.ctx.storage, this.env) : accept({ resealed: 0, left: {} });
  }

  /** Sets the alarm anew and looks after what is due: for an object whose alarm may have been lost. */
  async poke(): Promise<void> {
    if (!this.#born) return;
    if (!isPurged(this.#sql)) this.#change((now) => this.#apply({ type: "demand" }, "scheduler", now));
    await this.alarm();
  }

  /** A gateway's line. Who may open one, the Worker has checked. */
  override async fetch(request: Request): Promise<Response> {
    return this.#lines.open(request);
  }

  override webSocketMessage(socket: WebSocket, text: string | ArrayBuffer): void {
    const frame = parseFrame(text);
    if (frame === null) {
      socket.close(1008, "frame refused");
      return;
    }
    this.#change((now) => this.#hear(socket, frame, now));
    this.ctx.waitUntil(this.#lines.recheck(socket, this.env));
  }

  override webSocketClose(socket: WebSocket, code: number, reason: string): void {
    answerClose(socket, code, reason);
    this.#change((now) => this.#apply({ type: "demand" }, "gateway", now));
  }

  override webSocketError(): Promise<void> {
    return this.poke();
  }

  override async alarm(info?: AlarmInvocationInfo): Promise<void> {
    if (!this.#born || isPostponed(this.ctx.storage, info)) return;
    try {
      while (this.#change((now) => this.#tick(now)));
      if (isForgotten(this.#sql, Date.now())) {
        this.#born = false;
        return void (await this.ctx.storage.deleteAll());
      }
      await this.#outbox.drain();
    } finally {
      if (this.#born) rearm(this.ctx.storage);
    }
  }

  #tick(now: number): boolean {
    const timer = takeDue(this.#sql, now);
    if (!timer) return false;
    if (this.#load()) this.#apply({ type: timer.name === "leases" ? "demand" : "due" }, "scheduler", now);
    return true;
  }

  #hear(socket: WebSocket, frame: GatewayFrame, now: number): void {
    const bootId = bootIdOf(socket);
    const record = this.#load();
    if (record !== null && frame.kind === "lease") renew(this.#sql, bootId, frame, now);
    if (record !== null && frame.kind === "release") release(this.#sql, bootId, frame.idle_ms, now);
    this.#apply(eventOf(bootId, frame, now), "gateway", now);
    if (frame.kind === "lease")
      for (const answer of answersTo(frame, this.#load()?.state ?? null, now))
        this.#say.push({ to: bootId, frame: answer });
  }

  /** What is to be said once the change that says it is committed. */
  readonly #say: Said[] = [];

  async #deliver(key: string): Promise<void> {
    const record = this.#load();
    if (!record) return;
    const { identity } = record;
    switch (key) {
      case "index":
        return project(this.#sql, this.env.INDEX, indexRow(this.#sql, record, this.#lines.connected(), false));
      case "announce":
        return announce(this.#sql, this.env, sourceOf(record));
      case "release":
        return remote(this.env.NAMESPACE, identity.namespace).releaseName("database", identity.name, identity.id);
      case "prepare":
        await prepare(this.#sql, record, this.env);
        return this.#change((now) => {
          this.#apply({ type: "prepared" }, "scheduler", now);
          if (identity.restored_from !== null) this.#apply({ type: "wake", wake: restoreWake(now) }, "scheduler", now);
        });
      case "purge":
        await sayTheRest(this.#sql, record, this.env);
        commit(this.ctx.storage, () => bury(this.#sql, Date.now()));
        return this.#watchers.notify();
      default:
        return deliver(key, {
          env: this.env,
          sql: this.#sql,
          load: () => this.#load(),
          apply: (event) => this.#change((now) => this.#apply(event, "scheduler", now)),
        });
    }
  }

  /** A mutation of a database that is there; `work` answers a refusal, an answer of its own, or null for the database. */
  #mutate(
    action: DatabaseAction,
    mutation: Mutation,
    namespaces: string[],
    work: (record: DatabaseRecord, now: number) => Reply<Answer> | null,
  ): Reply<Answer> {
    if (!this.#born) return this.#unknown();
    return this.#change((now) =>
      once<Answer>(this.#sql, mutation, now, () => {
        const record = this.#visible(namespaces);
        if (!record.ok) return record;
        const { identity, state, revision } = record.value;
        const refusal = stale(mutation, revision);
        if (refusal) return refusal;
        const said = verdict(DATABASE_ACTION_TABLE, state.status, action);
        if (said === "refused")
          return refuse("action_not_allowed", `${identity.name} is ${state.status}.`, {
            more: { resource_status: state.status },
          });
        const own = said === "go" ? work(record.value, now) : null;
        if (own !== null && !own.ok) return own;
        if (said === "go") {
          const present = (this.#load() as DatabaseRecord).revision;
          audit(this.#sql, auditEntry(identity, action, mutation, now, revision, present));
          post(this.#sql, "index", now);
        }
        if (own !== null) return own;
        return action === "delete" ? accept({ status: 204, body: "", revision }) : this.read(namespaces);
      }),
    );
  }

  /** One change as one transaction; then gateways are told, whoever watches is woken, and letters are sent. */
  #change<T>(work: (now: number) => T): T {
    // Nobody is here: there is nothing to write, and no table to write it to.
    if (!this.#born) return work(Date.now());
    this.#say.length = 0;
    const result = commit(this.ctx.storage, () => work(Date.now()));
    this.#lines.say(this.#say.splice(0));
    this.#watchers.notify();
    this.ctx.waitUntil(this.#outbox.drain());
    return result;
  }

  #apply(event: DatabaseEvent, actor: string, now: number, settings?: DatabaseSettings): void {
    const record = this.#load();
    if (!record) return;
    const known = settings === undefined ? record : { ...record, settings };
    this.#lines.hangUp(expire(this.#sql, this.#lines.connected(), now));
    const facts = factsOf(this.#sql, known, demandOf(this.#sql, this.#lines.connected()), now);
    const before = subjects(record.state, facts);
    const decision = decide(record.state, event, facts);
    const { state } = decision;
    if (state.status === "ready" && record.state.status !== "ready") active(this.#sql, now);
    this.#say.push(...decision.said);
    const head = { actor, now, ...(settings === undefined ? {} : { settings }) };
    if (save(this.#sql, record, decision, facts, head)) post(this.#sql, "index", now);
    const again = event.type === "due";
    for (const subject of subjects(state, facts)) if (again || !before.has(subject)) post(this.#sql, subject, now);
    if (again) for (const subject of questions(state)) post(this.#sql, subject, now);
  }

  #load(): DatabaseRecord | null {
    return this.#born ? load(this.#sql) : null;
  }

  #visible(namespaces: string[]): Reply<DatabaseRecord> {
    const record = this.#load();
    if (record && (namespaces.length === 0 || namespaces.includes(record.identity.namespace))) return accept(record);
    return this.#unknown();
  }

  #unknown(): Reply<never> {
    return refuse("not_found", `There is no database ${this.ctx.id.name}.`);
  }
}
