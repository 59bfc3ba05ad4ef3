import { type DeploymentIdentity, DeploymentState, type DeploymentView } from "../../contract/deployment.ts";
import { deploymentView } from "../../contract/deployment-view.ts";
import type { Entry } from "../../contract/event.ts";
import { type Manifest, workloadSpec } from "../../contract/manifest.ts";
import { parseDuration } from "../../contract/quantity.ts";
import type { WebhookSource } from "../../contract/webhook.ts";
import { setTimer } from "../alarm.ts";
import { postAnnouncement } from "../announce.ts";
import { append } from "../journal.ts";
import type { IndexRow } from "../projection.ts";
import type { Decision } from "./decide.ts";
import type { Facts } from "./draft.ts";
import { deadlineOf } from "./letters.ts";

/** The one row of a DeploymentObject. */
export type DeploymentRecord = {
  identity: DeploymentIdentity;
  state: DeploymentState;
  /** The state as stored: what a new one is compared with. */
  text: string;
  view: string;
  revision: number;
  generation: number;
};

type Row = { identity: string; state: string; view: string; revision: number; generation: number };

/** The deployment, or null when there is none (never made, or purged). Throws when the stored state does not fit the contract. */
export function load(sql: SqlStorage): DeploymentRecord | null {
  const row = sql.exec<Row>("SELECT identity, state, view, revision, generation FROM deployment").toArray()[0];
  return row
    ? {
        identity: JSON.parse(row.identity) as DeploymentIdentity,
        state: DeploymentState.parse(JSON.parse(row.state)),
        text: row.state,
        view: row.view,
        revision: row.revision,
        generation: row.generation,
      }
    : null;
}

/** What a read answers, without parsing what is behind it; null when there is no deployment. */
export function loadView(sql: SqlStorage): { view: string; revision: number; namespace: string } | null {
  return (
    sql
      .exec<{ view: string; revision: number; namespace: string }>("SELECT view, revision, namespace FROM deployment")
      .toArray()[0] ?? null
  );
}

export function factsOf(identity: DeploymentIdentity, generation: number, now: number): Facts {
  const { manifest } = identity;
  const spec = workloadSpec(manifest);
  const checks = spec.health_checks ?? [];
  return {
    id: identity.id,
    kind: manifest.kind,
    replicas: manifest.replicas,
    autoscale: manifest.autoscale ?? null,
    checks: manifest.health_checks.map((check, i) => ({
      readiness: check.readiness,
      on_failure: check.on_failure,
      text: `check ${i} (${check.type} ${check.type === "tcp" ? check.port : check.type === "http" ? check.url : check.command})`,
    })),
    max_surge: manifest.max_surge,
    max_unavailable: manifest.max_unavailable,
    patience_ms:
      Math.max(0, ...checks.map(({ start_period_ms }) => start_period_ms)) +
      (parseDuration(manifest.rollout_deadline) as number),
    on_deadline: manifest.on_deadline,
    retries: manifest.retries,
    ttl_ms: ttlOf(manifest),
    need: {
      runtime: spec.runtime,
      labels: manifest.placement?.labels ?? {},
      memory_bytes: spec.memory_reserved_bytes,
      cpu_millis: spec.cpu_reserved_millis,
    },
    generation,
    now,
    jitter: Math.random(),
  };
}

const ttlOf = (manifest: Manifest): number | null =>
  manifest.ttl_after_finished == null ? null : parseDuration(manifest.ttl_after_finished);

/** What no reader sees of a state: when to look again, who was asked in vain, and figures that are read elsewhere. */
const HIDDEN: ReadonlySet<string> = new Set(["recheck_at", "ask_at", "refused", "cpu", "progress", "progress_due_at"]);
const seenOf = (state: DeploymentState): string =>
  JSON.stringify(state, (key, value) => (HIDDEN.has(key) ? undefined : value));

/**
 * Writes what was decided: the row, the journal and the deadline. Answers whether a reader sees a difference: only then is there a new
 * revision, and something to tell the index. Call it inside `commit`.
 */
export function save(
  sql: SqlStorage,
  identity: DeploymentIdentity,
  before: DeploymentRecord | null,
  decision: Decision,
  head: { actor: string; now: number },
): boolean {
  const state = DeploymentState.parse(decision.state);
  const text = JSON.stringify(state);
  // Also when nothing changed: the timer that rang was taken, perhaps before its time.
  setTimer(sql, "deadline", deadlineOf(state, ttlOf(identity.manifest)));
  if (before !== null && decision.entries.length === 0) {
    if (before.text === text) return false;
    if (seenOf(before.state) === seenOf(state)) {
      sql.exec("UPDATE deployment SET state = ?, generation = ?", text, decision.generation);
      return false;
    }
  }
  const revision = (before?.revision ?? 0) + 1;
  let seq = 0;
  for (const entry of decision.entries) {
    seq = append(sql, entry, {
      resourceId: identity.id,
      actor: head.actor,
      revision,
      now: head.now,
      ...changeOf(entry),
    });
  }
  postAnnouncement(sql, "deployment", decision.entries, head.now);
  if (seq === 0) seq = before === null ? 0 : cursorOf(before.view);
  const view = JSON.stringify(deploymentView(identity, state, { revision, updated_at: head.now, event_cursor: seq }));
  if (before === null) {
    sql.exec(
      "INSERT INTO deployment (one, namespace, status, state, identity, view, revision, generation, updated_at) VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)",
      identity.manifest.namespace,
      state.status,
      text,
      JSON.stringify(identity),
      view,
      revision,
      decision.generation,
      head.now,
    );
  } else {
    sql.exec(
      "UPDATE deployment SET status = ?, state = ?, identity = ?, view = ?, revision = ?, generation = ?, updated_at = ?",
      state.status,
      text,
      JSON.stringify(identity),
      view,
      revision,
      decision.generation,
      head.now,
    );
  }
  return true;
}

function changeOf(entry: Entry): { change?: { old_status: string; new_status: string } } {
  const { old_status, new_status } = (entry.data ?? {}) as { old_status?: string; new_status?: string };
  return entry.reason === "state_transition" && old_status !== undefined && new_status !== undefined
    ? { change: { old_status, new_status } }
    : {};
}

const cursorOf = (view: string): number => (JSON.parse(view) as DeploymentView).event_cursor;

/** The row of the lists; `gone` takes it out of them. */
export function indexRow(record: DeploymentRecord, gone: boolean): IndexRow {
  const { manifest, id } = record.identity;
  return {
    kind: "deployment",
    id,
    namespace: manifest.namespace,
    name: manifest.name,
    status: record.state.status,
    type: manifest.kind,
    labels: manifest.labels,
    passing: deadlineOf(record.state) !== null,
    // Newer than a row of the same revision, which may be on its way still.
    version: record.revision + (gone ? 1 : 0),
    body: gone ? null : record.view,
  };
}

/** Whose journal webhooks are told of. */
export const sourceOf = ({ id, manifest }: DeploymentIdentity): WebhookSource => ({
  family: "deployment",
  id,
  namespace: manifest.namespace,
  name: manifest.name,
  type: manifest.kind,
  labels: manifest.labels,
});
