import type { Command } from "commander";
import type { InstanceView } from "../../contract/instance.ts";
import { age } from "../age.ts";
import { inSession, serverCommand } from "../command.ts";
import { instanceId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { sheet } from "../sheet.ts";
import { paintStatus } from "../status.ts";
import { oneLine } from "../terminal.ts";

export function instanceInspectCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "inspect <instance>", "show everything about an instance", [
    "lamplighter instance inspect shop-read",
    "lamplighter instance inspect shop/shop-read -o yaml",
  ]).action(inSession(around, inspect));
}

async function inspect(session: Session, _options: SessionOptions, reference: string): Promise<void> {
  const { text } = await session.api.get(`/instances/${await instanceId(session.api, reference)}`);
  session.show(text, (view: InstanceView) => describe(view, session));
}

function describe(view: InstanceView, { terminal: { color, width }, around }: Session): string {
  const now = around.now();
  const ago = (at: string) => `${age(at, now)} ago  ${color.dim(at)}`;
  const { goal, settings, vitals, last_operation, last_error, latest_build, drift, pause_schedule, failed_engine } =
    view;
  const actions = Object.entries(view.allowedActions).filter(([, one]) => one.allowed);
  const named = ([name, one]: (typeof actions)[number]) => (one.mode === "queued" ? `${name} (after)` : name);
  const reasons = new Map<string, string[]>();
  for (const [name, { allowed, reason = "not possible" }] of Object.entries(view.allowedActions))
    if (!allowed) reasons.set(reason, [...(reasons.get(reason) ?? []), name]);
  // What the status says already.
  const isSaid = last_error !== null && view.message.includes(last_error.message);
  const isError = last_operation !== null && last_operation.message === last_error?.message;
  // One that failed long ago, and others after it did not, is looked at by `logs --failed`.
  const isFailed = failed_engine !== null && last_error !== null;
  const rows = Object.entries(vitals?.row_counts ?? {}).map(([name, count]) => `${name} ${count}`);
  return sheet(color, width, [
    ["Name", color.bold(view.name)],
    ["Namespace", view.namespace],
    ["Id", view.id],
    ["Status", paintStatus(view.status, view.status, color)],
    ["", lines(view.message)],
    ["Goal", goal === null ? "" : `${goal.action} after ${view.status}, by ${goal.by}  ${color.dim(goal.set_at)}`],
    ["Health", view.health ?? ""],
    ["Endpoint", view.endpoint_url ?? ""],
    ["Host", view.host_id ?? ""],
    ["Connection", `${view.connection_id}  schema ${view.schema}`],
    ["Size", settings.size],
    [
      "Sync",
      `${settings.sync_mode}, ${settings.sync_interval === null ? "as its config says, or every 30 s" : `every ${settings.sync_interval} s`}`,
    ],
    ["Replication", replicationText(view)],
    ["", oneLine(whyText(view))],
    ["Rows", rows],
    ["Pending", view.pending_changes.join(", ")],
    ["Drift", drift === null ? "" : drift.changes],
    ["Keys", view.unusable_keys.map((name) => `${oneLine(name)} opens nothing: see keys list`)],
    ["Build", latest_build === null ? "" : `${latest_build.id} ${latest_build.status}`],
    [
      "Last",
      last_operation === null
        ? ""
        : oneLine(`${last_operation.action} ${last_operation.outcome}${isError ? "" : `: ${last_operation.message}`}`),
    ],
    ["Error", last_error === null ? "" : isSaid ? last_error.code : lines(`${last_error.code}: ${last_error.message}`)],
    ["Wrote last", isFailed ? failed_engine.log.slice(-LINES_SHOWN).map(oneLine) : []],
    [
      "Pauses",
      pause_schedule === null
        ? ""
        : `${pause_schedule.pause_at} to ${pause_schedule.resume_at} ${pause_schedule.time_zone}`,
    ],
    ["Idle pause", view.idle_pause ?? ""],
    ["Possible now", actions.length === 0 ? "nothing" : actions.map(named).join(", ")],
    ["Not now", [...reasons].map(([reason, names]) => `${names.join(", ")}: ${oneLine(reason)}`)],
    ["Created", ago(view.created_at)],
    ["Revision", String(view.revision)],
  ]);
}

const LINES_SHOWN = 5;

/** Several things that are wrong are a line each. */
const lines = (text: string): string[] => text.split("\n").map(oneLine);

/** As its engine says; beside it what was asked of it and is not so yet. */
function replicationText({ replication_paused, vitals }: InstanceView): string {
  const said = vitals?.replication ?? null;
  if (said === null) return replication_paused ? "paused" : "";
  if ((said === "paused") === replication_paused) return said;
  return `${said}, ${replication_paused ? "being paused" : "being resumed"}`;
}

/** What its engine says of how it keeps up. */
const whyText = ({ vitals }: InstanceView): string =>
  vitals?.message === undefined ? "" : `${vitals.replication === "polling" ? "because " : ""}${vitals.message}`;
