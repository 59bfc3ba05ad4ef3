import { verdict } from "../../contract/action.ts";
import { DATABASE_ACTION_TABLE, type DatabaseAction, type DatabasePatch } from "../../contract/database.ts";
import type { DatabaseSettings } from "../../contract/database-state.ts";
import type { GatewayFrame, Lookup } from "../../contract/gateway.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import { permits } from "../../contract/scope.ts";
import type { Credentials } from "../../contract/scram.ts";
import type { Observation } from "../../contract/workload.ts";
import { announce } from "../announce.ts";
import { post } from "../outbox.ts";
import { audit, CLUSTER_SHARD, project } from "../projection.ts";
import { remote } from "../remote.ts";
import { type ResourceKind, ResourceObject } from "../resource-object.ts";
import { answerClose } from "../socket-close.ts";
import type { Timer } from "../stored-object.ts";
import { isPurged } from "../tombstone.ts";
import { active } from "./activity.ts";
import { type DatabaseDraft, make } from "./creation.ts";
import { addCredential, bridgeTo, credentialsOf, credentialViews, retireCredential, unsettled } from "./credential.ts";
import { type DatabaseEvent, decide, type EvictionCause } from "./decide.ts";
import { deliver } from "./deliver.ts";
import type { Said } from "./draft.ts";
import { explanation } from "./explain.ts";
import { demandOf, expire, leaseViews, release, renew } from "./lease.ts";
import { questions, subjects } from "./letters.ts";
import { bootIdOf, Lines, parseFrame } from "./line.ts";
import { lookupOf } from "./lookup.ts";
import { refusalOfLoss } from "./loss.ts";
import { MIGRATIONS } from "./migrations.ts";
import { prepare } from "./prepare.ts";
import { check, followers, isNews } from "./reader.ts";
import { auditEntry, type DatabaseRecord, factsOf, load, save, sourceOf } from "./record.ts";
import { answersTo, eventOf, restoreWake } from "./reply.ts";
import { answerAsSource, askHolder, type SourceAsk, type SourceParts, tellFollower } from "./source.ts";
import { bury, sayTheRest } from "./tombstone.ts";
import { databaseView, indexRow, notAllowed } from "./view.ts";

const DATABASE: ResourceKind<DatabaseRecord, string[]> = {
  noun: "database",
  migrations: MIGRATIONS,
  load,
  isVisible: ({ identity }, namespaces) => permits({ namespaces }, identity.namespace),
};

/** One database: whether it has a writer, where, under which term, and who uses it. Named by its id. */
export class DatabaseObject extends ResourceObject<DatabaseRecord> {
  readonly #lines = new Lines(this.ctx);
  /** What is to be said once the change that says it is committed. */
  readonly #say: Said[] = [];

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, DATABASE);
  }

  protected override view(record: DatabaseRecord): string {
    return JSON.stringify(databaseView(this.sql, record, this.#lines.connected(), Date.now()));
  }

  /** Makes the database: a record, and a name for its log. Nothing is started. The same request again answers the same. */
  async create(draft: DatabaseDraft, mutation: Mutation): Promise<Reply<Answer>> {
    return this.make(mutation, (now) =>
      this.load() !== null || isPurged(this.sql)
        ? refuse("name_taken", "There is, or was, a database of this id.")
        : make(this.sql, draft, mutation, now),
    );
  }

  /** Whether another may have its name; null: it was never made, and may still come. */
  isDeleted(): boolean | null {
    return this.isBorn ? this.load()?.state.status === "deleting" || isPurged(this.sql) : null;
  }

  update(patch: DatabasePatch, mutation: Mutation, namespaces: string[]): Reply<Answer> {
    return this.#act("update", mutation, namespaces, (record, now) => {
      const given = Object.fromEntries(Object.entries(patch).filter(([, value]) => value !== undefined));
      this.#apply({ type: "demand" }, mutation.actor, now, { ...record.settings, ...given });
      this.#lines.say([{ to: null, frame: { kind: "changed" } }]);
      return null;
    });
  }

  /** Its writer, every copy of its data, and what the keepers have, will go. */
  delete(mutation: Mutation, namespaces: string[]): Reply<Answer> {
    return this.#act("delete", mutation, namespaces, (_record, now) => {
      this.#apply({ type: "delete" }, mutation.actor, now);
      post(this.sql, "release", now);
      return null;
    });
  }

  /** The next start is with what there is, though acknowledged commits are missing. */
  acceptLoss(mutation: Mutation, namespaces: string[]): Reply<Answer> {
    return this.#act("accept_loss", mutation, namespaces, ({ identity, state }, now) => {
      const refusal = refusalOfLoss(identity.name, state);
      if (refusal === null) this.#apply({ type: "accept_loss" }, mutation.actor, now);
      return refusal;
    });
  }

  /** Another password, from now on the current one; the one before it stays valid. */
  async rotate(
    made: Credentials,
    sealed: string | null,
    mutation: Mutation,
    namespaces: string[],
  ): Promise<Reply<Answer>> {
    const [current] = this.isBorn ? credentialsOf(this.sql) : [];
    const bridged = current === undefined ? null : await bridgeTo(current, made);
    const reply = this.#act("rotate_credentials", mutation, namespaces, (record, now) => {
      const refusal = unsettled(this.sql, record.state, current?.verifier.id);
      if (refusal !== null) return refusal;
      addCredential(this.sql, made.verifier, bridged, now);
      this.#apply({ type: "demand" }, mutation.actor, now);
      if (record.state.status === "ready") post(this.sql, `install ${record.state.term} ${made.verifier.id}`, now);
      this.#lines.say([{ to: null, frame: { kind: "changed" } }]);
      const [added] = credentialViews(this.sql, record.state.installed);
      return accept({ status: 201, body: JSON.stringify({ ...added, sealed }), revision: record.revision });
    });
    // A writer that runs has it by the time that its owner does.
    await this.outbox.drain();
    return reply;
  }

  /** Ends the password of before the last rotation. */
  retire(credential: string, mutation: Mutation, namespaces: string[]): Reply<Answer> {
    return this.#act("rotate_credentials", mutation, namespaces, (record, now) => {
      const refusal = retireCredential(this.sql, credential, record.state.status);
      if (refusal !== null) return refusal;
      this.#apply({ type: "demand" }, mutation.actor, now);
      this.#lines.say([{ to: null, frame: { kind: "changed" } }]);
      return accept({ status: 204, body: "", revision: record.revision });
    });
  }

  credentials(namespaces: string[]): Reply<string> {
    const record = this.visible(namespaces);
    return record.ok ? accept(JSON.stringify(credentialViews(this.sql, record.value.state.installed))) : record;
  }

  /** What a gateway may know; null when there is nothing of it. It wakes nothing. */
  lookup(name: string, namespaces: string[]): Lookup | null {
    const record = this.visible(namespaces);
    return record.ok && record.value.state.status !== "deleting" ? lookupOf(this.sql, record.value, name) : null;
  }

  /** What connections and instances want of it as their source. */
  asSource(ask: SourceAsk) {
    return answerAsSource(ask, this.#parts());
  }

  /** What a host saw of its writers. Late, repeated, or of an older term, it changes nothing. */
  observe(hostId: string, reports: { term: number; observation: Observation }[]): void {
    this.change((now) => {
      for (const { term, observation } of reports)
        this.#apply({ type: "observed", host_id: hostId, term, observation }, "agent", now);
    });
  }

  /** Its writer cannot stay on its host. */
  evict(hostId: string, why: EvictionCause, terms: number[]): void {
    this.change((now) => {
      for (const term of terms) this.#apply({ type: "evicted", host_id: hostId, term, why }, "host", now);
    });
  }

  leases(namespaces: string[]): Reply<string> {
    const record = this.visible(namespaces);
    return record.ok ? accept(JSON.stringify(leaseViews(this.sql, this.#lines.connected()))) : record;
  }

  async explain(namespaces: string[]): Promise<Reply<string>> {
    const hosts = await remote(this.env.INDEX, CLUSTER_SHARD).hosts();
    const record = this.visible(namespaces);
    const connected = this.#lines.connected();
    return record.ok ? accept(explanation(this.sql, record.value, connected, hosts, Date.now())) : record;
  }

  /** Answers when it is in one of the states, gone (not_found), or the time is over. */
  async waitFor(namespaces: string[], states: string[], timeoutMs: number): Promise<Reply<Answer>> {
    const record = await this.until(namespaces, timeoutMs, ({ state }) => states.includes(state.status));
    return record.ok ? this.answer(200) : record;
  }

  override async poke(): Promise<void> {
    this.change((now) => this.#apply({ type: "demand" }, "scheduler", now));
    await super.poke();
  }

  /** A gateway's line. Who may open one, the Worker has checked. */
  override async fetch(request: Request): Promise<Response> {
    return this.#lines.open(request, this.env);
  }

  override webSocketMessage(socket: WebSocket, text: string | ArrayBuffer): void {
    const frame = parseFrame(text);
    if (frame === null) {
      socket.close(1008, "frame refused");
      return;
    }
    this.change((now) => this.#hear(socket, frame, now));
    this.ctx.waitUntil(this.#lines.recheck(socket, this.env));
  }

  override webSocketClose(socket: WebSocket, code: number, reason: string): void {
    answerClose(socket, code, reason);
    this.change((now) => this.#apply({ type: "demand" }, "gateway", now));
  }

  override webSocketError(): Promise<void> {
    return this.poke();
  }

  protected override due({ name }: Timer, now: number): void {
    if (name === "readers") check(this.sql, now);
    this.#apply({ type: name === "deadline" ? "due" : "demand" }, "scheduler", now);
  }

  #hear(socket: WebSocket, frame: GatewayFrame, now: number): void {
    const bootId = bootIdOf(socket);
    const record = this.load();
    if (record !== null && frame.kind === "lease") renew(this.sql, bootId, frame, now);
    if (record !== null && frame.kind === "release") release(this.sql, bootId, frame.idle_ms, now);
    this.#apply(eventOf(bootId, frame, now), "gateway", now);
    if (frame.kind === "lease")
      for (const answer of answersTo(frame, this.load()?.state ?? null, now))
        this.#say.push({ to: bootId, frame: answer });
  }

  protected override async deliver(key: string): Promise<void> {
    const record = this.load();
    if (!record) return;
    const { identity } = record;
    switch (key) {
      case "index":
        return project(this.sql, this.env.INDEX, indexRow(this.sql, record, false), record.state.starts);
      case "announce":
        return announce(this.sql, this.env, sourceOf(record));
      case "release":
        return remote(this.env.NAMESPACE, identity.namespace).releaseName("database", identity.name, identity.id);
      case "prepare": {
        if (record.state.status !== "creating") return;
        const done = await prepare(this.sql, record, this.env);
        if (!done.ok) {
          const { detail } = done.refusal;
          this.change((now) => this.#apply({ type: "unprepared", message: detail }, "scheduler", now));
          throw new Error(detail);
        }
        return this.change((now) => {
          this.#apply({ type: "prepared" }, "scheduler", now);
          if (identity.restored_from !== null) this.#apply({ type: "wake", wake: restoreWake(now) }, "scheduler", now);
        });
      }
      case "purge":
        await sayTheRest(this.sql, record, this.env);
        return this.change((now) => bury(this.sql, now));
    }
    const [what, holder = ""] = key.split(" ");
    const parts = this.#parts();
    if (what === "tell") return tellFollower(holder, parts);
    if (what === "need") return askHolder(holder, parts);
    return deliver(key, { ...parts, apply: (event) => parts.change((now) => parts.apply(event, now)) });
  }

  #parts(): SourceParts {
    return {
      ...{ id: this.id, env: this.env, sql: this.sql, watchers: this.watchers },
      ...{ load: () => this.load(), change: (work) => this.change(work) },
      apply: (event, now) => this.#apply(event, "scheduler", now),
    };
  }

  /** A mutation of a database that is there; `work` answers a refusal, an answer of its own, or null for the database. */
  #act(
    action: DatabaseAction,
    mutation: Mutation,
    namespaces: string[],
    work: (record: DatabaseRecord, now: number) => Reply<Answer> | null,
  ): Reply<Answer> {
    return this.mutate(mutation, namespaces, (record, now) => {
      const { identity, state, revision } = record;
      const said = verdict(DATABASE_ACTION_TABLE, state.status, action);
      if (said === "refused") return notAllowed(identity.name, state.status);
      const own = said === "go" ? work(record, now) : null;
      if (own !== null && !own.ok) return own;
      if (said === "go") {
        const present = (this.load() as DatabaseRecord).revision;
        audit(this.sql, auditEntry(identity, action, mutation, now, revision, present));
        post(this.sql, "index", now);
      }
      if (own !== null) return own;
      return action === "delete" ? accept({ status: 204, body: "", revision }) : this.answer(200);
    });
  }

  protected override change<T>(work: (now: number) => T): T {
    this.#say.length = 0;
    return super.change(work);
  }

  /** Gateways are told as well. */
  protected override afterCommit(): void {
    this.#lines.say(this.#say.splice(0));
    super.afterCommit();
  }

  #apply(event: DatabaseEvent, actor: string, now: number, settings?: DatabaseSettings): void {
    const record = this.load();
    if (!record) return;
    const known = settings === undefined ? record : { ...record, settings };
    this.#lines.hangUp(expire(this.sql, this.#lines.connected(), now));
    const facts = factsOf(this.sql, known, demandOf(this.sql, this.#lines.connected()), now);
    const before = subjects(record.state, facts);
    const decision = decide(record.state, event, facts);
    const { state } = decision;
    if (state.status === "ready" && record.state.status !== "ready") active(this.sql, now);
    this.#say.push(...decision.said);
    const head = { actor, now, ...(settings === undefined ? {} : { settings }) };
    if (save(this.sql, record, decision, facts, head)) post(this.sql, "index", now);
    if (isNews(record.state, state)) for (const holder of followers(this.sql)) post(this.sql, `tell ${holder}`, now);
    const again = event.type === "due";
    for (const subject of subjects(state, facts)) if (again || !before.has(subject)) post(this.sql, subject, now);
    if (again) for (const subject of questions(state)) post(this.sql, subject, now);
  }
}
