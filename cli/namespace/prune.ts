import type { Command } from "commander";
import { DEPLOYMENT_STATUSES, type DeploymentView } from "../../contract/deployment.ts";
import { inSession, serverCommand } from "../command.ts";
import { Failure } from "../failure.ts";
import { failureText } from "../report.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

/** Everything but what lives or waits; `insufficient_resources` waits for a host in the eyes of whoever applied it. */
const ENDED: readonly string[] = DEPLOYMENT_STATUSES.filter(
  (status) => !["pending", "creating", "running", "insufficient_resources"].includes(status),
);

type Options = SessionOptions & { all?: boolean };

export function namespacePruneCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "prune [name]", "delete deployments that have ended or cannot run", [
    "lamplighter namespace prune shop",
    "lamplighter namespace prune shop --all",
  ])
    .option("-a, --all", "every deployment, running ones too")
    .action(inSession(around, prune));
}

async function prune(session: Session, options: Options, name = "default"): Promise<void> {
  const body = await session.list("/deployments", { namespace: name }, Number.POSITIVE_INFINITY);
  const deployments = (JSON.parse(body) as DeploymentView[]).filter(
    ({ status }) => options.all === true || ENDED.includes(status),
  );
  const failures: Failure[] = [];
  const deleted: string[] = [];
  for (const { id, name: called } of deployments) {
    try {
      await session.api.delete(`/deployments/${id}`);
      deleted.push(id);
      if (session.format === "table") session.terminal.out(`Deployment ${id} deleted (${called})\n`);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      session.terminal.err(failureText(error, session.terminal.errColor));
      failures.push(error);
    }
  }
  session.show(
    JSON.stringify({ deleted, failed: failures.length }),
    () => `Deleted: ${deleted.length}\n${failures.length > 0 ? `Failed: ${failures.length}\n` : ""}`,
  );
  const first = failures[0];
  if (first !== undefined)
    throw new Failure(`${failures.length} of ${deployments.length} could not be deleted`, { exit: first.exit });
}
