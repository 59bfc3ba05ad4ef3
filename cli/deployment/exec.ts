import type { Command } from "commander";
import type { ExecResult } from "../../contract/workload.ts";
import { inSession, serverCommand } from "../command.ts";
import { ExecEnded } from "../failure.ts";
import { deploymentId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & { instance?: string };

export function execCommand(group: Command, around: Surroundings): void {
  serverCommand(
    group,
    "exec <deployment> <command...>",
    "run a command in an instance of a deployment, and leave with its exit code",
    ["lamplighter deployment exec web -- ls -l /", "lamplighter deployment exec web --instance dep_01k…-1-g1 -- env"],
  )
    .option("--instance <id>", "in this instance; otherwise in a running one")
    .action(inSession(around, exec));
}

async function exec(session: Session, options: Options, reference: string, command: string[]): Promise<void> {
  const id = await deploymentId(session.api, reference);
  const { text } = await session.api.post(`/deployments/${id}/exec`, {
    body: { command, ...(options.instance === undefined ? {} : { instance: options.instance }) },
    idempotencyKey: null,
    timeoutMs: 10 * 60_000,
  });
  if (session.showRaw(text)) return;
  const result = JSON.parse(text) as ExecResult;
  session.terminal.out(result.stdout);
  session.terminal.err(result.stderr);
  if (result.truncated) session.terminal.err("(the output was cut: it is longer than an answer may be)\n");
  if (result.exit_code === 0) return;
  throw new ExecEnded(result.exit_code);
}
