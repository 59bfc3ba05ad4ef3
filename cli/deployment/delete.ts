import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import type { DeploymentView } from "../../contract/deployment.ts";
import { inSession, serverCommand, timeoutOption } from "../command.ts";
import { each } from "../each.ts";
import { EXIT, Failure, Interrupted, Refused } from "../failure.ts";
import { deploymentId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & { wait?: boolean; timeout: number };

export function deleteCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "delete <deployment...>", "delete deployments and stop what runs of them", [
    "lamplighter deployment delete web",
    "lamplighter deployment delete web mailer --wait",
  ])
    .alias("rm")
    .option("--wait", "until nothing of them is left")
    .addOption(timeoutOption("2m"))
    .action(inSession(around, remove));
}

async function remove(session: Session, options: Options, references: string[]): Promise<void> {
  const gone: string[] = [];
  await each(session.terminal, references, async (reference) => {
    const id = await deploymentId(session.api, reference);
    try {
      await session.api.delete(`/deployments/${id}`);
    } catch (error) {
      throw error instanceof Failure && !(error instanceof Interrupted)
        ? error.during(`cannot delete deployment '${reference}'`)
        : error;
    }
    if (options.wait === true) await untilGone(session, id, reference, options.timeout);
    gone.push(id);
    if (session.format === "table")
      session.terminal.out(`deployment ${reference} ${options.wait === true ? "is gone" : "deleted"}\n`);
  });
  session.showRaw(JSON.stringify(gone.map((id) => ({ id, deleted: true }))));
}

async function untilGone(session: Session, id: string, reference: string, timeout: number): Promise<void> {
  session.around.interrupt.aftermath = "The deletion goes on in the background.";
  const deadline = session.around.now() + timeout;
  const progress = session.progress();
  try {
    for (;;) {
      const { text } = await session.api.get(`/deployments/${id}`);
      const view = JSON.parse(text) as DeploymentView;
      progress.update(`${reference}: ${view.message}`);
      if (session.around.now() > deadline) {
        throw new Failure(`deployment '${reference}' is not gone after ${timeout / 1000} s: ${view.message}`, {
          exit: EXIT.other,
        });
      }
      await sleep(200, undefined, { signal: session.interrupted }).catch(() => undefined);
    }
  } catch (error) {
    if (!(error instanceof Refused && error.problem.status === 404)) throw error;
  } finally {
    progress.clear();
  }
}
