import type { Command } from "commander";
import type { HostView } from "../../contract/host.ts";
import { age } from "../age.ts";
import { inSession, serverCommand } from "../command.ts";
import { hostId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { sheet } from "../sheet.ts";
import { paintStatus } from "../status.ts";
import { oneLine } from "../terminal.ts";
import { cpu, memory } from "./list.ts";

export function hostInspectCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "inspect <host>", "show everything about a host", [
    "lamplighter host inspect local",
    "lamplighter host inspect local -o yaml",
  ]).action(inSession(around, inspect));
}

async function inspect(session: Session, _options: SessionOptions, reference: string): Promise<void> {
  const { text } = await session.api.get(`/hosts/${await hostId(session.api, reference)}`);
  session.show(text, (host: HostView) => describe(host, session));
}

function describe(host: HostView, { terminal: { color, width }, around }: Session): string {
  const ago = (timestamp: string) => `${age(timestamp, around.now())} ago  ${color.dim(timestamp)}`;
  const policy = host.policy;
  return sheet(color, width, [
    ["Name", color.bold(host.name)],
    ["Id", host.id],
    ["Status", `${paintStatus(host.status, host.status, color)}  ${color.dim(oneLine(host.reason))}`],
    ["", oneLine(host.message)],
    ["Scheduling", host.scheduling],
    ["Workloads", String(host.workloads)],
    ["Memory reserved", memory(host)],
    ["CPU reserved", cpu(host)],
    ["Runtimes", host.runtimes.map((one) => `${one.runtime} ${one.version}`)],
    ["Transport", `${host.transport}${host.endpoint === null ? "" : ` ${host.endpoint}`}`],
    ["Agent", host.agent_version ?? ""],
    ["Last seen", host.last_seen_at === null ? "never" : ago(host.last_seen_at)],
    ["Joined", ago(host.created_at)],
    ["Labels", Object.entries(host.labels).map(([key, value]) => oneLine(`${key}=${value}`))],
    [
      "Policy",
      policy === null
        ? ""
        : [
            `privileged ${policy.privileged ? "allowed" : "refused"}`,
            `host network ${policy.host_network ? "allowed" : "refused"}`,
            `host mounts ${policy.host_mounts.length === 0 ? "none" : policy.host_mounts.join(", ")}`,
            `images ${policy.images.length === 0 ? "all" : policy.images.join(", ")}`,
          ],
    ],
    ["Revision", String(host.revision)],
  ]);
}
