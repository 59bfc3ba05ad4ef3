import type { BuildStatus } from "../contract/build.ts";
import type { ConnectionStatus } from "../contract/connection.ts";
import type { DatabaseStatus } from "../contract/database.ts";
import type { DeploymentStatus } from "../contract/deployment.ts";
import type { Level } from "../contract/event.ts";
import type { HostStatus } from "../contract/host.ts";
import { type InstanceStatus, PASSING_STATUSES } from "../contract/instance-status.ts";
import type { ScheduleStatus } from "../contract/schedule.ts";
import type { DELIVERY_STATUSES, WebhookStatus } from "../contract/webhook-endpoint.ts";
import type { Colors } from "./terminal.ts";

type Status =
  | DatabaseStatus
  | DeploymentStatus
  | HostStatus
  | ScheduleStatus
  | WebhookStatus
  | (typeof DELIVERY_STATUSES)[number]
  | InstanceStatus
  | ConnectionStatus
  | BuildStatus;
const GOOD: readonly Status[] = [
  "running",
  "completed",
  "ready",
  "waiting",
  "stopped",
  "active",
  "delivered",
  "ok",
  "succeeded",
];
const PASSING: readonly Status[] = [
  ...(["pending", "creating", "joining", "syncing", "unreachable", "suspended"] as const),
  ...(["booting", "stopping", "testing", "paused", "in_progress"] as const),
  ...PASSING_STATUSES,
];
const GONE: readonly Status[] = [
  ...(["deleted", "removed", "deleting", "revoked"] as const),
  ...(["registered", "terminated", "untested"] as const),
];

/** A status in its colour: green rests well, yellow is passing, grey is gone, red needs somebody. */
export function paintStatus(text: string, status: string, color: Colors): string {
  const among = (words: readonly string[]) => words.includes(status);
  if (among(GOOD)) return color.green(text);
  if (among(PASSING)) return color.yellow(text);
  return among(GONE) ? color.dim(text) : color.red(text);
}

export function paintLevel(text: string, level: Level | string, color: Colors): string {
  if (level === "error") return color.red(text);
  return level === "warning" ? color.yellow(text) : color.dim(text);
}
