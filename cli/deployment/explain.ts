import type { Command } from "commander";
import type { Explanation } from "../../contract/explanation.ts";
import { span } from "../age.ts";
import { inSession, serverCommand } from "../command.ts";
import { deploymentId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { sheet } from "../sheet.ts";
import { paintStatus } from "../status.ts";
import { oneLine } from "../terminal.ts";
import { shortInstance } from "./logs.ts";

type Wait = Explanation["waiting_for"][number];

/** Both `lamplighter deployment explain` and, because it is what people reach for when they are stuck, `lamplighter explain`. */
export function explainCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "explain <deployment>", "say why a deployment is as it is, and what is being waited for", [
    "lamplighter explain web",
    "lamplighter explain prod/web -o json",
  ]).action(inSession(around, explain));
}

async function explain(session: Session, _options: SessionOptions, reference: string): Promise<void> {
  const { text } = await session.api.get(`/deployments/${await deploymentId(session.api, reference)}/explain`);
  session.show(text, (answer: Explanation) => describe(answer, session));
}

function describe(answer: Explanation, { terminal: { color, width }, around }: Session): string {
  const { status, reason, message, terminal, restart_count, restarts_left, waiting_for, hosts, allowedActions } =
    answer;
  const possible = Object.entries(allowedActions).flatMap(([action, { allowed }]) => (allowed ? [action] : []));
  return sheet(color, width, [
    ["Status", `${paintStatus(status, status, color)}  ${color.dim(oneLine(reason))}`],
    ["", oneLine(message)],
    ["Ahead", terminal ? "nothing: it stays like this until it is deleted, or a mended manifest is applied" : ""],
    ["Restarts", `${restart_count} counted, ${restarts_left} left`],
    ["Waits for", waiting_for.map((wait) => waitText(wait, around.now()))],
    [
      "Hosts",
      hosts
        .filter(({ status }) => status !== "ready")
        .map((host) => oneLine(`${host.name} is ${host.status}: ${host.message}`)),
    ],
    ["Possible", possible.join(", ")],
  ]);
}

function waitText({ instance, for: what, message, until }: Wait, now: number): string {
  const left = until === null ? NaN : Date.parse(until) - now;
  const when = left > 0 ? `, in ${span(left + 999)}` : "";
  return oneLine(`${shortInstance(instance)}: ${what}${when}${message === "" ? "" : ` (${message})`}`);
}
