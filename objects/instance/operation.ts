import { type Engine, type Operation, SLOT } from "../../contract/instance.ts";
import { GOAL_OF, type InstanceAction, instanceVerdict, isGoalAction } from "../../contract/instance-action.ts";
import type { ReportBody } from "../../contract/instance-report.ts";
import type { InstanceSize } from "../../contract/instance-size.ts";
import { STATUS_DEADLINE_MS } from "../../contract/instance-status.ts";
import { note } from "../note.ts";
import { become, type Draft, extend, fail, finishInto, leave, newRunner, rowsText, standingOf } from "./draft.ts";
import { clear, giveUpRelease, leaveUncleared, release } from "./release.ts";

/** What each action does, and how what is under way ends. */

export type Act = {
  action: InstanceAction;
  actor: string;
  by: Operation["by"];
  /** redeploy: which build. */
  build_id?: string | undefined;
  /** resize: to what. */
  size?: InstanceSize | undefined;
  /** It was queued as a goal. */
  goal?: boolean;
};

/** Does an action, or queues it, as the matrix has it. What the matrix refuses changes nothing: whoever asks has been told. */
export function act(draft: Draft, asked: Act): void {
  const { action } = asked;
  const verdict = instanceVerdict(action, standingOf(draft));
  if (!verdict.allowed) return;
  if (verdict.mode === "queued" && isGoalAction(action)) {
    if (draft.goal !== null) return;
    const { actor, by, goal: _ } = asked;
    draft.goal = { action, actor, by: by === "host" ? "user" : by, set_at: draft.facts.now };
    note(draft, "info", by === "user" ? "api" : "scheduler", "goal_set", `${action} after ${draft.status}`, {
      action,
      desired_state: GOAL_OF[action],
      by,
    });
    return;
  }
  ACTS[action](draft, asked);
}

const ACTS: Record<InstanceAction, (draft: Draft, asked: Act) => void> = {
  provision: test,
  rebuild: test,
  reconfigure: (draft, asked) => roll(draft, asked, imageOf(draft), "deploying"),
  redeploy: (draft, asked) => roll(draft, asked, asked.build_id ?? imageOf(draft), "deploying"),
  resume: (draft, asked) => roll(draft, asked, imageOf(draft), "resuming"),
  resize,
  pause: (draft, asked) => {
    begin(draft, asked, null);
    draft.paused_by = asked.by === "host" ? "user" : asked.by;
    leave(draft, draft.serving?.runner ?? null);
    draft.serving = null;
    draft.replication = null;
    become(draft, "pausing");
  },
  terminate: (draft, asked) => {
    begin(draft, asked, null);
    leave(draft, draft.serving?.runner ?? null);
    draft.serving = null;
    draft.replication = null;
    become(draft, "terminating");
  },
  // That it is gone is the shell's: nothing is left to decide about.
  delete: (draft) => {
    leaveUncleared(draft);
    note(draft, "info", "api", "deleted", "deleted");
  },
  reload: (draft) => {
    draft.reloads += 1;
    note(draft, "info", "api", "reload_requested", "a full reload was asked for");
  },
  "pause-replication": (draft) => replicate(draft, true),
  "resume-replication": (draft) => replicate(draft, false),
};

/** What is deployed; of an instance that never was, the newest build. */
const imageOf = (draft: Draft): string | null => draft.deployed?.build_id ?? draft.facts.image;

function begin(draft: Draft, { action, actor, by, goal = false }: Act, build_id: string | null): void {
  const { now, ids } = draft.facts;
  leaveUncleared(draft);
  draft.operation = {
    id: ids.operation,
    revision: 1,
    action,
    actor,
    by,
    goal,
    build_id,
    started_at: now,
    due_at: now,
    message: "",
  };
  note(draft, "info", by === "user" ? "api" : "scheduler", "operation_started", `${action} started`, {
    action,
    operation_id: ids.operation,
    by,
  });
}

function test(draft: Draft, asked: Act): void {
  begin(draft, asked, draft.facts.ids.build);
  draft.last_error = null;
  draft.job = newRunner(draft, SLOT.test);
  become(draft, "testing_connection");
}

/** Starts an engine beside the one that serves, if any. */
function roll(draft: Draft, asked: Act, build: string | null, status: "deploying" | "resuming"): void {
  begin(draft, asked, null);
  become(draft, status);
  if (build === null) {
    fail(draft, "image_missing", "no build of it is kept");
    return;
  }
  if (status === "deploying") draft.last_error = null;
  launch(draft, build);
}

/** A new engine of this build, at the settings as they are stored now. */
export function launch(draft: Draft, build_id: string): void {
  const taken = draft.serving?.runner.slot;
  const slot = SLOT.engines.find((one) => one !== taken) ?? SLOT.engines[0];
  leave(draft, draft.candidate?.runner ?? null);
  draft.candidate = newEngine(draft, slot, build_id);
  if (draft.source_traces === false && draft.candidate.settings.sync_mode !== "poll") draft.source_traces = true;
}

function newEngine(draft: Draft, slot: number, build_id: string): Engine {
  const { settings } = draft.facts.spec;
  return {
    runner: newRunner(draft, slot),
    build_id,
    settings: draft.size === null ? settings : { ...settings, size: draft.size },
    loaded: null,
    deaths: 0,
    trouble: null,
  };
}

/** Where nothing runs the size is only stored. While deploying, what is being rolled out is started anew at that size: memory may be what it lacks. */
function resize(draft: Draft, asked: Act): void {
  const { size } = asked;
  if (size === undefined) return;
  const before = draft.facts.spec.settings.size;
  draft.size = size;
  if (size !== before)
    note(draft, "info", "api", "resized", `size ${before} → ${size}`, { old_size: before, new_size: size });
  if (draft.status === "running" && draft.serving !== null && draft.serving.settings.size !== size) {
    roll(draft, asked, draft.serving.build_id, "deploying");
    return;
  }
  if (draft.status === "deploying" && draft.operation && draft.candidate && draft.candidate.settings.size !== size) {
    draft.operation = { ...draft.operation, revision: draft.operation.revision + 1 };
    launch(draft, draft.candidate.build_id);
    extend(draft, "deploying");
  }
}

function replicate(draft: Draft, paused: boolean): void {
  if (draft.replication_paused === paused) return;
  draft.replication_paused = paused;
  const [reason, message] = paused
    ? ["replication_paused", "replication paused: queries are answered from the snapshot as it is"]
    : ["replication_resumed", "replication resumed: it catches up"];
  note(draft, "info", "api", reason as string, message as string);
}

/**
 * The source can be read: a build waits for its turn.
 * @param isTraced whether engines make something there that stays when they do not take it away
 */
export function tested(draft: Draft, isTraced: boolean): void {
  const { operation } = draft;
  if (draft.status !== "testing_connection" || !operation?.build_id) return;
  if (isTraced) draft.source_traces ??= false;
  leave(draft, draft.job);
  draft.job = null;
  become(draft, "queued");
  draft.builds.push({ type: "queued", id: operation.build_id });
}

/** The build has its turn. */
export function admitted(draft: Draft, build_id: string): void {
  if (draft.status !== "queued" || draft.operation?.build_id !== build_id) return;
  draft.job = newRunner(draft, SLOT.build);
  become(draft, "building");
  draft.builds.push({ type: "started", id: build_id, generation: draft.generation });
}

export type Loaded = Extract<ReportBody, { kind: "loaded" }>;

/** The candidate has loaded and was verified: queries go to it from now on, and the engine before it goes. */
export function takeOver(draft: Draft, { rows, tables, verified }: Loaded): void {
  const { candidate, operation, facts } = draft;
  if (candidate === null || operation === null) return;
  leave(draft, draft.serving?.runner ?? null);
  draft.serving = { ...candidate, loaded: { rows, tables, at: facts.now }, deaths: 0, trouble: null };
  draft.candidate = null;
  draft.deployed = { build_id: candidate.build_id, settings: candidate.settings };
  draft.last_error = null;
  draft.idle_since = facts.now;
  if (operation.action === "rebuild" || operation.action === "provision") draft.drift = null;
  note(draft, "info", "engine", "engine_ready", `serves ${rowsText({ rows, tables })}`, {
    build_id: candidate.build_id,
    rows,
    tables,
    ...(verified === undefined ? {} : { verified }),
  });
  finishInto(draft, "running", "succeeded", `${operation.action} done`);
}

/** Nothing of what was to go is left on any host. What engines have left at the source is taken away last. */
export function emptied(draft: Draft): void {
  if (draft.leaving.length > 0) return;
  clear(draft);
  if (draft.status === "pausing" && !release(draft)) finishInto(draft, "paused", "succeeded", "paused");
  if (draft.status === "terminating" && !release(draft)) {
    draft.deployed = null;
    draft.degraded = false;
    draft.last_error = null;
    draft.drift = null;
    draft.replication_paused = false;
    draft.purge = true;
    finishInto(draft, "terminated", "succeeded", "terminated");
  }
}

const TIMEOUTS = {
  testing_connection: ["connect_timeout", "the source was not reached in time"],
  queued: ["queue_timeout", "no build capacity came free in time"],
  building: ["build_timeout", "the build took too long"],
  deploying: ["health_timeout", "the engine was not ready in time"],
  resuming: ["health_timeout", "the engine was not ready in time"],
  pausing: ["pause_timeout", "its host did not say in time that the engine is gone"],
} as const;

/** A passing status has lasted too long. */
export function overdue(draft: Draft): void {
  const { status, operation, facts } = draft;
  if (draft.clearing?.until != null && draft.clearing.until <= facts.now)
    giveUpRelease(draft, "it was not done in time");
  if (operation === null || operation.due_at > facts.now) return;
  if (draft.job?.slot === SLOT.release) {
    giveUpRelease(draft, operation.message || "it was not done in time");
    return;
  }
  if (status === "terminating") {
    if (!draft.degraded)
      note(draft, "warning", "scheduler", "terminate_slow", "a host has not said that it is gone; asking goes on");
    draft.degraded = true;
    draft.operation = { ...operation, due_at: facts.now + STATUS_DEADLINE_MS.terminating };
    return;
  }
  if (!Object.hasOwn(TIMEOUTS, status)) return;
  const [code, message] = TIMEOUTS[status as keyof typeof TIMEOUTS];
  const trouble = draft.candidate?.trouble;
  const runner = draft.job ?? draft.candidate?.runner ?? null;
  if (trouble) {
    fail(draft, trouble.code, trouble.message);
    return;
  }
  if (runner?.phase === "placing") {
    fail(draft, "no_capacity", runner.message || "no host was found in time");
    return;
  }
  fail(draft, code, message);
}

/** Withdraws what is queued. What is under way goes on. */
export function cancelGoal(draft: Draft, actor: string): void {
  const { goal } = draft;
  if (goal === null) return;
  draft.goal = null;
  note(draft, "info", "api", "goal_cancelled", `the queued ${goal.action} was withdrawn`, {
    action: goal.action,
    by: goal.by,
    cancelled_by: actor,
  });
}

/** The build ends as one that failed does: what serves goes on, and what was asked for after it is done. */
export function cancelBuild(draft: Draft, build_id: string, actor: string): void {
  if (draft.operation?.build_id !== build_id || (draft.status !== "queued" && draft.status !== "building")) return;
  fail(draft, "build_cancelled", `the build was cancelled by ${actor}`);
}

const SATISFIED = { pause: "paused", resume: "running", terminate: "terminated" } as const;

/** A stable status was reached with an action queued: it is done now, was done by itself, or is not possible any more. */
export function runGoal(draft: Draft): void {
  const { goal } = draft;
  if (goal === null) return;
  draft.goal = null;
  const { action } = goal;
  const said = { action, by: goal.by };
  if (draft.status === SATISFIED[action]) {
    note(draft, "info", "scheduler", "goal_reached", `it is ${draft.status} as was wanted`, said);
    return;
  }
  const verdict = instanceVerdict(action, standingOf(draft));
  if (!verdict.allowed) {
    note(draft, "warning", "scheduler", "goal_dropped", `the queued ${action} was dropped: ${verdict.reason}`, {
      ...said,
      code: verdict.code,
    });
    return;
  }
  note(draft, "info", "scheduler", "goal_started", `the queued ${action} is done now`, said);
  act(draft, { action, actor: goal.actor, by: goal.by, goal: true });
}
