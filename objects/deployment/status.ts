import { type DeploymentState, type DeploymentStatus, isRetried } from "../../contract/deployment.ts";
import type { Draft } from "./draft.ts";
import { isGated, readyCount, unreadiness } from "./readiness.ts";
import { desired } from "./scale.ts";

type Shown = { status: DeploymentStatus; reason: string; message: string };

/**
 * The status of a deployment that is neither ended nor deleted, computed from its instances: nobody stores it, so nobody can forget to
 * change it. The order of the arms is the order of what a user must know first.
 * @param before what it was: `running` is stable, and only falls back when no host has any of it
 */
export function statusOf(draft: Draft, before: DeploymentState["status"]): Shown {
  const { instances, rollout } = draft;
  const replicas = rollout.role === "parent" ? Math.min(rollout.keep, desired(draft)) : desired(draft);
  const serving = new Set(draft.leaving.filter((l) => l.serving).map(({ slot }) => slot));
  const running = instances.filter(({ phase, slot }) => phase === "running" || serving.has(slot)).length;
  const count = `${running} of ${replicas} ${replicas === 1 ? "replica" : "replicas"} running`;
  // A slot whose last attempt failed keeps that failure's status until an attempt succeeds.
  for (const instance of instances) {
    if ("trouble" in instance && instance.trouble !== null) {
      const told = messageOf(instance);
      const doing =
        (instance.phase === "waiting" || instance.phase === "placing") && told !== ""
          ? told
          : `trying again (${draft.restarts} retries so far)`;
      return { status: instance.trouble, reason: instance.trouble, message: `${doing}; ${count}` };
    }
  }
  const ready = readyCount(draft);
  if (running >= replicas && (!isGated(draft) || ready >= replicas)) {
    if (rollout.role !== "none")
      return { status: "running", reason: "rolling_update", message: `${count}; ${exchange(draft)}` };
    return serving.size === 0
      ? { status: "running", reason: "running", message: count }
      : { status: "running", reason: "moving", message: `${count}; ${serving.size} on a drained host until moved` };
  }

  const dead = instances.find(({ phase }) => phase === "waiting");
  const homeless = instances.find((i) => i.phase === "placing" && i.message !== "");
  const housed = running > 0 || instances.some(({ phase }) => phase !== "placing" && phase !== "offered");
  if (before === "running" || (draft.established && isRetried(before) && running > 0)) {
    if (!housed && homeless) return { status: "pending", reason: "no_host_fits", message: messageOf(homeless) };
    if (dead) return { status: "running", reason: "restarting", message: `${messageOf(dead)}; ${count}` };
    if (homeless) return { status: "running", reason: "no_host_fits", message: `${count}; ${messageOf(homeless)}` };
    return { status: "running", reason: "replacing", message: count };
  }
  if (!housed) {
    if (rollout.role === "child" && instances.length === 0)
      return { status: "pending", reason: "rolling_update", message: exchange(draft) };
    return homeless
      ? { status: "pending", reason: "no_host_fits", message: messageOf(homeless) }
      : { status: "pending", reason: "placing", message: "choosing hosts" };
  }
  if (dead) return { status: "creating", reason: "restarting", message: `${messageOf(dead)}; ${count}` };
  if (homeless) return { status: "creating", reason: "no_host_fits", message: `${count}; ${messageOf(homeless)}` };
  if (running > 0 && isGated(draft)) {
    const note = unreadiness(draft) || (rollout.role === "child" ? exchange(draft) : count);
    return { status: "creating", reason: "not_ready", message: `${ready} of ${replicas} replicas ready; ${note}` };
  }
  if (rollout.role === "child" && running === instances.length)
    return { status: "creating", reason: "rolling_update", message: `${count}; ${exchange(draft)}` };
  const starting = instances.find((i) => i.phase === "starting" && i.message !== "");
  return { status: "creating", reason: "starting", message: starting ? `${count}; ${messageOf(starting)}` : count };
}

/** What goes on between the two sides of a rolling update. */
function exchange({ rollout }: Pick<Draft, "rollout">): string {
  if (rollout.role === "parent") return `makes way for ${rollout.successor}`;
  if (rollout.role === "none") return "";
  const left = rollout.parents.map(({ id, report }) =>
    report === null ? `${id} has not been heard yet` : `${id} has ${report.instances.length} left`,
  );
  return `${rollout.paused ? "paused while " : ""}taking over: ${left.join(", ")}`;
}

const messageOf = (instance: object): string =>
  "message" in instance && typeof instance.message === "string" ? instance.message : "";
