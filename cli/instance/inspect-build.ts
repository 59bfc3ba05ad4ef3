import type { Command } from "commander";
import type { BuildView } from "../../contract/build.ts";
import { formatBytes } from "../../contract/quantity.ts";
import { age } from "../age.ts";
import { inSession, serverCommand } from "../command.ts";
import { EXIT, Failure } from "../failure.ts";
import { instanceId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { sheet } from "../sheet.ts";
import { paintStatus } from "../status.ts";

export function inspectBuildCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "inspect-build <instance> [build]", "show everything about a build, or about the newest", [
    "lamplighter instance inspect-build shop-read",
    "lamplighter instance inspect-build shop-read bld_01k9j5w0n3x7m2c4v8b6z1q5rt -o json",
  ]).action(inSession(around, inspect));
}

async function inspect(session: Session, _options: SessionOptions, instance: string, id?: string): Promise<void> {
  const { text } = await session.api.get(`/instances/${await instanceId(session.api, instance)}/builds`);
  const { builds } = JSON.parse(text) as { builds: BuildView[] };
  const build = id === undefined ? builds[0] : builds.find((one) => one.id === id);
  if (build === undefined) {
    const message = id === undefined ? `${instance} has no builds` : `${instance} has no build ${id}`;
    throw new Failure(message, { exit: EXIT.notFound });
  }
  session.show(JSON.stringify(build), (view: BuildView) => describe(view, session));
}

function describe(view: BuildView, { terminal: { color, width }, around }: Session): string {
  const { error, artifact_hash, artifact_bytes } = view;
  return sheet(color, width, [
    ["Id", color.bold(view.id)],
    ["Instance", view.instance_id],
    ["Status", paintStatus(view.status, view.status, color)],
    ["Error", error === null ? "" : `${error.code}: ${error.message}`.split("\n")],
    ["Deployable", view.deployable ? "yes" : "no"],
    ["Tables", view.tables === null ? "" : String(view.tables)],
    ["Artifact", artifact_hash === null ? "" : `${artifact_hash}  ${formatBytes(artifact_bytes ?? 0)}`],
    ["Schema", view.schema_hash ?? ""],
    ["Warnings", view.warnings],
    ["Took", view.duration_seconds === null ? "" : `${view.duration_seconds} s`],
    ["Created", `${age(view.created_at, around.now())} ago  ${color.dim(view.created_at)}`],
  ]);
}
