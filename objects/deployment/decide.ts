import { DEPLOYMENT_NEXT, type DeploymentState, type DeploymentStatus, isTerminal } from "../../contract/deployment.ts";
import type { Entry } from "../../contract/event.ts";
import type { HealthResult, Usage } from "../../contract/health.ts";
import { FAILURE_KINDS } from "../../contract/workload.ts";
import {
  ASK_AGAIN_MS,
  askAfter,
  current,
  type Draft,
  draftOf,
  end,
  type Facts,
  leave,
  note,
  placing,
  replace,
  type SlotGeneration,
  stopServing,
  superseded,
} from "./draft.ts";
import { onObserved, type Report } from "./observed.ts";
import { type Candidate, choose } from "./placement.ts";
import { statusOf } from "./status.ts";

/**
 * The deployment's machine: what a deployment does about everything that can happen to it. Pure: time, jitter and the last generation
 * come in as facts. It never says "do this now", only what should be true; what to tell whom follows from the state (`letters.ts`).
 */

export type Event =
  | { type: "delete"; entry: Entry }
  /** The same manifest was applied again. */
  | { type: "reapplied" }
  /** The hosts there are, as the index knows them. */
  | { type: "hosts"; hosts: readonly Candidate[] }
  /** What a host said to offers. */
  | { type: "answered"; host_id: string; answers: readonly Answered[] }
  /** What was seen on a host. */
  | { type: "observed"; host_id: string; reports: readonly Report[] }
  /** These cannot stay on their host; on a `host_removed` one nothing of them is left to wait for. */
  | {
      type: "evicted";
      host_id: string;
      why: "host_lost" | "host_draining" | "host_removed";
      slots: readonly SlotGeneration[];
    }
  /** What its health checks came to on a host. */
  | { type: "probed"; host_id: string; results: readonly HealthResult[] }
  /** What its instances use on a host. */
  | { type: "used"; host_id: string; usages: readonly Usage[] }
  /** What the manifest refers to (a secret, a config) is not there, so that these cannot be offered to a host. */
  | { type: "unresolved"; message: string; slots: readonly SlotGeneration[] }
  /** Something that the manifest refers to has appeared or changed. */
  | { type: "resolvable" }
  /** Some host may have room now. */
  | { type: "capacity" }
  /** A deadline of the state is over. */
  | { type: "due" };

export type Answered = SlotGeneration & ({ accepted: true } | { accepted: false; message: string });
export type Decision = { state: DeploymentState; generation: number; entries: Entry[] };

const LONGEST_RECHECK_MS = 1_800_000;

/** The state of a new deployment: every replica looks for a host. */
export function initial(facts: Facts): Decision {
  const draft = draftOf({ instances: [], leaving: [], restart_count: 0 }, facts);
  note(draft, "info", "api", "deployment_created", "created");
  return settle(draft, null);
}

/** What comes of an event. A late, repeated or stale one leaves everything as it is. */
export function decide(state: DeploymentState, event: Event, facts: Facts): Decision {
  const draft = draftOf(state, facts);
  const live = state.status !== "deleted" && !isTerminal(state.status);
  switch (event.type) {
    case "delete":
      if (state.status !== "deleted") onDelete(draft, event.entry);
      break;
    case "reapplied":
      if (live && draft.restarts > 0) {
        note(
          draft,
          "info",
          "api",
          "restart_count_reset",
          `restart count reset from ${draft.restarts}: the manifest was applied again`,
        );
        draft.restarts = 0;
      }
      break;
    case "hosts":
      if (live) onHosts(draft, event.hosts);
      break;
    case "answered":
      for (const answer of event.answers) onAnswered(draft, event.host_id, answer);
      break;
    case "observed":
      for (const report of event.reports) onObserved(draft, event.host_id, report, live);
      break;
    case "evicted":
      for (const slot of event.slots) onEvicted(draft, event.host_id, slot, event.why, live);
      break;
    case "capacity":
      draft.instances = draft.instances.map((i) =>
        i.phase === "placing" ? { ...i, refused: {}, recheck_at: facts.now + ASK_AGAIN_MS } : i,
      );
      break;
    case "probed":
    case "used":
    case "unresolved":
    case "resolvable":
      break;
    case "due":
      if (live) onDue(draft);
      break;
  }
  return settle(draft, state, event.type === "due");
}

function onDelete(draft: Draft, entry: Entry): void {
  draft.entries.push(entry);
  draft.outcome = { status: "deleted", reason: entry.reason, message: entry.message };
  for (const instance of draft.instances) leave(draft, instance);
  draft.instances = [];
  stopServing(draft, () => true);
}

function onHosts(draft: Draft, hosts: readonly Candidate[]): void {
  const { need, now, jitter } = draft.facts;
  const own = new Map<string, number>();
  for (const i of draft.instances)
    if (i.phase !== "placing" && i.phase !== "waiting") own.set(i.host_id, (own.get(i.host_id) ?? 0) + 1);
  // Several replicas are placed in one go: what the first ones take is no longer free for the next.
  const left = new Map(hosts.map((host) => [host.id, { ...host, reserved: { ...host.reserved } }]));
  let impossible: string | null = null;
  for (const instance of draft.instances) {
    if (instance.phase !== "placing") continue;
    const choice = choose([...left.values()], need, own, instance.refused);
    const { slot, generation, trouble, refused } = instance;
    if (choice.type === "chosen") {
      own.set(choice.host_id, (own.get(choice.host_id) ?? 0) + 1);
      const host = left.get(choice.host_id);
      if (host) {
        host.reserved.memory_bytes += need.memory_bytes;
        host.reserved.cpu_millis += need.cpu_millis;
      }
      replace(draft, {
        phase: "offered",
        slot,
        generation,
        trouble,
        refused,
        since: now,
        host_id: choice.host_id,
        ask_at: now + ASK_AGAIN_MS,
      });
    } else {
      if (choice.impossible) impossible = choice.message;
      // It is told when a host changes; looking again by itself is the net below that, and the longer it has waited the wider.
      const wait = Math.min(Math.max(now - instance.since, 2 * ASK_AGAIN_MS), LONGEST_RECHECK_MS) * (0.75 + jitter / 2);
      replace(draft, { ...instance, message: choice.message, recheck_at: now + Math.round(wait) });
    }
  }
  if (impossible !== null && !draft.instances.some((i) => i.phase === "running")) {
    note(draft, "error", "scheduler", "insufficient_resources", impossible);
    end(draft, { status: "insufficient_resources", reason: "insufficient_resources", message: impossible });
  }
}

function onAnswered(draft: Draft, hostId: string, answer: Answered): void {
  const instance = current(draft, hostId, answer);
  if (instance?.phase !== "offered") return;
  const { slot, generation, trouble } = instance;
  const { now } = draft.facts;
  if (answer.accepted) {
    superseded(draft, instance);
    replace(draft, {
      phase: "starting",
      slot,
      generation,
      trouble,
      since: now,
      host_id: hostId,
      message: "",
      ask_at: now + askAfter(draft),
    });
  } else {
    const refused = { ...instance.refused, [hostId]: answer.message };
    replace(draft, {
      phase: "placing",
      slot,
      generation,
      trouble,
      since: instance.since,
      refused,
      message: "",
      recheck_at: now + ASK_AGAIN_MS,
    });
  }
}

function onEvicted(
  draft: Draft,
  hostId: string,
  slot: SlotGeneration,
  why: "host_lost" | "host_draining" | "host_removed",
  live: boolean,
): void {
  if (why === "host_removed") {
    draft.leaving = draft.leaving.filter(
      (l) => !(l.host_id === hostId && l.slot === slot.slot && l.generation <= slot.generation),
    );
  }
  if (why !== "host_draining") stopServing(draft, (l) => l.host_id === hostId && l.slot === slot.slot);
  const instance = current(draft, hostId, slot);
  if (!instance || instance.phase === "placing" || instance.phase === "exited") return;
  // A job that runs is left to finish; draining waits for it.
  if (why === "host_draining" && (draft.facts.kind === "job" || instance.phase === "waiting")) return;
  const text = {
    host_lost: "the host was lost",
    host_draining: "the host is drained",
    host_removed: "the host was removed",
  }[why];
  if (why !== "host_removed") leave(draft, instance, live && why === "host_draining" && instance.phase === "running");
  if (!live) {
    draft.instances = draft.instances.filter((i) => i.slot !== instance.slot);
    return;
  }
  if (draft.facts.kind === "job" && instance.phase !== "waiting") {
    const message = `${text} while the job was there; whether it finished is unknown. Apply it again to run it again`;
    note(draft, "error", "host", why, message, slot);
    draft.instances = draft.instances.filter((i) => i.slot !== instance.slot);
    end(draft, { status: "failed", reason: why, message });
    return;
  }
  note(draft, "warning", "host", why, `${text}: instance ${slot.slot} moves`, { ...slot, host_id: hostId });
  replace(draft, placing(draft, instance.slot, "trouble" in instance ? instance.trouble : null));
}

function onDue(draft: Draft): void {
  const { now } = draft.facts;
  for (const instance of draft.instances) {
    if (instance.phase === "waiting" && instance.retry_at <= now) {
      leave(draft, instance);
      replace(draft, placing(draft, instance.slot, instance.trouble));
    }
    if (instance.phase === "placing" && instance.recheck_at <= now)
      replace(draft, { ...instance, refused: {}, recheck_at: now + ASK_AGAIN_MS });
    if (instance.phase === "offered" && instance.ask_at <= now)
      replace(draft, { ...instance, ask_at: now + ASK_AGAIN_MS });
    if (instance.phase === "starting" && instance.ask_at <= now)
      replace(draft, { ...instance, ask_at: now + askAfter(draft) });
  }
}

/** Makes a state of the draft: fills missing replicas, computes the status, and tells of a change. */
function settle(draft: Draft, before: DeploymentState | null, due = false): Decision {
  const { facts } = draft;
  const live =
    draft.outcome === null && (before === null || !(before.status === "deleted" || isTerminal(before.status)));
  if (live) {
    for (let slot = 0; slot < facts.replicas; slot++) {
      if (!draft.instances.some((i) => i.slot === slot)) draft.instances.push(placing(draft, slot, null));
    }
  }
  const state = live
    ? { ...statusOf(draft, before?.status ?? "pending"), ...moving(draft) }
    : ended(draft, before, due);
  let from = before?.status ?? state.status;
  for (const to of route(from, state.status)) {
    note(
      draft,
      WORRYING.has(to) ? "warning" : "info",
      "scheduler",
      "state_transition",
      `Status changed from ${from} to ${to}: ${state.message}`,
      {
        old_status: from,
        new_status: to,
        restart_count: draft.restarts,
      },
    );
    from = to;
  }
  return { state: state as DeploymentState, generation: draft.generation, entries: draft.entries };
}

/**
 * The statuses to go through, one listed edge at a time. News can come faster than the answers before it: what is seen running before its
 * host's "accepted" arrived has been creating all the same.
 */
function route(from: DeploymentStatus, to: DeploymentStatus): DeploymentStatus[] {
  const next = (status: DeploymentStatus): readonly DeploymentStatus[] => DEPLOYMENT_NEXT[status];
  if (from === to) return [];
  if (next(from).includes(to)) return [to];
  for (const via of ["creating", "pending"] as const)
    if (next(from).includes(via) && next(via).includes(to)) return [via, to];
  throw new Error(`no edge from ${from} to ${to}`);
}

const WORRYING: ReadonlySet<DeploymentStatus> = new Set([
  "failed",
  "crash_loop_back_off",
  "insufficient_resources",
  ...FAILURE_KINDS,
]);

const moving = (draft: Draft) => ({
  restart_count: draft.restarts,
  instances: draft.instances,
  leaving: draft.leaving,
});

function ended(draft: Draft, before: DeploymentState | null, due: boolean): DeploymentState {
  const { now } = draft.facts;
  if (draft.outcome?.status === "deleted") {
    return { ...draft.outcome, status: "deleted", ...moving(draft), deleted_at: now, ask_at: now + ASK_AGAIN_MS };
  }
  if (draft.outcome) return { ...draft.outcome, ...moving(draft), finished_at: now } as DeploymentState;
  if (before?.status === "deleted") {
    // Asked again after as long as it has waited already.
    const wait = Math.min(Math.max(now - before.deleted_at, ASK_AGAIN_MS), LONGEST_RECHECK_MS * 2);
    return { ...before, ...moving(draft), ask_at: due ? now + wait : before.ask_at };
  }
  return { ...(before as DeploymentState), ...moving(draft) };
}
