import { type Command, Option } from "commander";
import { DEPLOYMENT_STATUSES, type DeploymentView } from "../../contract/deployment.ts";
import { age } from "../age.ts";
import { collect, inSession, positive, serverCommand } from "../command.ts";
import { Failure } from "../failure.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { paintStatus } from "../status.ts";
import { type Column, table } from "../table.ts";
import { oneLine } from "../terminal.ts";

type Options = SessionOptions & {
  status?: string[];
  namespace?: string[];
  kind?: string[];
  type?: string[];
  label?: string[];
  limit?: number;
};

export function listCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "list", "list deployments, newest first", [
    "lamplighter deployment list",
    "lamplighter deployment list --namespace prod --status failed --status crash_loop_back_off",
    "lamplighter deployment list --label team=web -o json",
  ])
    .alias("ls")
    .option("-s, --status <status>", "only in this status (repeat for several)", collect)
    .option("-n, --namespace <namespace>", "only in this namespace (repeat for several)", collect)
    .option("--kind <kind>", "only workers, or only jobs", collect)
    .addOption(new Option("--type <kind>", "the same as --kind").argParser(collect).hideHelp())
    .option("-l, --label <key=value>", "only with this label (repeat: all of them)", collect)
    .option("--limit <n>", "at most this many", positive)
    .action(inSession(around, list));
}

async function list(session: Session, options: Options): Promise<void> {
  const unknown = options.status?.find((one) => !(DEPLOYMENT_STATUSES as readonly string[]).includes(one));
  if (unknown !== undefined)
    throw new Failure(`unknown status '${unknown}'`, { hint: `Statuses: ${DEPLOYMENT_STATUSES.join(", ")}.` });
  const { status, namespace, label } = options;
  const kind = [...(options.kind ?? []), ...(options.type ?? [])];
  const body = await session.list(
    "/deployments",
    { status, namespace, kind, label },
    options.limit ?? Number.POSITIVE_INFINITY,
  );
  const { terminal, around } = session;
  session.show(body, (rows: DeploymentView[]) =>
    rows.length === 0 ? "No deployments.\n" : table(columns(around.now()), rows, terminal.width, terminal.color),
  );
}

const columns = (now: number): Column<DeploymentView>[] => [
  { title: "id", value: (d) => d.id, weight: 2 },
  { title: "namespace", value: (d) => d.namespace, weight: 7, shrink: 9 },
  { title: "name", value: (d) => d.name, shrink: 16, paint: (text, _d, color) => color.bold(text) },
  { title: "kind", value: (d) => d.kind, weight: 4 },
  { title: "runtime", value: (d) => d.runtime, weight: 3 },
  { title: "replicas", value: replicas, weight: 8, align: "right" },
  { title: "status", value: (d) => d.status, paint: (text, d, color) => paintStatus(text, d.status, color) },
  { title: "restarts", value: (d) => String(d.restart_count), weight: 5, align: "right" },
  { title: "age", value: (d) => age(d.created_at, now), weight: 6, align: "right" },
  { title: "image or command", value: (d) => oneLine(d.image || d.command.join(" ")), weight: 1, shrink: 16 },
];

/** Running of wanted, with `*` when autoscaled; a finished job has run its one. */
export function replicas(view: DeploymentView): string {
  const done = view.instances.filter(
    (one) => one.phase === "running" || (view.status === "completed" && one.phase === "exited"),
  );
  if (view.rollout?.role === "parent") return `${done.length}/${view.rollout.keeps ?? 0}`;
  return `${done.length}/${view.desired_replicas === undefined ? view.replicas : `${view.desired_replicas}*`}`;
}
