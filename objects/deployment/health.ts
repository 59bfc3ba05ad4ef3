import type { HealthResult } from "../../contract/health.ts";
import { parseWorkloadId } from "../../contract/id.ts";
import { note } from "../note.ts";
import { current, type Draft, idOf, leave, placing, replace, stopServing } from "./draft.ts";

/**
 * What health checks came to. Results are always noted; what `on_failure` says is done only when the deployment has been `running`: a probe that is not
 * green during the start is no failure.
 * @param live whether the deployment is still reconciled
 */
export function onProbed(draft: Draft, hostId: string, result: HealthResult, live: boolean): void {
  const slot = parseWorkloadId(result.id)?.slot;
  const check = draft.facts.checks[result.check];
  if (slot === undefined || check === undefined) return;
  const instance = current(draft, hostId, { slot, generation: result.generation });
  if (instance?.phase !== "running") return;
  const before = instance.health.find((known) => known.check === result.check);
  if (before !== undefined && result.finished_at < before.at) return;
  const { status, healthy, tripped, message, finished_at: at } = result;
  const told = { check: result.check, status, healthy, tripped, message, at };
  replace(draft, {
    ...instance,
    health: [...instance.health.filter((known) => known.check !== result.check), told].sort(
      (a, b) => a.check - b.check,
    ),
  });
  if (!live || !draft.established || tripped <= (before?.tripped ?? 0) || draft.outcome !== null) return;

  const instance_id = idOf(draft.facts, slot, result.generation);
  const what = `${check.text} of instance ${slot} failed: ${message || status}`;
  const data = { instance_id, action: check.on_failure, check: result.check, message };
  switch (check.on_failure) {
    case "alert":
      note(draft, "error", "health_checker", "health_check_alert", what, data);
      return;
    case "restart":
      note(draft, "warning", "health_checker", "health_check_instance_restart", `${what}; it is replaced`, data);
      leave(draft, instance);
      replace(draft, placing(draft, slot, null));
      return;
    case "stop":
      note(draft, "warning", "health_checker", "health_check_stop", `${what}; the deployment is stopped`, data);
      draft.outcome = { status: "deleted", reason: "health_check_stop", message: `stopped: ${what}` };
      for (const one of draft.instances) leave(draft, one);
      draft.instances = [];
      stopServing(draft, () => true);
  }
}
