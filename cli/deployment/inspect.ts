import type { Command } from "commander";
import type { DeploymentView, InstanceView } from "../../contract/deployment.ts";
import { age } from "../age.ts";
import { inSession, serverCommand } from "../command.ts";
import { deploymentId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { sheet } from "../sheet.ts";
import { paintStatus } from "../status.ts";
import { table } from "../table.ts";
import { oneLine, type Terminal } from "../terminal.ts";
import { replicas } from "./list.ts";

export function inspectCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "inspect <deployment>", "show everything about a deployment", [
    "lamplighter deployment inspect web",
    "lamplighter deployment inspect prod/web -o yaml",
  ]).action(inSession(around, inspect));
}

async function inspect(session: Session, _options: SessionOptions, reference: string): Promise<void> {
  const id = await deploymentId(session.api, reference);
  const { text } = await session.api.get(`/deployments/${id}`);
  session.show(text, (view: DeploymentView) => describe(view, session.terminal, session.around.now()));
}

export function describe(view: DeploymentView, terminal: Terminal, now: number): string {
  const { color, width } = terminal;
  const pairs = (record: Record<string, string>) =>
    Object.entries(record).map(([key, value]) => oneLine(`${key}=${value}`));
  const head = sheet(color, width, [
    ["Name", color.bold(view.name)],
    ["Namespace", view.namespace],
    ["Id", view.id],
    ["Status", `${paintStatus(view.status, view.status, color)}  ${color.dim(oneLine(view.reason))}`],
    ["", oneLine(view.message)],
    ["Kind", `${view.kind} on ${view.runtime}`],
    [
      "Image",
      view.image === ""
        ? ""
        : `${view.image}${view.image_digest === undefined ? "" : `  ${color.dim(view.image_digest)}`}`,
    ],
    ["Command", oneLine(view.command.join(" "))],
    ["Folder", view.working_dir ?? ""],
    ["Replicas", replicas(view)],
    ["Rollout", rolloutText(view)],
    ["Health", (view.health_checks ?? []).map(checkText)],
    ["Restarts", String(view.restart_count)],
    ["Created", `${age(view.created_at, now)} ago  ${color.dim(view.created_at)}`],
    ["Changed", `${age(view.updated_at, now)} ago  ${color.dim(view.updated_at)}`],
    ["Replaces", view.replaces ?? ""],
    ["Revision", String(view.revision)],
    ["Ports", view.ports.map((port) => portText(port as Port))],
    ["Volumes", view.volumes.map((mount) => mountText(mount as Mount))],
    ["Resources", view.resources == null ? "" : JSON.stringify(view.resources)],
    ["Labels", pairs(view.labels)],
    ["Environment", pairs(Object.fromEntries(Object.entries(view.environment).map(([k, v]) => [k, valueText(v)])))],
  ]);
  return view.instances.length === 0 ? head : `${head}\n${instances(view, terminal, now)}`;
}

function rolloutText({ rollout }: DeploymentView): string {
  if (rollout === undefined) return "";
  if (rollout.role === "parent") return `makes way for ${rollout.successor_id}, keeps ${rollout.keeps}`;
  const left = (rollout.parents ?? []).map(({ id, instances, ready }) => `${id} (${instances} left, ${ready} ready)`);
  return `${rollout.paused ? "paused; " : ""}takes over from ${left.join(", ")}`;
}

const checkText = (check: NonNullable<DeploymentView["health_checks"]>[number]): string =>
  `${check.type} ${check.type === "tcp" ? check.port : check.type === "http" ? check.url : check.command} every ${check.interval}${
    check.readiness ? ", readiness" : `, ${check.on_failure} after ${check.threshold}`
  }`;

type Port = { published?: number | null; target: number; host_ip?: string | null; protocol?: string };
const portText = (p: Port) =>
  `${p.host_ip == null ? "" : `${p.host_ip}:`}${p.published ?? "any"} → ${p.target}/${p.protocol ?? "tcp"}`;
type Mount = { type: string; source: string; key?: string | null; destination: string; permission?: string };
const mountText = (m: Mount) =>
  `${m.type} ${m.source}${m.key == null ? "" : `/${m.key}`} → ${m.destination} (${m.permission ?? "rw"})`;

/** A reference is shown as what it names: its value is nobody's to see here. */
const valueText = (value: DeploymentView["environment"][string]): string =>
  typeof value === "string"
    ? value
    : "secretRef" in value
      ? `(secret ${value.secretRef})`
      : `(config ${value.configRef}/${value.key})`;

function instances(view: DeploymentView, { width, color }: Terminal, now: number): string {
  const notes = view.instances.flatMap((one) => (one.notes ?? []).map((note) => oneLine(`${one.id}: ${note.message}`)));
  const rows = table<InstanceView>(
    [
      { title: "instance", value: (i) => i.id.slice(view.id.length + 1) },
      {
        title: "phase",
        value: (i) => (i.ready === false ? `${i.phase}, not ready` : i.phase),
        paint: (text, i) => paintPhase(text, i.phase, color),
      },
      { title: "address", value: (i) => i.address ?? "–", weight: 3 },
      { title: "since", value: (i) => age(i.since, now), weight: 2, align: "right" },
      { title: "host", value: (i) => i.host_id ?? "–", weight: 1 },
      { title: "", value: (i) => oneLine(i.message ?? exitText(i.exit)), weight: 4, shrink: 20 },
    ],
    view.instances,
    width,
    color,
  );
  return notes.length === 0 ? rows : `${rows}\n${notes.map((note) => `${color.yellow("note")} ${note}\n`).join("")}`;
}

const paintPhase = (text: string, phase: string, color: Terminal["color"]): string =>
  phase === "running" ? color.green(text) : phase === "exited" ? color.dim(text) : color.yellow(text);

function exitText(exit: InstanceView["exit"]): string {
  if (exit === undefined) return "";
  if (exit.timed_out) return "out of time";
  if (exit.oom) return "out of memory";
  return exit.signal === null ? `exit code ${exit.code ?? "unknown"}` : `signal ${exit.signal}`;
}
