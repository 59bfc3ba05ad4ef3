import type { Command } from "commander";
import type { LogLine } from "../../contract/workload.ts";
import { inSession, positive, serverCommand } from "../command.ts";
import { followLines } from "../log-lines.ts";
import { instanceId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & { build?: string; tail: number; follow?: boolean; failed?: boolean };

export function instanceLogsCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "logs <instance>", "show what its engine writes, or what a build wrote", [
    "lamplighter instance logs shop-read --tail 50",
    "lamplighter instance logs shop-read --follow",
    "lamplighter instance logs shop-read --failed",
    "lamplighter instance logs shop-read --build bld_01k9j5w0n3x7m2c4v8b6z1q5rt -f",
  ])
    .option("-b, --build <id>", "of this build, instead of the engine")
    .option("--failed", "the last lines of the engine that failed last, instead of the one that serves")
    .option("-f, --follow", "go on with each new line, until the build is over or the instance terminated")
    .option("--tail <n>", "so many of the newest lines", positive, 200)
    .action(inSession(around, logs));
}

async function logs(session: Session, { build, tail, follow, failed }: Options, instance: string): Promise<void> {
  const id = await instanceId(session.api, instance);
  const path = build === undefined ? `/instances/${id}/logs` : `/instances/${id}/builds/${build}/logs`;
  if (follow === true && failed !== true) {
    for await (const line of followLines(session, path, { first: { tail } }))
      session.terminal.out(`${session.format === "table" ? line.message : JSON.stringify(line)}\n`);
    return;
  }
  const { text } = await session.api.get(path, { query: { tail, failed } });
  session.show(text, (lines: LogLine[]) => lines.map(({ message }) => `${message}\n`).join(""));
}
