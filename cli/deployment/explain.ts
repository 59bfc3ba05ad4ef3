import type { Command } from "commander";
import { inSession, serverCommand } from "../command.ts";
import { yaml } from "../output.ts";
import { deploymentId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

/** Both `lamplighter deployment explain` and, because it is what people reach for when they are stuck, `lamplighter explain`. */
export function explainCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "explain <deployment>", "say why a deployment is as it is, and what is being waited for", [
    "lamplighter explain web",
    "lamplighter explain prod/web -o json",
  ]).action(inSession(around, explain));
}

async function explain(session: Session, _options: SessionOptions, reference: string): Promise<void> {
  const { text } = await session.api.get(`/deployments/${await deploymentId(session.api, reference)}/explain`);
  session.show(text, (answer: Record<string, unknown>) => yaml(answer));
}
