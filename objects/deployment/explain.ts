import { allowedActions } from "../../contract/action.ts";
import { DEPLOYMENT_ACTION_TABLE, type Instance, isTerminal, MAX_RESTART_COUNT } from "../../contract/deployment.ts";
import type { Explanation } from "../../contract/explanation.ts";
import { instanceId, workloadId } from "../../contract/id.ts";
import { timestamp } from "../../contract/timestamp.ts";
import { deadlineOf } from "./letters.ts";
import type { Candidate } from "./placement.ts";
import type { DeploymentRecord } from "./record.ts";

/** Which instance runs, or ran, where: what logs, metrics and exec ask the hosts about. */
export type Running = { workload_id: string; instance_id: string; generation: number; slot: number; host_id: string };

export function running(record: DeploymentRecord): Running[] {
  return record.state.instances.flatMap((instance) => {
    if (instance.phase === "placing") return [];
    const workload_id = workloadId(record.identity.id, instance.slot);
    const { slot, generation, host_id } = instance;
    return [{ workload_id, instance_id: instanceId(workload_id, generation), generation, slot, host_id }];
  });
}

/**
 * Why this status, what is waited for, which deadline comes next, what could not be delivered yet, and how the hosts that it is on are:
 * an instance of a silent host is as it was last seen.
 * @param hosts every host, as the index knows it
 */
export function explanation(record: DeploymentRecord, sql: SqlStorage, hosts: readonly Told[]): Explanation {
  const { state, identity, revision } = record;
  const id = (slot: number, generation: number) => instanceId(workloadId(identity.id, slot), generation);
  const deadline = deadlineOf(state);
  const housed = new Set([...state.instances, ...state.leaving].flatMap((i) => ("host_id" in i ? [i.host_id] : [])));
  const letters = sql
    .exec<{ key: string; due_at: number; attempts: number; last_error: string | null }>(
      "SELECT key, due_at, attempts, last_error FROM outbox ORDER BY due_at",
    )
    .toArray();
  return {
    id: identity.id,
    status: state.status,
    reason: state.reason,
    message: state.message,
    revision,
    terminal: isTerminal(state.status),
    restart_count: state.restart_count,
    restarts_left: Math.max(0, MAX_RESTART_COUNT - state.restart_count),
    waiting_for: [
      ...state.instances.flatMap((instance) => {
        const what = waitsFor(instance);
        return what ? [{ instance: id(instance.slot, instance.generation), ...what }] : [];
      }),
      ...state.leaving.map(({ slot, generation, host_id, serving }) => ({
        instance: id(slot, generation),
        for: serving
          ? `its successor to run; until then it serves on host ${host_id}`
          : `host ${host_id} to confirm that it is gone`,
        message: "",
        until: null,
      })),
    ],
    hosts: hosts
      .filter((host) => housed.has(host.id))
      .map(({ id, name, status, message, last_seen_at }) => ({ id, name, status, message, last_seen_at })),
    next_deadline_at: timestamp(deadline),
    undelivered: letters.map(({ key, due_at, attempts, last_error }) => ({
      about: key,
      attempts,
      last_error,
      next_attempt_at: timestamp(due_at),
    })),
    allowedActions: allowedActions(DEPLOYMENT_ACTION_TABLE, state.status),
  };
}

/** What is told of a host. */
export type Told = Pick<Candidate, "id" | "name" | "status"> & { message: string; last_seen_at: string | null };

/** `until`: when it is looked at again if nothing is heard. */
function waitsFor(instance: Instance): { for: string; message: string; until: string } | null {
  switch (instance.phase) {
    case "placing":
      return {
        for: instance.unresolved ? "what it refers to" : "a host",
        message: instance.message,
        until: timestamp(instance.recheck_at),
      };
    case "offered":
      return { for: `host ${instance.host_id} to reserve`, message: "", until: timestamp(instance.ask_at) };
    case "starting":
      return {
        for: `host ${instance.host_id} to start it`,
        message: instance.message,
        until: timestamp(instance.ask_at),
      };
    case "waiting":
      return { for: "the back-off", message: instance.message, until: timestamp(instance.retry_at) };
    case "running":
    case "exited":
      return null;
  }
}
