import type { Command } from "commander";
import type { LogLine } from "../../contract/workload.ts";
import { inSession, positive, serverCommand } from "../command.ts";
import { instanceId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & { build?: string; tail: number };

export function instanceLogsCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "logs <instance>", "show what its engine writes, or what a build wrote", [
    "lamplighter instance logs shop-read --tail 50",
    "lamplighter instance logs shop-read --build bld_01k9j5w0n3x7m2c4v8b6z1q5rt",
  ])
    .option("-b, --build <id>", "of this build, instead of the engine")
    .option("--tail <n>", "so many of the newest lines", positive, 200)
    .action(inSession(around, logs));
}

async function logs(session: Session, { build, tail }: Options, instance: string): Promise<void> {
  const id = await instanceId(session.api, instance);
  const path = build === undefined ? `/instances/${id}/logs` : `/instances/${id}/builds/${build}/logs`;
  const { text } = await session.api.get(path, { query: { tail } });
  session.show(text, (lines: LogLine[]) => lines.map(({ message }) => `${message}\n`).join(""));
}
