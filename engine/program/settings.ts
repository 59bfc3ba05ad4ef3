import type { z } from "zod";
import type { EngineSettings } from "../../contract/engine.ts";
import type { EngineKey } from "../../contract/instance-key.ts";
import { rowsBytes } from "../../contract/instance-size.ts";
import { parseFilter } from "../../query/parser.ts";
import { adminToken, type Given, sourceOf, type TaskOf } from "./environment.ts";

/** What an artifact is started with. */
export function settingsOf(given: Given, task: TaskOf<"serve">, keySecret: string): z.input<typeof EngineSettings> {
  const { settings, orders } = task;
  return {
    instance: task.instance_id,
    generation: given.workload.generation,
    source: sourceOf(given, task.schema),
    sync: {
      mode: settings.sync_mode === "auto" ? null : settings.sync_mode,
      interval: settings.sync_interval,
      minInterval: task.min_sync_interval ?? 0,
      reconnect: settings.reconnect_mode,
      safetyNet: settings.safety_net,
      serverId: settings.binlog_server_id,
    },
    // Its callers come through the proxy of its host.
    listen: { host: "127.0.0.1", port: given.port ?? 0 },
    memoryMb: Math.round(rowsBytes(settings.size) / 2 ** 20),
    logLevel: settings.log_level,
    keys: { secret: keySecret, keys: usableKeys(orders.keys) },
    adminToken: adminToken(given, keySecret),
    moves: orders.source !== undefined,
  };
}

/** Those whose filters can be read. Another opens nothing, and keeps none of the others from being taken. */
export function usableKeys(keys: readonly EngineKey[]): EngineKey[] {
  return keys.filter(({ id, rows }) => {
    try {
      for (const filter of Object.values(rows)) parseFilter(filter);
      return true;
    } catch (error) {
      console.error(`key ${id} is left out: ${(error as Error).message}`);
      return false;
    }
  });
}
