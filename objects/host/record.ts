import { z } from "zod";
import { allowedActions } from "../../contract/action.ts";
import type { AuditEntry } from "../../contract/event.ts";
import { HOST_ACTION_TABLE, HostCapacity, HostPolicy, HostRuntime, type HostView } from "../../contract/host.ts";
import { type Reply, refuse } from "../../contract/problem.ts";
import { timestamp } from "../../contract/timestamp.ts";
import type { WebhookSource } from "../../contract/webhook.ts";
import { setTimer } from "../alarm.ts";
import { postAnnouncement } from "../announce.ts";
import { append, cursor } from "../journal.ts";
import { type Deed, entryOf, type IndexRow } from "../projection.ts";
import { type HostDecision, HostState, hostDeadline } from "./decide.ts";

/** What a host is from enrolment on. `control_private_key` signs what this object says to the agent, and never leaves it. */
export type HostIdentity = {
  id: string;
  name: string;
  created_at: number;
  public_key: string;
  control_public_key: string;
  control_private_key: JsonWebKey;
  transport: "tunnel" | "call";
  endpoint: string | null;
  labels: Record<string, string>;
};

export const HostProfile = z.object({
  agent_version: z.string().nullable(),
  runtimes: z.array(HostRuntime),
  capacity: HostCapacity,
  policy: HostPolicy.nullable(),
});
export type HostProfile = z.infer<typeof HostProfile>;

export const UNKNOWN_PROFILE: HostProfile = {
  agent_version: null,
  runtimes: [],
  capacity: { memory_bytes: 0, cpu_millis: 0 },
  policy: null,
};

export type HostRecord = {
  identity: HostIdentity;
  state: HostState;
  profile: HostProfile;
  revision: number;
  version: number;
  reserved: HostCapacity;
  workloads: number;
  desired_revision: number;
  updated_at: number;
};

type Row = {
  identity: string;
  state: string;
  profile: string;
  revision: number;
  version: number;
  memory_reserved: number;
  cpu_reserved: number;
  workloads: number;
  desired_revision: number;
  updated_at: number;
};

/** The host, or null when there is none. */
export function load(sql: SqlStorage): HostRecord | null {
  const row = sql
    .exec<Row>(
      "SELECT identity, state, profile, revision, version, memory_reserved, cpu_reserved, workloads, desired_revision, updated_at FROM host",
    )
    .toArray()[0];
  return row
    ? {
        identity: JSON.parse(row.identity) as HostIdentity,
        state: HostState.parse(JSON.parse(row.state)),
        profile: JSON.parse(row.profile) as HostProfile,
        revision: row.revision,
        version: row.version,
        reserved: { memory_bytes: row.memory_reserved, cpu_millis: row.cpu_reserved },
        workloads: row.workloads,
        desired_revision: row.desired_revision,
        updated_at: row.updated_at,
      }
    : null;
}

/** Writes what was decided: state, journal, deadline. Answers whether users see a difference. Call it inside `commit`. */
export function save(
  sql: SqlStorage,
  before: HostRecord,
  decision: HostDecision,
  head: { actor: string; now: number },
): boolean {
  const { state, entries } = decision;
  const seen = entries.length > 0;
  const revision = before.revision + (seen ? 1 : 0);
  for (const entry of entries) {
    const { old_status, new_status } = (entry.data ?? {}) as { old_status?: string; new_status?: string };
    const change = old_status !== undefined && new_status !== undefined ? { change: { old_status, new_status } } : {};
    append(sql, entry, { resourceId: before.identity.id, actor: head.actor, revision, now: head.now, ...change });
  }
  postAnnouncement(sql, "host", entries, head.now);
  sql.exec(
    "UPDATE host SET status = ?, state = ?, revision = ?, updated_at = ?",
    state.status,
    JSON.stringify(state),
    revision,
    head.now,
  );
  setTimer(sql, "deadline", hostDeadline(state));
  return seen;
}

/** What an agent says of itself; one that says no version keeps its last. */
export type SaidProfile = Omit<HostProfile, "agent_version"> & { agent_version?: string };

export function saveProfile(sql: SqlStorage, before: HostRecord, said: SaidProfile): void {
  const agent_version = said.agent_version ?? before.profile.agent_version;
  sql.exec("UPDATE host SET profile = ?", JSON.stringify(HostProfile.parse({ ...said, agent_version })));
}

export function hostView(sql: SqlStorage, record: HostRecord, lastSeen: number): HostView {
  const { identity, state, profile } = record;
  return {
    id: identity.id,
    name: identity.name,
    status: state.status,
    scheduling: state.scheduling,
    reason: state.reason,
    message: state.message,
    transport: identity.transport,
    endpoint: identity.endpoint,
    labels: identity.labels,
    runtimes: profile.runtimes,
    capacity: profile.capacity,
    reserved: record.reserved,
    policy: profile.policy,
    agent_version: profile.agent_version,
    boot_id: "boot_id" in state ? state.boot_id : null,
    workloads: record.workloads,
    created_at: timestamp(identity.created_at),
    updated_at: timestamp(record.updated_at),
    last_seen_at: lastSeen > 0 ? timestamp(lastSeen) : null,
    revision: record.revision,
    allowedActions: {
      ...allowedActions(HOST_ACTION_TABLE, state.scheduling),
      remove:
        record.workloads === 0
          ? { allowed: true }
          : {
              allowed: false,
              code: "host_not_empty",
              reason: `${record.workloads} workloads are on it; drain it, or remove with force`,
            },
    },
    event_cursor: cursor(sql),
  };
}

export const notEmpty = ({ workloads, identity }: HostRecord): Reply<never> =>
  refuse(
    "host_not_empty",
    `${workloads === 1 ? "1 workload is" : `${workloads} workloads are`} on host ${identity.name}.`,
    {
      more: { workloads },
    },
  );

export const hostRow = (record: HostRecord, view: HostView): IndexRow => ({
  kind: "host",
  id: record.identity.id,
  namespace: null,
  name: record.identity.name,
  status: record.state.status,
  type: "",
  labels: record.identity.labels,
  passing: hostDeadline(record.state) !== null,
  version: record.version,
  body: record.state.status === "removed" ? null : JSON.stringify(view),
});

/** Whose journal webhooks are told of. */
export const hostSource = ({ id, name, labels }: HostIdentity): WebhookSource => ({
  family: "host",
  id,
  namespace: null,
  name,
  type: "",
  labels,
});

export const hostAudit = ({ id, name }: HostIdentity, ...deed: Deed): AuditEntry =>
  entryOf({ kind: "host", id, name, namespace: null }, ...deed);
