// A database, two hosts with their agents, and two gateways, as far as terms, leases and clients go. Everything between them is late, twice, or lost.

import type { DatabaseState } from "../../contract/database-state.ts";
import { DatabaseState as Schema } from "../../contract/database-state.ts";
import { LEASE_TTL_MS, type LeaseFrame } from "../../contract/gateway.ts";
import type { Observation } from "../../contract/workload.ts";
import { WRITER_LEASE_MS } from "../../contract/writer.ts";
import { WRITER_LEASE_MARGIN_MS } from "../../contract/writer-task.ts";
import { type DatabaseEvent, decide, initial } from "../../objects/database/decide.ts";
import type { DatabaseFacts, Said } from "../../objects/database/draft.ts";
import { deadlineOf, questions, subjects } from "../../objects/database/letters.ts";
import type { random } from "../random.ts";
import {
  assign,
  candidate,
  exitedAt,
  expire,
  Gateway,
  Host,
  isLeased,
  type Lease,
  onlyEdge,
  onlyWriter,
  summaries,
  upOn,
  withdraw,
} from "./database-parts.ts";
import { Keepers } from "./keeper-parts.ts";

type Rnd = ReturnType<typeof random>;
const IDLE_MS = 5_000;
const SILENT_MS = 7_500;

export class DatabaseWorld {
  now = Date.UTC(2030, 0, 1);
  /** By which the control plane's clock is wrong. */
  skew = 0;
  state: DatabaseState;
  readonly hosts = [new Host("a"), new Host("b")];
  readonly gateways = [new Gateway("g"), new Gateway("h")];
  readonly letters = new Set<string>();
  readonly leases = new Map<string, Lease>();
  readonly reports: { host: string; term: number; observation: Observation }[] = [];
  readonly toDatabase: { gateway: string; say: () => void }[] = [];
  readonly ordered = new Map<number, string>();
  readonly history: string[] = [];
  lastActive = 0;
  starts = 0;
  /** Sessions that a stop for idleness ended. */
  cut = 0;
  /** How often a successor was held back by the keepers' word to the one before. */
  heldBack = 0;
  readonly kept: boolean;
  /** Whether what it needs has been prepared, and can be. */
  prepared = false;
  preparable = true;
  readonly keepers: Keepers;
  readonly #rnd: Rnd;

  constructor(rnd: Rnd, { keepers = 1, quorum = 1, prepared = true } = {}) {
    this.#rnd = rnd;
    this.kept = quorum > 0;
    this.keepers = new Keepers(keepers, quorum, this.now);
    this.state = initial(this.facts()).state;
    this.letters.add("prepare");
    if (prepared) this.deliver("prepare");
  }

  get clock(): number {
    return this.now + this.skew;
  }

  facts(): DatabaseFacts {
    this.lastActive = expire(this);
    return {
      now: this.clock,
      jitter: 0.5,
      profile: "L1",
      idle_ms: IDLE_MS,
      prepared: this.prepared,
      kept: this.prepared && this.kept,
      ...{ credential: "c", reader: null },
      demand: { leases: summaries(this), last_active_at: this.lastActive },
    };
  }

  do(event: DatabaseEvent): void {
    const facts = this.facts();
    const before = this.state;
    const known = subjects(before, facts);
    const { state, said } = decide(before, event, facts);
    this.state = Schema.parse(state);
    if (before.status !== state.status) {
      onlyEdge(before.status, state.status);
      this.history.push(`${event.type}: ${before.status} -> ${state.status} (term ${state.term})`);
    }
    if (state.term < before.term) throw new Error("the term went back");
    for (const subject of subjects(state, facts))
      if (event.type === "due" || !known.has(subject)) this.letters.add(subject);
    if (event.type === "due") for (const subject of questions(state)) this.letters.add(subject);
    if (state.status === "ready" && before.status !== "ready") {
      this.lastActive = Math.max(this.lastActive, this.clock);
      onlyWriter(this.hosts, state.host_id, state.term, this.now);
      this.keepers.onlyAcknowledge(state.term);
    }
    this.#tell(said);
  }

  #tell(said: readonly Said[]): void {
    for (const { to, frame } of said)
      for (const gateway of this.gateways)
        if (gateway.up && (to === null || to === gateway.id)) gateway.inbox.push(frame);
  }

  // The control plane's letters, each delivered as often as it takes.

  deliver(key: string, isLost = false): void {
    const [what, first = "", second = ""] = key.split(" ");
    const { state } = this;
    this.letters.delete(key);
    switch (what) {
      case "prepare":
        if (state.status !== "creating") return;
        this.prepared = this.preparable && !isLost;
        this.do(this.prepared ? { type: "prepared" } : { type: "unprepared", message: "KEEPERS cannot be read" });
        if (!this.prepared) this.letters.add(key);
        return;
      case "place":
        if (!isLost) this.do({ type: "hosts", hosts: this.hosts.map(candidate), labels: {} });
        break;
      case "offer": {
        const term = Number(first);
        if (state.status !== "booting" || state.step.name !== "offered" || state.term !== term) return;
        if (!this.prepared) throw new Error("it is started before it is prepared");
        const { host_id } = state.step;
        const known = this.ordered.get(term);
        if (known !== undefined && known !== host_id)
          throw new Error(`term ${term} went to ${known} and to ${host_id}`);
        this.ordered.set(term, host_id);
        const accepted = assign(this.host(host_id), term, "write");
        const message = accepted ? "" : "is not ready";
        if (!isLost) this.do({ type: "answered", host_id, term, accepted, message });
        break;
      }
      case "discard":
        if (state.status === "deleting" && state.discarding?.term === Number(first))
          assign(this.host(state.discarding.host_id), Number(first), "discard");
        break;
      case "withdraw": {
        const host = this.host(first);
        const term = Number(second);
        const gone = withdraw(host, term);
        const left = Math.max(0, host.leaseUntil - this.clock);
        if (isLost) break;
        if (host.status === "removed") this.do({ type: "evicted", host_id: first, term, why: "host_removed" });
        else this.do({ type: "left", host_id: first, term, lease_until: gone ? null : this.clock + left });
        break;
      }
      case "close": {
        const host = state.status === "ready" ? this.host(state.host_id) : null;
        if (!host?.linked || host.running !== Number(first)) break;
        const clients = this.gateways
          .flatMap(({ sessions }) => sessions)
          .filter((term) => term === host.running).length;
        if (clients === 0) this.#exit(host, 0);
        if (isLost) return;
        this.do({ type: "closed", term: Number(first), clients });
        break;
      }
      case "ask": {
        const host =
          state.status === "booting" && state.step.name === "starting" ? this.host(state.step.host_id) : null;
        if (host?.row?.seen && !isLost)
          this.do({ type: "observed", host_id: host.id, term: host.row.term, observation: host.row.seen });
        break;
      }
      default:
        break;
    }
    if (isLost) this.letters.add(key);
  }

  host(id: string): Host {
    return this.hosts.find((host) => host.id === id) as Host;
  }

  // A host and its agent.

  /** The agent does what it was told last, one step. */
  sync(host: Host): void {
    const { row } = host;
    if (!host.linked || row === null || host.status === "removed") return;
    const at = this.now;
    const head = { id: "w", generation: row.term, at };
    const see = (observation: Observation): void => {
      row.seen = observation;
      this.reports.push({ host: host.id, term: row.term, observation });
    };
    if (row.want === "gone") {
      this.#stop(host);
      if (row.seen?.phase !== "gone") see({ ...head, phase: "gone" });
      return;
    }
    if (row.seen !== null || row.term < host.fence) return;
    host.fence = row.term;
    this.#stop(host);
    if (row.purpose === "discard") {
      host.copy = false;
      see(exitedAt(row.term, at, 0));
      return;
    }
    this.renew(host);
    if (host.lease?.term !== row.term) return;
    const promised = this.keepers.promise(host, row.term, at);
    if (promised === null || this.#rnd.chance(0.1)) {
      const reason = promised === null ? "keepers_unreachable" : "failed";
      see({ ...head, phase: "failed", failure: { kind: "error", reason, message: reason } });
      return;
    }
    host.running = row.term;
    host.copy = true;
    this.starts++;
    const { olderMs: older_lease_ms } = promised;
    if (older_lease_ms > 0) this.heldBack++;
    see(upOn(host.id, row.term, at, older_lease_ms));
  }

  #stop(host: Host): void {
    if (host.running !== null && !this.isDeleted)
      for (const gateway of this.gateways) {
        const here = gateway.sessions.filter((term) => term === host.running && this.ordered.get(term) === host.id);
        if (here.length > 0 && this.history.at(-1)?.includes("ready -> stopping")) this.cut += here.length;
        gateway.sessions = gateway.sessions.filter((term) => term !== host.running);
      }
    host.running = null;
  }

  isDeleted = false;

  renew(host: Host): void {
    if (!host.linked || host.row === null || host.row.want !== "running" || host.row.purpose !== "write") return;
    if (host.lease?.term !== host.row.term) host.given.clear();
    host.heardAt = this.now;
    host.lease = { term: host.row.term, until: this.now + WRITER_LEASE_MS };
    host.leaseUntil = this.clock + WRITER_LEASE_MS + WRITER_LEASE_MARGIN_MS;
  }

  crash(host: Host): void {
    if (host.running === null) return;
    const term = host.running;
    for (const gateway of this.gateways) gateway.sessions = gateway.sessions.filter((one) => one !== term);
    this.#exit(host, null);
  }

  #exit(host: Host, code: number | null): void {
    const term = host.running as number;
    host.running = null;
    const { row } = host;
    if (row?.term !== term) return;
    const observation = exitedAt(term, this.now, code);
    row.seen = observation;
    this.reports.push({ host: host.id, term, observation });
  }

  // A gateway and its clients.

  connect(gateway: Gateway): void {
    gateway.lastActive = this.now;
    if (gateway.endpoint !== null && this.now < gateway.expires && this.#answers(gateway.endpoint)) {
      gateway.sessions.push(gateway.endpoint);
      return;
    }
    // The control plane is away: what it said last has to do.
    if (!gateway.up && gateway.known !== null && this.#answers(gateway.known)) {
      gateway.sessions.push(gateway.known);
      return;
    }
    gateway.endpoint = null;
    gateway.waiting++;
    if (gateway.up) this.say(gateway);
    else this.dial(gateway);
  }

  /** Whether PostgreSQL of this term can be connected to. */
  #answers(term: number): boolean {
    return this.host(this.ordered.get(term) ?? "a").running === term;
  }

  dial(gateway: Gateway): void {
    gateway.up = true;
    gateway.inbox = [];
    this.say(gateway);
  }

  cutLine(gateway: Gateway): void {
    gateway.up = false;
    gateway.inbox = [];
    this.toDatabase.splice(0, this.toDatabase.length, ...this.toDatabase.filter((one) => one.gateway !== gateway.id));
    this.do({ type: "demand" });
  }

  leave(gateway: Gateway): void {
    gateway.sessions.pop();
    gateway.lastActive = this.now;
  }

  say(gateway: Gateway): void {
    const seq = ++gateway.seq;
    gateway.sentAt.set(seq, this.now);
    const { waiting, sessions, endpoint } = gateway;
    const said = { waiting, sessions: sessions.length, idle: this.now - gateway.lastActive, term: endpoint };
    this.toDatabase.push({ gateway: gateway.id, say: () => this.#hear(gateway, seq, said) });
  }

  #hear(
    gateway: Gateway,
    seq: number,
    said: { waiting: number; sessions: number; idle: number; term: number | null },
  ): void {
    const { waiting, sessions } = said;
    this.leases.set(gateway.id, { sessions, waiting, expires_at: this.clock + LEASE_TTL_MS });
    this.lastActive = Math.max(this.lastActive, sessions + waiting > 0 ? this.clock : this.clock - said.idle);
    const granted: LeaseFrame = { kind: "granted", seq, ttl_ms: LEASE_TTL_MS, renew_ms: 10_000 };
    gateway.inbox.push(granted);
    const at = this.clock;
    this.do(
      waiting > 0
        ? { type: "wake", wake: { at, cause: "connection", gateway: gateway.id, client: null } }
        : { type: "demand" },
    );
    const { state } = this;
    if (
      state.status === "ready" &&
      said.term !== state.term &&
      ((state.quiesce === null && state.closing === null) || waiting > 0)
    )
      gateway.inbox.push({ kind: "ready", term: state.term, endpoint: { host: state.host_id, port: 1, tls: null } });
    if (state.status !== "ready" && state.status !== "booting" && said.term !== null)
      gateway.inbox.push({ kind: "stopped", term: Math.max(1, Math.min(said.term, state.term)) });
  }

  hear(gateway: Gateway): void {
    const frame = gateway.inbox.shift();
    if (frame === undefined) return;
    gateway.take(frame);
    if (frame.kind === "quiesce") {
      const { stop } = frame;
      const quiet = gateway.sessions.length + gateway.waiting === 0;
      const say = () => this.do({ type: "quiet", boot_id: gateway.id, stop, quiet });
      this.toDatabase.push({ gateway: gateway.id, say });
      return;
    }
    if (frame.kind === "stopped" && gateway.waiting > 0) this.say(gateway);
    if (frame.kind !== "granted" && frame.kind !== "ready") return;
    if (gateway.endpoint === null || gateway.waiting === 0) return;
    if (this.now >= gateway.expires) {
      this.say(gateway);
      return;
    }
    if (!this.#answers(gateway.endpoint)) {
      // As a gateway does that cannot connect: it tries again with what it is told next.
      gateway.endpoint = null;
      return;
    }
    for (; gateway.waiting > 0; gateway.waiting--) gateway.sessions.push(gateway.endpoint);
  }

  /** Time passes: what is over by itself is over. */
  pass(ms: number): void {
    this.now += ms;
    for (const host of this.hosts) {
      // Neither an agent that is cut off nor a dead one keeps its writer beyond the lease.
      if (host.running !== null && !isLeased(host, this.now)) this.crash(host);
      if (host.linked && host.running !== null) this.renew(host);
      if (!host.linked && this.now - host.heardAt > SILENT_MS)
        this.keepers.extend(host, this.now, () => this.now - this.#rnd.int(2_000));
      if (!host.linked && host.status === "ready" && this.now - host.silentSince > 60_000) {
        host.status = "lost";
        if (host.row?.want === "running")
          this.do({ type: "evicted", host_id: host.id, term: host.row.term, why: "host_lost" });
      }
    }
    if ([...this.leases.values()].some(({ expires_at }) => expires_at <= this.clock)) this.do({ type: "demand" });
    const due = deadlineOf(this.state, this.facts());
    if (due !== null && due <= this.clock) this.do({ type: "due" });
  }

  link(host: Host): void {
    host.linked = true;
    if (host.status === "lost") host.status = "ready";
  }

  unlink(host: Host): void {
    if (host.linked) host.silentSince = this.now;
    host.linked = false;
  }
}
