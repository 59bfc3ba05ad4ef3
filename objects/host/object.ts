import { verdict } from "../../contract/action.ts";
import type { Level } from "../../contract/event.ts";
import type { AgentBody, ControlBody, LogQuery, Question } from "../../contract/frame.ts";
import type { Probing } from "../../contract/health.ts";
import { HOST_ACTION_TABLE, type HostAction, type HostView, LOST_AFTER_MS } from "../../contract/host.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import type { Observation, Workload } from "../../contract/workload.ts";
import { append, newest } from "../journal.ts";
import { post } from "../outbox.ts";
import { audit, project } from "../projection.ts";
import { once, stale } from "../request.ts";
import { answerClose } from "../socket-close.ts";
import { StoredObject, type Timer } from "../stored-object.ts";
import { ownerOf } from "../workload-owner.ts";
import { ask, readLogs } from "./asking.ts";
import { type Assigned, assign, withdraw } from "./assignment.ts";
import { bootOf, decideHost, type HostEvent, heardBoot } from "./decide.ts";
import { deliver, type LetterKey, type Sender } from "./deliver.ts";
import { type Enrolment, enrolAnswer, enrolledEntry, identify, insert } from "./enrol.ts";
import { note, setProbing } from "./health.ts";
import { Link } from "./link.ts";
import { MIGRATIONS } from "./migrations.ts";
import { desired, desiredChanged, observed, profiled, touch } from "./news.ts";
import { opened } from "./open.ts";
import { type HostRecord, hostAudit, hostRow, hostView, load, notEmpty, save } from "./record.ts";
import { noteSeen, seenAt } from "./seen.ts";
import { refusal } from "./tunnel.ts";
import { owned, UsageRelay } from "./usage.ts";
import { one, owners, runningIds } from "./workloads.ts";
import { leaseLeft, renewWriters } from "./writers.ts";

/**
 * One host: what should run there, what it has room for, and the only link to its agent. Named by its id. Owners assign and withdraw
 * workloads; the agent reports; what changed is pushed to the owners at once.
 */
export class HostObject extends StoredObject {
  readonly #usage = new UsageRelay((owner, usages) => ownerOf(this.env, owner).used(this.#known().identity.id, usages));
  readonly #link = new Link(this.ctx, {
    identity: () => this.#known().identity,
    bootId: () => heardBoot(this.#known().state),
    receive: (body) => this.#receive(body),
    closed: (bootId) => this.#closed(bootId),
    opened: (body) => opened(body, this.env),
  });

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, MIGRATIONS);
  }

  /** Takes a host in. The same key again gets the same answer. */
  async enrol(enrolment: Enrolment): Promise<Reply<Answer>> {
    const identity = await identify(enrolment, Date.now());
    if (!identity.ok) return identity;
    this.bear();
    const reply = this.change((now): Reply<Answer> => {
      const known = this.#load();
      if (known && known.identity.public_key !== enrolment.request.public_key)
        return refuse("name_taken", "This host id is taken by another key.");
      if (known) return accept({ status: 201, body: enrolAnswer(known.identity), revision: known.revision });
      insert(this.sql, identity.value, now);
      append(this.sql, enrolledEntry(identity.value.name), {
        resourceId: identity.value.id,
        actor: enrolment.actor,
        revision: 1,
        now,
      });
      audit(this.sql, hostAudit(identity.value, "enrol", enrolment, now, null, 1));
      post(this.sql, "index", now);
      return accept({ status: 201, body: enrolAnswer(identity.value), revision: 1 });
    });
    await this.outbox.drain();
    return reply;
  }

  /** Reserves and takes workloads, or says why not, one answer for each. Asking again for the same generation is harmless. */
  assign(workloads: Workload[]): Assigned[] {
    return this.change((now) => {
      const answers = workloads.map((workload): Assigned => {
        const host = this.#load();
        return host ? assign(this.sql, host, workload, now) : { accepted: false, message: "was removed" };
      });
      if (answers.some(({ accepted }) => accepted)) desiredChanged(this.sql, now);
      return answers;
    });
  }

  /** These generations must be gone. `going`: its owner is told when it is. */
  withdraw(owner: string, workloads: { id: string; generation: number }[]): ("gone" | "going")[] {
    return this.change((now) => {
      const status = this.#load()?.state.status;
      if (status === undefined || status === "removed") return workloads.map(() => "gone" as const);
      const answers = workloads.map((workload) => withdraw(this.sql, owner, workload, now));
      desiredChanged(this.sql, now);
      return answers;
    });
  }

  /** How long a writer of a database may still go on that was withdrawn just now, ms. */
  writerLeaseLeft(): number {
    return this.isBorn ? leaseLeft(this.sql, Date.now()) : 0;
  }

  /** Which health checks of these generations are to run from now on; what runs goes on running. */
  probing(owner: string, workloads: { id: string; generation: number }[], probing: Probing): void {
    this.change((now) => {
      if (this.#load() && setProbing(this.sql, owner, workloads, probing, now)) desiredChanged(this.sql, now);
    });
  }

  /** What was last seen of workloads; what the agent may not have been sent is sent again. */
  recheck(ids: string[]): (Observation | null)[] {
    return this.change((now) => {
      const rows = ids.map((id) => one(this.sql, id));
      for (const row of rows)
        if (row && row.observation === null) this.sql.exec("UPDATE workload SET unsent = 1 WHERE id = ?", row.id);
      post(this.sql, "frames", now);
      return rows.map((row) => row?.observation ?? null);
    });
  }

  /** cordon, uncordon, drain. */
  act(action: Exclude<HostAction, "remove">, mutation: Mutation): Reply<Answer> {
    return this.#mutation(mutation, (host, now) => {
      const what = verdict(HOST_ACTION_TABLE, host.state.scheduling, action);
      if (what === "go") {
        this.#apply({ type: "scheduling", to: HOST_ACTION_TABLE[action].to }, mutation.actor, now);
        audit(this.sql, hostAudit(host.identity, action, mutation, now, host.revision, host.revision + 1));
      }
      return this.read();
    });
  }

  /** Takes the host out for good. Refused while workloads are on it, unless forced: then they count as gone. */
  remove(mutation: Mutation, force: boolean): Reply<Answer> {
    return this.#mutation(mutation, (host, now) => {
      if (host.workloads > 0 && !force) return notEmpty(host);
      this.#apply({ type: "removed" }, mutation.actor, now);
      audit(this.sql, hostAudit(host.identity, "remove", mutation, now, host.revision, host.revision + 1));
      return accept({ status: 204, body: "", revision: host.revision + 1 });
    });
  }

  read(): Reply<Answer> {
    const host = this.#present();
    return host.ok
      ? accept({ status: 200, body: JSON.stringify(this.#view(host.value)), revision: host.value.revision })
      : host;
  }

  events(level: Level | null, limit: number): Reply<string[]> {
    const host = this.#present();
    return host.ok ? accept(newest(this.sql, level, limit)) : host;
  }

  /** Events after a seq: at once when there are any, else when one comes, or none after `waitMs`. */
  async follow(seq: number, waitMs: number): Promise<Reply<{ seq: number; body: string }[]>> {
    const host = this.#present();
    return host.ok ? accept(await this.journalAfter(seq, waitMs)) : host;
  }

  /** Asks the agent something that has one answer: stats, exec. The answer is JSON text. */
  async ask(question: Question): Promise<Reply<string>> {
    const host = this.#present();
    return host.ok ? ask(this.#link, question) : host;
  }

  /** What everything that runs here uses now: InstanceStats[], JSON. */
  async measure(): Promise<Reply<string>> {
    const ids = this.isBorn ? runningIds(this.sql) : [];
    return ids.length === 0 ? accept("[]") : this.ask({ verb: "stats", workload_ids: ids });
  }

  /** Log lines as the agent reads them: JSON arrays of LogLine, one per line. Cancelling the stream stops the agent. */
  async logs(query: LogQuery): Promise<Reply<ReadableStream<Uint8Array>>> {
    const host = this.#present();
    return host.ok ? readLogs(this.#link, query) : host;
  }

  /** The agent's own door: the tunnel, and the frames of the call transport. Who it is, its signature says. */
  override async fetch(request: Request): Promise<Response> {
    const host = this.#load();
    if (!host) return refusal("not_found", "There is no such host.");
    if (host.state.status === "removed") return refusal("host_removed", "This host was removed.");
    return this.#link.fetch(request);
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    return this.#link.message(socket, message);
  }

  override webSocketClose(socket: WebSocket, code: number, reason: string): void {
    this.#link.closed(socket);
    answerClose(socket, code, reason);
  }

  override webSocketError(socket: WebSocket): void {
    this.#link.closed(socket);
  }

  protected override due({ dueAt }: Timer, now: number): void {
    this.#apply({ type: "due", due_at: dueAt, last_seen: this.#lastSeen() }, "host", now);
  }

  #receive(body: AgentBody): Iterable<ControlBody> {
    return this.change((now): Iterable<ControlBody> => {
      if (this.#known().identity.transport === "call") noteSeen(this.sql, now);
      switch (body.kind) {
        case "hello":
          profiled(this.sql, this.#known(), body, now);
          this.#apply({ type: "hello", boot_id: body.boot_id }, "agent", now);
          return [];
        case "facts":
          profiled(this.sql, this.#known(), body, now);
          return [];
        case "inventory":
        case "report":
          observed(this.sql, body.observations, now);
          return body.kind === "inventory" && body.last ? desired(this.sql, this.#known()) : [];
        case "health":
          for (const owner of note(this.sql, body.results)) post(this.sql, `health ${owner}`, now);
          return [];
        case "usage":
          this.ctx.waitUntil(this.#usage.pass(owned(this.sql, body.usages)));
          return [];
        case "renew":
          return [renewWriters(this.sql, body, now)];
        case "settled":
          this.#apply({ type: "settled" }, "agent", now);
          return [];
        default:
          return [];
      }
    });
  }

  #closed(bootId: string): void {
    this.change((now) => {
      if (bootOf(this.#known().state) === bootId) this.#apply({ type: "closed" }, "host", now);
    });
  }

  protected override async deliver(key: string): Promise<void> {
    const host = this.#load();
    if (!host) return;
    const sender: Sender = {
      env: this.env,
      sql: this.sql,
      host,
      change: (work) => this.change(work),
      send: (bodies) => this.#link.send(bodies),
    };
    const [what, owner] = key.split(" ") as [string, string];
    switch (what) {
      case "index":
        return project(this.sql, this.env.INDEX, hostRow(host, this.#view(host)));
      case "dismiss":
        return this.#link.dismiss();
      default:
        return deliver(what as LetterKey, owner, sender);
    }
  }

  #mutation(mutation: Mutation, work: (host: HostRecord, now: number) => Reply<Answer>): Reply<Answer> {
    return this.change((now) => {
      const host = this.#present();
      if (!host.ok) return host;
      return once(this.sql, mutation, now, () => stale(mutation, host.value.revision) ?? work(host.value, now));
    });
  }

  #apply(event: HostEvent, actor: string, now: number): void {
    const host = this.#known();
    const decision = decideHost(host.state, event, {
      now,
      lost_after: Number(this.env.LOST_AFTER_MS) || LOST_AFTER_MS,
    });
    if (save(this.sql, host, decision, { actor, now })) touch(this.sql, now);
    if (decision.evict) for (const owner of owners(this.sql)) post(this.sql, `evict ${owner}`, now);
    if (decision.state.status === "removed") post(this.sql, "dismiss", now);
  }

  #lastSeen(): number {
    return Math.max(seenAt(this.sql), this.#link.lastSeen());
  }

  #view(host: HostRecord): HostView {
    return hostView(this.sql, host, this.#lastSeen());
  }

  #load(): HostRecord | null {
    return this.isBorn ? load(this.sql) : null;
  }

  /** For what only happens to an enrolled host. */
  #known(): HostRecord {
    const host = this.#load();
    if (!host) throw new Error("the host is not enrolled");
    return host;
  }

  #present(): Reply<HostRecord> {
    const host = this.#load();
    return host && host.state.status !== "removed"
      ? accept(host)
      : refuse("not_found", `There is no host ${this.ctx.id.name}.`);
  }
}
