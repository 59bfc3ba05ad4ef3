// The hosts and the gateways of a database's world: what each of them knows.
import { DATABASE_NEXT, type DatabaseStatus } from "../../contract/database.ts";
import { LEASE_TTL_MS, type LeaseFrame } from "../../contract/gateway.ts";
import type { Observation } from "../../contract/workload.ts";
import type { LeaseSummary } from "../../objects/database/draft.ts";
import type { Candidate } from "../../objects/deployment/placement.ts";

export type Row = { term: number; want: "running" | "gone"; purpose: "write" | "discard"; seen: Observation | null };

export class Host {
  readonly id: string;
  row: Row | null = null;
  /** What its HostObject has granted, and counts to be over then. */
  leaseUntil = 0;
  status: "ready" | "syncing" | "lost" | "removed" = "ready";
  linked = true;
  silentSince = 0;
  /** The agent's own: PostgreSQL runs, under which term, and until when by the agent's own account. */
  running: number | null = null;
  lease: { term: number; until: number } | null = null;
  /** When it last heard from the control plane; and of each keeper, when it was asked that said yes. */
  heardAt = 0;
  given = new Map<number, number>();
  fence = 0;
  copy = false;
  runtimes = [{ runtime: "postgres" as const, version: "18" }];

  constructor(id: string) {
    this.id = id;
  }
}

export class Gateway {
  readonly id: string;
  up = false;
  /** What is on its way to it over the present line. */
  inbox: LeaseFrame[] = [];
  seq = 0;
  sentAt = new Map<number, number>();
  expires = 0;
  endpoint: number | null = null;
  /** The last that it was told of and has not heard to be gone: what it uses while the control plane is away. */
  known: number | null = null;
  term = 0;
  waiting = 0;
  sessions: number[] = [];
  refused = 0;
  lastActive = 0;

  constructor(id: string) {
    this.id = id;
  }

  /** What it knows from now on. */
  take(frame: LeaseFrame): void {
    switch (frame.kind) {
      case "granted":
        this.expires = Math.max(this.expires, (this.sentAt.get(frame.seq) ?? 0) + frame.ttl_ms);
        return;
      case "ready":
        if (frame.term < this.term) return;
        this.term = frame.term;
        this.endpoint = frame.term;
        this.known = frame.term;
        this.sessions = this.sessions.filter((term) => term >= frame.term);
        return;
      case "quiesce":
        if (this.sessions.length + this.waiting === 0) this.endpoint = null;
        return;
      case "stopped":
        if (this.endpoint !== null && this.endpoint <= frame.term) this.endpoint = null;
        if (this.known !== null && this.known <= frame.term) this.known = null;
        this.term = Math.max(this.term, frame.term);
        return;
      case "failed":
        this.refused += this.waiting;
        this.waiting = 0;
        return;
    }
  }
}

export const candidate = ({ id, status, runtimes }: Host): Candidate => ({
  ...{ id, name: id, status, scheduling: "open", labels: {}, runtimes },
  capacity: { memory_bytes: 8 * 1024 ** 3, cpu_millis: 8_000 },
  reserved: { memory_bytes: 0, cpu_millis: 0 },
});

/** As a HostObject does it: again for the same term is harmless, and a later one takes the place. */
export function assign(host: Host, term: number, purpose: Row["purpose"]): boolean {
  if (host.row && host.row.term >= term) return host.row.term === term && host.row.want === "running";
  if (host.status !== "ready") return false;
  host.row = { term, want: "running", purpose, seen: null };
  return true;
}

/** Whether nothing of it is there. */
export function withdraw(host: Host, term: number): boolean {
  const { row } = host;
  if (row === null || row.term > term || host.status === "removed" || row.seen?.phase === "gone") return true;
  if (row.want === "running") host.row = { ...row, want: "gone", term, seen: null };
  return false;
}

export const isLeased = ({ lease, running }: Host, now: number): boolean =>
  lease !== null && lease.term === running && lease.until > now;

/** What must never be: clients are let in to one writer while another one still runs. */
export function onlyWriter(hosts: readonly Host[], host: string, term: number, now: number): void {
  for (const other of hosts)
    if (other.id !== host && other.running !== null && isLeased(other, now))
      throw new Error(`term ${term} was opened on ${host} while term ${other.running} runs on ${other.id}`);
}

export const upOn = (host: string, term: number, at: number, older_lease_ms: number): Observation => ({
  ...{ id: "w", generation: term, at, phase: "running", started_at: at, address: `${host}:5432` },
  ...{ image_digest: null, notes: [] },
  start: {
    ...{ rung: 3, why: "", damage: null, phases: {}, restored_bytes: 0 },
    ...{ older_lease_ms, certificate: null, credential: "c" },
  },
});

export const exitedAt = (term: number, at: number, code: number | null): Observation => ({
  ...{ id: "w", generation: term, at, phase: "exited" },
  exit: { code, signal: null, oom: false, at, evidence: "kept" },
});

export type Lease = { sessions: number; waiting: number; expires_at: number };

/** As the object's `expire` does with the rows. Answers when a client was last there. */
export function expire(world: {
  clock: number;
  lastActive: number;
  leases: Map<string, Lease>;
  gateways: readonly Gateway[];
}): number {
  const { clock, leases, gateways } = world;
  let lastActive = Math.min(world.lastActive, clock);
  for (const [id, lease] of leases) {
    lease.expires_at = Math.min(lease.expires_at, clock + LEASE_TTL_MS);
    if (lease.expires_at > clock) continue;
    const gateway = gateways.find((one) => one.id === id) as Gateway;
    if (gateway.up) {
      lease.expires_at = clock + 10_000;
      gateway.up = false;
      gateway.inbox = [];
    } else {
      leases.delete(id);
      if (lease.sessions + lease.waiting > 0) lastActive = Math.max(lastActive, lease.expires_at);
    }
  }
  return lastActive;
}

/** The leases as the object tells the machine of them. */
export const summaries = (world: { leases: Map<string, Lease>; gateways: readonly Gateway[] }): LeaseSummary[] =>
  [...world.leases].map(([boot_id, { sessions, waiting, expires_at }]) => ({
    boot_id,
    connected: world.gateways.some(({ id, up }) => id === boot_id && up),
    busy: sessions + waiting > 0,
    waiting: waiting > 0,
    expires_at,
  }));

export function onlyEdge(from: DatabaseStatus, to: DatabaseStatus): void {
  if (!(DATABASE_NEXT[from] as readonly string[]).includes(to)) throw new Error(`${from} -> ${to}`);
}
