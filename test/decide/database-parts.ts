// The hosts and the gateways of a database's world: what each of them knows.
import type { LeaseFrame } from "../../contract/gateway.ts";
import type { Observation } from "../../contract/workload.ts";
import type { Candidate } from "../../objects/deployment/placement.ts";

export type Row = { term: number; want: "running" | "gone"; purpose: "write" | "discard"; seen: Observation | null };

export class Host {
  readonly id: string;
  row: Row | null = null;
  /** What its HostObject has granted, and counts to be over then. */
  leaseUntil = 0;
  status: "ready" | "lost" | "removed" = "ready";
  linked = true;
  silentSince = 0;
  /** The agent's own: PostgreSQL runs, under which term, and until when by the agent's own account. */
  running: number | null = null;
  lease: { term: number; until: number } | null = null;
  fence = 0;
  copy = false;

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
  term = 0;
  waiting = 0;
  sessions: number[] = [];
  refused = 0;
  lastActive = 0;

  constructor(id: string) {
    this.id = id;
  }
}

export const candidate = ({ id, status }: Host): Candidate => ({
  ...{ id, name: id, status, scheduling: "open", labels: {}, runtimes: [{ runtime: "postgres", version: "18" }] },
  capacity: { memory_bytes: 8 * 1024 ** 3, cpu_millis: 8_000 },
  reserved: { memory_bytes: 0, cpu_millis: 0 },
});
