import type { Command } from "commander";
import type { DeploymentView } from "../../contract/deployment.ts";
import { inSession, positive, serverCommand, timeoutOption } from "../command.ts";
import { deploymentId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { settle } from "../settle.ts";

type Options = SessionOptions & { to?: number; wait?: boolean; timeout: number };

export function rollbackCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "rollback <deployment>", "apply an earlier revision of a deployment again", [
    "lamplighter deployment rollback web",
    "lamplighter deployment rollback web --to 3 --wait",
  ])
    .option("--to <revision>", "which one (see `rollout history`); else the last that did not fail", positive)
    .option("--wait", "until it has taken over")
    .addOption(timeoutOption("10m"))
    .action(inSession(around, rollback));
}

async function rollback(session: Session, options: Options, reference: string): Promise<void> {
  const id = await deploymentId(session.api, reference);
  const answer = await session.api.post(`/deployments/${id}/rollback`, { body: { to: options.to ?? null } });
  const view = JSON.parse(answer.text) as DeploymentView;
  let last = answer.text;
  const said =
    answer.status === 201
      ? `${reference} goes back: ${view.id} takes over from ${id}\n`
      : `${reference} goes back: ${view.id} was changed in place\n`;
  if (session.format === "table") session.terminal.out(said);
  if (options.wait === true) {
    const failure = await settle(session, [view], options.timeout, (_index, text) => {
      last = text;
    });
    if (failure !== null) throw failure;
  }
  session.showRaw(last);
}
