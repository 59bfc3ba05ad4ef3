import type { Command } from "commander";
import type { LogLine } from "../../contract/workload.ts";
import { count, inSession, serverCommand } from "../command.ts";
import { followLines } from "../log-lines.ts";
import { deploymentId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import type { Colors } from "../terminal.ts";

type Options = SessionOptions & { tail?: number; since?: string; container?: string; follow?: boolean };

export function logsCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "logs <deployment>", "show what the instances of a deployment wrote", [
    "lamplighter deployment logs web --tail 20",
    "lamplighter deployment logs web -f --since 5m",
    "lamplighter deployment logs web --container 0-g2",
  ])
    .option("-f, --follow", "go on with each new line")
    .option("--tail <n>", "only the last n lines", count)
    .option("--since <when>", "only lines since then: a duration (5m) or a time (2026-11-21T09:00:00Z)")
    .option("-c, --container <instance>", "only instances whose id or name has this in it")
    .action(inSession(around, logs));
}

async function logs(session: Session, options: Options, reference: string): Promise<void> {
  const path = `/deployments/${await deploymentId(session.api, reference)}/logs`;
  const { tail, since, container } = options;
  const print = printer(session);
  if (options.follow !== true) {
    const { text } = await session.api.get(path, { query: { tail, since, container } });
    if (session.showRaw(text)) return;
    for (const line of JSON.parse(text) as LogLine[]) print(line);
    return;
  }
  const lines = followLines(session, path, { first: { tail, since }, always: { container } });
  for await (const line of lines) print(line);
}

function printer({ terminal, format }: Session): (line: LogLine) => void {
  if (format !== "table") return (line) => terminal.out(`${JSON.stringify(line)}\n`);
  const { color } = terminal;
  const hues = [color.cyan, color.magenta, color.green, color.yellow, color.blue];
  const known = new Map<string, Colors["cyan"]>();
  return (line) => {
    const hue = known.get(line.instance) ?? (hues[known.size % hues.length] as Colors["cyan"]);
    known.set(line.instance, hue);
    const message = line.stream === "stderr" ? color.red(line.message) : line.message;
    terminal.out(`${color.dim(`[${line.timestamp}]`)} ${hue(shortInstance(line.instance))} ${message}\n`);
  };
}

/** `dep_01k…-0-g1` is `0-g1` to a person who asked for one deployment's logs. */
export const shortInstance = (id: string): string => id.replace(/^dep_[0-9a-z]{26}-/, "");
