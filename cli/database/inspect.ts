import type { Command } from "commander";
import type { DatabaseView, LeaseView, StartView } from "../../contract/database.ts";
import { timestamp } from "../../contract/timestamp.ts";
import { age, until } from "../age.ts";
import { inSession, serverCommand } from "../command.ts";
import { pairs } from "../key-values.ts";
import { databaseId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { sheet } from "../sheet.ts";
import { paintStatus } from "../status.ts";
import { oneLine } from "../terminal.ts";

export function databaseInspectCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "inspect <database>", "show everything about a database; it wakes nothing", [
    "lamplighter database inspect shop",
    "lamplighter database inspect prod/shop -o yaml",
  ]).action(inSession(around, inspect));
}

async function inspect(session: Session, _options: SessionOptions, reference: string): Promise<void> {
  const { text } = await session.api.get(`/databases/${await databaseId(session.api, reference)}`);
  session.show(text, (database: DatabaseView) => describe(database, session));
}

function describe(database: DatabaseView, { terminal: { color, width }, around }: Session): string {
  const now = around.now();
  const ago = (at: string) => `${age(at, now)} ago  ${color.dim(at)}`;
  const { durability, current_profile, target_profile, last_start, idle_stop_at, failed } = database;
  const { keepers, quorum } = durability;
  return sheet(color, width, [
    ["Name", color.bold(database.name)],
    ["Namespace", database.namespace],
    ["Id", database.id],
    ["State", paintStatus(database.state, database.state, color)],
    ["", oneLine(database.message)],
    ["Awake because", database.awake_because.flatMap(leaseLines)],
    ["Stops", idle_stop_at === null ? "" : until(idle_stop_at, now)],
    ["Connections", String(database.active_connections)],
    ["Idle timeout", database.idle_timeout === 0 ? "never" : `${database.idle_timeout} s`],
    ["Last start", last_start === null ? "" : startLines(last_start)],
    ["Failed", failed === null ? "" : oneLine(`${failed.code}; ${whatHelps(database)}`)],
    ["Role", database.role],
    [
      "Profile",
      current_profile === null || current_profile === target_profile
        ? target_profile
        : `${current_profile}, from the next start ${target_profile}`,
    ],
    ["Scaling", scalingText(database)],
    ["Labels", pairs(database.labels)],
    ["Clients from", database.allowed_addresses.length === 0 ? "anywhere" : database.allowed_addresses],
    [
      "Durable by",
      keepers.length > 0 ? `${quorum} of ${keepers.join(", ")}` : isMade(database) ? "its host's disk alone" : "",
    ],
    ["Term", String(database.term)],
    ["Timeline", database.timeline],
    ["Host", database.host_id ?? ""],
    ["Placement", pairs(database.placement.labels).join(", ")],
    ["Restored from", restoredFrom(database.restored_from)],
    ["Restorable", database.restorable_since === null ? "" : `to any moment since ${database.restorable_since}`],
    ["PostgreSQL", database.backend_addr ?? ""],
    ["Last used", database.last_used_at === null ? "never" : ago(database.last_used_at)],
    ["Created", ago(database.created_at)],
    ["Revision", String(database.revision)],
  ]);
}

/** Before that it is not known which keepers it gets. */
export const isMade = ({ state, term, reason }: Pick<DatabaseView, "state" | "term" | "reason">): boolean =>
  state !== "creating" && !(term === 0 && reason === "not_prepared");

function whatHelps({ name, failed, allowedActions, restored_from }: DatabaseView): string {
  if (failed?.code !== "not_restorable") return "the next connection tries again";
  if (allowedActions.accept_loss?.allowed)
    return `\`lamplighter database accept-loss ${name}\` starts it with what is left`;
  return restored_from === null
    ? "the next connection tries again"
    : `it cannot be made; \`lamplighter database delete ${name}\` takes it away`;
}

function scalingText({ scale_state: step, scale_failure_reason: why, candidate_profile: to }: DatabaseView): string {
  if (step === "STEADY" && why === null) return "";
  return oneLine([step.toLowerCase().replaceAll("_", " "), to && `to ${to}`, why].filter(Boolean).join(", "));
}

function restoredFrom(from: DatabaseView["restored_from"]): string {
  if (from === null) return "";
  if (from.target === null) return from.database;
  return `${from.database}, ${"lsn" in from.target ? from.target.lsn : `as at ${timestamp(from.target.time)}`}`;
}

/** A gateway, and the clients that it names. */
export function leaseLines({ gateway, sessions, waiting, clients }: LeaseView): string[] {
  const more = sessions + waiting - clients.length;
  const named = clients.map(({ address, application_name, phase, since }) =>
    oneLine(`${gateway}: ${application_name || "a client"} at ${address}, ${phase.replace("_", " ")}, since ${since}`),
  );
  return more > 0 ? [...named, `${gateway}: ${more} more`] : named;
}

export function startLines({ ms, ready_at, cause, client, rung, why, phases }: StartView): string[] {
  const who = client === null ? "" : ` for ${client.application_name || "a client"} at ${client.address}`;
  const parts = Object.entries(phases).map(([phase, took]) => `${phase} ${Math.round(took)}`);
  return [
    oneLine(`${ms} ms, ${cause}${who}, at ${ready_at}`),
    oneLine(`rung ${rung}: ${why}`),
    oneLine(`ms by phase: ${parts.join(", ")}`),
  ];
}
