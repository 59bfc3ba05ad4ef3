// What webhooks are told of an instance's journal.
import { describe, expect, test } from "vitest";
import { eventFilterFault, isTold, webhookEventOf } from "../../contract/webhook.ts";

describe("an instance", () => {
  const source = { family: "instance", id: "inst_1", namespace: "shop", name: "read", type: "", labels: {} } as const;
  const told = (reason: string, data: Record<string, unknown> = {}) => {
    const entry = { level: "info", component: "engine", reason, message: "m", data } as const;
    const head = { id: "inst_1:1", seq: 1, resource_id: "inst_1", timestamp: "2026-11-21T09:00:00.000Z", actor: "a" };
    return [isTold("instance", entry), webhookEventOf({ ...head, ...entry, revision: 2 }, source)?.type ?? null];
  };

  test.each([
    ["state_transition", "instance.status_changed"],
    ["goal_set", "instance.goal_set"],
    ["goal_cancelled", "instance.goal_cancelled"],
    ["goal_reached", "instance.goal_reached"],
    ["goal_dropped", "instance.goal_dropped"],
    ["operation_failed", "instance.operation_failed"],
    ["build_finished", "build.finished"],
    ["replication_paused", "replication.paused"],
    ["replication_resumed", "replication.resumed"],
    ["replication_degraded", "replication.degraded"],
    ["replication_resyncing", "replication.resyncing"],
    ["replication_recovered", "replication.recovered"],
    ["schema_drift", "schema.drift"],
  ])("%s is told as %s, which a filter may name by itself or by its family", (reason, type) => {
    expect(told(reason)).toEqual([true, type]);
    expect(eventFilterFault(type)).toBeNull();
    expect(eventFilterFault(`${type.split(".")[0]}.*`)).toBeNull();
  });

  test("what only the journal is for is not told", () => {
    for (const reason of ["operation_started", "engine_ready", "goal_started", "source_finding", "toString"])
      expect(told(reason)).toEqual([false, null]);
  });
});
