import { type Command, InvalidArgumentError } from "commander";
import type { DeploymentView } from "../../contract/deployment.ts";
import { inSession, serverCommand } from "../command.ts";
import { deploymentId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

export function scaleCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "scale <deployment> <replicas>", "change how many replicas there are, in place", [
    "lamplighter deployment scale web 3",
  ]).action(inSession(around, scale));
}

async function scale(session: Session, _options: SessionOptions, reference: string, replicas: string): Promise<void> {
  if (!/^\d{1,4}$/.test(replicas)) throw new InvalidArgumentError("expected a number of replicas from 0 to 1000");
  const id = await deploymentId(session.api, reference);
  const { text } = await session.api.post(`/deployments/${id}/scale`, { body: { replicas: Number(replicas) } });
  session.show(text, (view: DeploymentView) => `${reference} is scaled to ${view.replicas} replicas\n`);
}
