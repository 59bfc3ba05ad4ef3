import type { ConnectionSpec } from "../../contract/connection.ts";
import type { InstanceSettings } from "../../contract/instance-settings.ts";
import { type Reply, refuse, type Violation } from "../../contract/problem.ts";

/** What of an instance its connection does not permit: all of it at once. */
export function settingsViolations(
  { kind, schemas, allowed_sync_modes, min_sync_interval }: ConnectionSpec,
  schema: string,
  { sync_mode, sync_interval }: InstanceSettings,
): Violation[] {
  const violations: Violation[] = [];
  const say = (property_path: string, message: string, code: string) =>
    violations.push({ property_path, message, code });
  if (!schemas.includes(schema))
    say("schema", `expected one of the connection's: ${schemas.join(", ")}`, "instance.schema.unknown");
  const foreign = kind === "mysql" ? "logical" : "binlog";
  if (sync_mode === foreign) say("sync_mode", `a source of kind ${kind} has no ${foreign}`, "instance.sync_mode.kind");
  else if (!allowed_sync_modes.includes(sync_mode))
    say("sync_mode", `the connection allows ${allowed_sync_modes.join(", ")}`, "instance.sync_mode.not_allowed");
  if (sync_interval !== null && sync_interval < min_sync_interval)
    say("sync_interval", `the connection allows no less than ${min_sync_interval}`, "instance.sync_interval.too_short");
  return violations;
}

export const unfit = (violations: Violation[]): Reply<never> =>
  refuse(
    "validation_failed",
    violations.map(({ property_path, message }) => `${property_path}: ${message}`).join("\n"),
    {
      violations,
    },
  );

/** The refusal of an instance that names a connection which is not there. */
export const absent = (id: string, namespace: string): Reply<never> =>
  refuse("validation_failed", `connection_id: there is no connection ${id} in ${namespace}.`, {
    violations: [
      { property_path: "connection_id", message: `there is none in ${namespace}`, code: "connection.not_found" },
    ],
  });

/** The refusal of what would take the source from under instances. */
export const inUse = (attached: readonly { instance_id: string }[], why: string): Reply<never> =>
  refuse("connection_in_use", `It cannot go: ${why}.`, {
    more: { instances: attached.map(({ instance_id }) => instance_id) },
  });
