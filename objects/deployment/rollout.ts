import type { Entry } from "../../contract/event.ts";
import type { Parent, RolloutReport } from "../../contract/rollout.ts";
import { note } from "../note.ts";
import { type Draft, end } from "./draft.ts";
import { readyCount } from "./readiness.ts";
import { desired, othersOf } from "./scale.ts";

/**
 * Rolling updates, as the one side or the other. The child drives: from what its parents told and what it has itself follows how many each side may have
 * (`scale.ts` for itself, `keeps` for the parents), so that the ready instances of both together stay at `replicas - max_unavailable` and all together at
 * `replicas + max_surge`.
 */

export type RolloutEvent =
  /** What parents have; `gone` when there is no such deployment any more. */
  | { type: "reported"; reports: readonly { id: string; report: RolloutReport | "gone" }[] }
  /** A child takes over from this one. */
  | { type: "yield"; successor: string; number: number; keep: number | null }
  /** The child that was taking over from this one has given up: it is for this one to take over again. */
  | { type: "take_over"; from: string; others: readonly string[]; number: number }
  /** What came of asking the successor to take over again. */
  | { type: "handed_over"; successor: string; accepted: boolean }
  /** Nothing of this one is left, and nothing of it is needed any more. */
  | { type: "retired"; by: string }
  | { type: "pause" }
  | { type: "resume" }
  | { type: "undo" };

const NOTHING: RolloutReport = { instances: [], leaving: 0, established: false };

/** @param live whether the deployment is still reconciled */
export function onRollout(draft: Draft, event: RolloutEvent, live: boolean): void {
  const { rollout } = draft;
  switch (event.type) {
    case "reported":
      if (rollout.role === "child") for (const { id, report } of event.reports) onReported(draft, id, report);
      return;
    case "yield": {
      if (event.number < rollout.number) return;
      const same = rollout.role === "parent" && rollout.number === event.number;
      const own = rollout.role === "child" ? draft.instances.length : desired(draft);
      const keep = event.keep ?? (rollout.role === "parent" ? rollout.keep : own);
      draft.rollout = {
        role: "parent",
        number: event.number,
        successor: event.successor,
        keep,
        afterwards: same ? rollout.afterwards : "delete",
        // Who gives orders has taken the task, whether its answer has come or not.
        handing_over: null,
      };
      return;
    }
    case "take_over":
      if (!live || event.number <= rollout.number) return;
      note(draft, "warning", "scheduler", "rolled_back", `${event.from} has given up: this version takes over again`, {
        parent_id: event.from,
      });
      draft.rollout = {
        role: "child",
        number: event.number,
        direction: "back",
        paused: false,
        forced: false,
        blocked: false,
        parents: [event.from, ...event.others].map((id) => ({ id, keep: null, report: null })),
      };
      return;
    case "handed_over":
      if (rollout.role !== "parent" || rollout.handing_over === null || rollout.successor !== event.successor) return;
      if (event.accepted) draft.rollout = { ...rollout, handing_over: null };
      else {
        const [next, ...rest] = rollout.handing_over;
        draft.rollout =
          next === undefined
            ? { role: "none", number: rollout.number }
            : { ...rollout, successor: next, handing_over: rest };
      }
      return;
    case "retired":
      if (rollout.role !== "parent" || rollout.successor !== event.by) return;
      draft.rollout = { role: "none", number: rollout.number };
      return;
    case "pause":
    case "resume":
      if (rollout.role !== "child" || rollout.paused === (event.type === "pause")) return;
      draft.rollout = { ...rollout, paused: event.type === "pause" };
      draft.progress = { ...draft.progress, at: draft.facts.now };
      note(draft, "info", "api", `rollout_${event.type}d`, `the rolling update was ${event.type}d by request`);
      return;
    case "undo":
      if (rollout.role !== "child" || rollout.direction !== "forward" || !live) return;
      giveUpRollout(draft, "delete", "rolled_back", "undone by request");
      return;
  }
}

function onReported(draft: Draft, id: string, told: RolloutReport | "gone"): void {
  const { rollout } = draft;
  if (rollout.role !== "child") return;
  const report = told === "gone" ? NOTHING : told;
  const parent = rollout.parents.find((one) => one.id === id);
  if (!parent) return;
  const slots = new Set(report.instances.map(({ slot }) => slot));
  for (const was of parent.report?.instances ?? []) {
    if (slots.has(was.slot)) continue;
    note(draft, "info", "scheduler", "rolling_update_step", `instance ${was.slot} of ${id} was drained`, {
      parent_id: id,
      phase: "step",
      drained_instance_id: was.id,
    });
  }
  draft.rollout = { ...rollout, parents: rollout.parents.map((one) => (one.id === id ? { ...one, report } : one)) };
  // What a parent let go of may be the port that was missing.
  if (rollout.blocked)
    draft.instances = draft.instances.map((i) =>
      i.phase === "placing" && !i.unresolved ? { ...i, refused: {}, message: "" } : i,
    );
}

/** What each parent may keep, now that this much is ready here. What it was told to let go of is not given back. */
export function keeps(draft: Draft): Parent[] {
  const { rollout, facts } = draft;
  if (rollout.role !== "child") return [];
  // Before every parent has said what it has, nobody knows what can be spared; from its first answer on a parent listens to nobody else.
  if (rollout.paused || (othersOf(rollout.parents) === null && !rollout.forced)) return rollout.parents;
  let needed = rollout.forced ? 0 : Math.max(0, desired(draft) - facts.max_unavailable - readyCount(draft));
  // What has been `running` is kept before what never was.
  const order = [...rollout.parents].sort(
    (a, b) => Number(b.report?.established ?? false) - Number(a.report?.established ?? false),
  );
  const kept = new Map<string, number | null>();
  for (const { id, keep, report } of order) {
    if (report === null) {
      kept.set(id, 0);
      continue;
    }
    const now = Math.min(keep ?? Number.POSITIVE_INFINITY, report.instances.length, needed);
    kept.set(id, now);
    needed -= Math.min(now, report.instances.filter(({ ready }) => ready).length);
  }
  return rollout.parents.map((parent) => ({ ...parent, keep: kept.get(parent.id) ?? null }));
}

/** Settles what the child has to say to its parents, and notices that nothing of them is left. */
export function advance(draft: Draft): void {
  const { rollout } = draft;
  if (rollout.role !== "child") return;
  const parents = keeps(draft);
  draft.rollout = { ...rollout, parents };
  if (othersOf(parents) !== 0 || rollout.paused) return;
  const ids = parents.map(({ id }) => id).join(", ");
  note(
    draft,
    "info",
    "scheduler",
    "rolling_update_complete",
    rollout.direction === "forward" ? `nothing of ${ids} is left` : `rolled back: nothing of ${ids} is left`,
    { parent_id: parents[0]?.id, phase: "complete" },
  );
  draft.rollout = { role: "none", number: rollout.number };
  draft.progress = { at: draft.facts.now, mark: readyCount(draft) };
}

/** How far it has come: more ready here, and less left there. */
export function markOf(draft: Draft): number {
  const { rollout } = draft;
  return readyCount(draft) * 10_000 - (rollout.role === "child" ? (othersOf(rollout.parents) ?? 9_999) : 0);
}

/** Nothing has come on for longer than the deployment has patience. */
export function onDeadline(draft: Draft): void {
  const { rollout, facts } = draft;
  const waited = `no progress for ${Math.round(facts.patience_ms / 1000)} s: ${readyCount(draft)} of ${desired(draft)} replicas ready`;
  if (rollout.role !== "child") {
    note(draft, "error", "scheduler", "readiness_deadline_exceeded", waited);
    end(draft, { status: "failed", reason: "readiness_deadline_exceeded", message: waited, exit: null });
    return;
  }
  if (facts.on_deadline === "drain") {
    force(
      draft,
      "rolling_update_deadline_forced",
      `${waited}; what is left of ${rollout.parents[0]?.id} is drained all the same (\`on_deadline: drain\`)`,
    );
    return;
  }
  note(draft, "error", "scheduler", "readiness_deadline_exceeded", waited);
  if (facts.on_deadline === "rollback") giveUpRollout(draft, "delete", "rolled_back", waited);
  else giveUpRollout(draft, "keep", "readiness_deadline_exceeded", waited);
}

/** The parents go, whatever is ready here. */
export function force(draft: Draft, reason: string, message: string): void {
  const { rollout } = draft;
  if (rollout.role !== "child" || rollout.forced) return;
  note(draft, "warning", "scheduler", reason, message, { parent_id: rollout.parents[0]?.id, phase: "step" });
  draft.rollout = { ...rollout, forced: true };
}

function giveUpRollout(draft: Draft, afterwards: "delete" | "keep", reason: string, message: string): void {
  draft.afterwards = afterwards;
  end(draft, { status: "failed", reason, message, exit: null });
}

/** A child that has ended, however: the version before it is asked to take over again. */
export function handOver(draft: Draft): void {
  const { rollout, outcome } = draft;
  if (rollout.role !== "child" || outcome === null) return;
  const [first, ...others] = [...rollout.parents]
    .sort((a, b) => Number(b.report?.established ?? false) - Number(a.report?.established ?? false))
    .map(({ id }) => id);
  if (rollout.direction === "forward")
    note(
      draft,
      "error",
      "scheduler",
      "rolling_update_failed",
      first === undefined ? outcome.message : `${outcome.message}; ${first} takes over again`,
      { parent_id: rollout.parents[0]?.id, phase: "failed" },
    );
  draft.rollout =
    first === undefined
      ? { role: "none", number: rollout.number }
      : {
          role: "parent",
          number: rollout.number + 1,
          successor: first,
          keep: draft.instances.length,
          afterwards: draft.afterwards,
          handing_over: others,
        };
}

export const RETIRED: Entry = {
  level: "info",
  component: "scheduler",
  reason: "rolling_update_complete",
  message: "another version has taken over, and nothing of this one is left",
};
