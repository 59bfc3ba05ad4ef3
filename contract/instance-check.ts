import { z } from "zod";
import { BuildId, ConnectionId } from "./id.ts";
import type { InstanceSpec, PauseSchedule } from "./instance.ts";
import { SETTINGS_FIELDS } from "./instance-settings.ts";
import { InstanceSize } from "./instance-size.ts";
import type { Violation } from "./problem.ts";
import { parseDuration } from "./quantity.ts";
import { problemText } from "./reflexdb-config.ts";
import { configProblems } from "./reflexdb-yaml.ts";
import { NAMESPACE_FIELD, type NameRule, nameViolations } from "./resource-name.ts";

export const INSTANCE_NAME: NameRule = {
  least: 1,
  most: 63,
  form: /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
  expected: "lower-case letters, digits or `-`, starting and ending with a letter or digit",
};

const LARGEST_CONFIG = 262_144;
const SHORTEST_IDLE_MS = 60_000;
const LONGEST_IDLE_MS = 30 * 86_400_000;

const Time = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'expected a time of day such as "18:30"');
export const PauseScheduleInput = z.strictObject({
  pause_at: Time,
  resume_at: Time,
  days: z.array(z.int().min(0).max(6)).max(7).default([]).describe("0 is Sunday; none: every day"),
  time_zone: z.string().max(64).default("UTC").describe("A name of the IANA time zone database"),
});

const Labels = z.record(z.string().min(1).max(100), z.string().max(200));
const Config = z
  .union(
    [z.string(), z.record(z.string(), z.unknown())],
    "expected the text of reflexdb.yaml, or what it says as an object",
  )
  .transform((config) => (typeof config === "string" ? config : JSON.stringify(config, null, 2)))
  .pipe(z.string().max(LARGEST_CONFIG))
  .describe("The text of reflexdb.yaml, or what it says as an object");
const IdlePause = z.string().describe("Paused when no query has come for so long, such as `30m`");

export const InstanceCreate = z.strictObject({
  name: z.string(),
  namespace: z.string().default("default"),
  connection_id: ConnectionId,
  schema: z.string().min(1).max(128).describe("One of the connection's schemas"),
  region: z
    .string()
    .regex(/^[a-z0-9-]{1,32}$/, "expected 1 to 32 lower-case letters, digits or `-`")
    .default("default"),
  ...SETTINGS_FIELDS,
  config: Config.nullable().default(null),
  labels: Labels.default({}),
  pause_schedule: PauseScheduleInput.nullable().default(null),
  idle_pause: IdlePause.nullable().default(null),
});
export type InstanceCreate = z.infer<typeof InstanceCreate>;

const bare = <T extends z.ZodType>(field: z.ZodDefault<T>) => field.unwrap().optional();
export const InstancePatch = z.strictObject({
  sync_mode: bare(SETTINGS_FIELDS.sync_mode),
  sync_interval: bare(SETTINGS_FIELDS.sync_interval),
  log_level: bare(SETTINGS_FIELDS.log_level),
  binlog_server_id: bare(SETTINGS_FIELDS.binlog_server_id),
  reconnect_mode: bare(SETTINGS_FIELDS.reconnect_mode),
  safety_net: bare(SETTINGS_FIELDS.safety_net),
  keep_source_awake: bare(SETTINGS_FIELDS.keep_source_awake),
  config: Config.nullable().optional(),
  labels: Labels.optional(),
  pause_schedule: PauseScheduleInput.nullable().optional(),
  idle_pause: IdlePause.nullable().optional(),
});
export type InstancePatch = z.infer<typeof InstancePatch>;

export const ResizeBody = z.strictObject({ size: InstanceSize });
export const RedeployBody = z.strictObject({ build_id: BuildId });

/** What is wrong with a pause schedule that its form does not say; which time zones there are, the caller knows. */
export type ScheduleCheck = (schedule: PauseSchedule) => Violation[];

export function createViolations(body: InstanceCreate, checkSchedule: ScheduleCheck): Violation[] {
  return [
    ...nameViolations("instance", "name", body.name, INSTANCE_NAME),
    ...nameViolations("instance", "namespace", body.namespace, NAMESPACE_FIELD),
    ...patchViolations(body, checkSchedule),
  ];
}

export function patchViolations(
  body: Pick<InstancePatch, "config" | "idle_pause" | "pause_schedule">,
  checkSchedule: ScheduleCheck,
): Violation[] {
  const violations = configViolations(body.config ?? null);
  if (body.idle_pause != null) {
    const ms = parseDuration(body.idle_pause);
    if (ms === null || ms < SHORTEST_IDLE_MS || ms > LONGEST_IDLE_MS)
      violations.push({
        property_path: "idle_pause",
        message: `expected a duration from 1m to 30d such as "30m", got "${body.idle_pause}"`,
        code: "instance.idle_pause.invalid",
      });
  }
  if (body.pause_schedule != null) {
    if (body.pause_schedule.pause_at === body.pause_schedule.resume_at)
      violations.push({
        property_path: "pause_schedule.resume_at",
        message: "expected another time than pause_at",
        code: "instance.pause_schedule.same",
      });
    violations.push(...checkSchedule(body.pause_schedule));
  }
  return violations;
}

/** The same of a body of which other fields are not as they should be. */
export function partialViolations(body: unknown, checkSchedule: ScheduleCheck): Violation[] {
  if (typeof body !== "object" || body === null) return [];
  const given = (["config", "idle_pause", "pause_schedule"] as const).flatMap((name) => {
    const parsed = InstancePatch.shape[name].safeParse((body as Record<string, unknown>)[name]);
    return parsed.success ? [[name, parsed.data]] : [];
  });
  return patchViolations(Object.fromEntries(given), checkSchedule);
}

/** What is wrong with the file by itself; whether it fits the schema, the test of the source says. */
function configViolations(config: string | null): Violation[] {
  if (config === null) return [];
  // Of an object, as which it came, its user knows no lines.
  const isObject = config.startsWith("{");
  return configProblems(config).map((problem) => ({
    property_path: problem.path === "" ? "config" : `config.${problem.path}`,
    message: isObject ? problemText(problem) : `${problem.line}:${problem.column} ${problemText(problem)}`,
    code: `instance.config.${problem.code}`,
  }));
}

export function specOf(body: InstanceCreate): InstanceSpec {
  const { size, sync_mode, sync_interval, log_level, binlog_server_id, reconnect_mode, safety_net } = body;
  const settings = { size, sync_mode, sync_interval, log_level, binlog_server_id, reconnect_mode, safety_net };
  return {
    settings: { ...settings, keep_source_awake: body.keep_source_awake },
    config: body.config,
    labels: body.labels,
    pause_schedule: body.pause_schedule,
    idle_pause: body.idle_pause,
  };
}

/** The spec with what a patch says; what it leaves out stays. */
export function patched(spec: InstanceSpec, patch: InstancePatch): InstanceSpec {
  const { config, labels, pause_schedule, idle_pause, ...settings } = patch;
  const given = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
  return {
    settings: { ...spec.settings, ...given },
    config: config === undefined ? spec.config : config,
    labels: labels ?? spec.labels,
    pause_schedule: pause_schedule === undefined ? spec.pause_schedule : pause_schedule,
    idle_pause: idle_pause === undefined ? spec.idle_pause : idle_pause,
  };
}
