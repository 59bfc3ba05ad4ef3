import { z } from "zod";
import { InstanceSize } from "./instance-size.ts";
import { SYNC_MODES } from "./source-kind.ts";

/** What of an instance is applied to its running engine by `reconfigure` or `resize`; nothing of it needs a build. */
const fields = {
  size: InstanceSize,
  sync_mode: z.enum(SYNC_MODES),
  sync_interval: z
    .int()
    .min(1)
    .max(3600)
    .nullable()
    .describe(
      "Seconds: the batch window of a stream, or the period of polling; null: what `config` says, and else 30, or the connection's minimum when that is longer",
    ),
  log_level: z.enum(["debug", "info", "warn", "error"]),
  binlog_server_id: z
    .int()
    .min(1)
    .max(4_294_967_295)
    .nullable()
    .describe("MySQL: unique among its replicas; null: drawn"),
  reconnect_mode: z
    .enum(["full", "resume"])
    .describe(
      "Taken as the source's documents have it, and changes nothing: what a stream cannot go on with is loaded anew",
    ),
  safety_net: z
    .int()
    .min(60)
    .max(604_800)
    .nullable()
    .describe("Seconds between full reloads while streaming; null: none"),
  keep_source_awake: z
    .boolean()
    .default(false)
    .describe("Of a managed database: it is not stopped for being idle while this follows it"),
};
export const InstanceSettings = z.object(fields);
export type InstanceSettings = z.infer<typeof InstanceSettings>;

/** The same as a user writes them, with what is taken when they are left out. */
export const SETTINGS_FIELDS = {
  size: fields.size.default("nano"),
  sync_mode: fields.sync_mode.default("auto"),
  sync_interval: fields.sync_interval.default(null),
  log_level: fields.log_level.default("info"),
  binlog_server_id: fields.binlog_server_id.default(null),
  reconnect_mode: fields.reconnect_mode.default("full"),
  safety_net: fields.safety_net.default(null),
  keep_source_awake: fields.keep_source_awake,
} as const;

/** Which settings differ, by name: what `reconfigure` would apply. */
export const changedSettings = (stored: InstanceSettings, deployed: InstanceSettings): string[] =>
  (Object.keys(stored) as (keyof InstanceSettings)[]).filter((name) => stored[name] !== deployed[name]);
