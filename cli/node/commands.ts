import type { Command } from "commander";
import type { HostNode } from "../../contract/node.ts";
import { inSession, noun, serverCommand } from "../command.ts";
import { hostId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { sheet } from "../sheet.ts";

export function nodeCommands(program: Command, around: Surroundings): void {
  const group = noun(program, "node", "look at the machine under a host");
  serverCommand(group, "get [host]", "show a host's machine as it is now; without HOST, the oldest one that is ready", [
    "lamplighter node get",
    "lamplighter node get lamp-2",
  ]).action(inSession(around, get));
}

async function get(session: Session, _options: SessionOptions, reference: string | undefined): Promise<void> {
  const host = reference === undefined ? undefined : await hostId(session.api, reference);
  const { text } = await session.api.get("/node/get", { query: { host } });
  const { color, width } = session.terminal;
  session.show(text, (node: HostNode) =>
    sheet(color, width, [
      ["Hostname", node.hostname],
      ["Host", `${node.host_name} (${node.host_id})`],
      ["OS", node.os],
      ["Arch", node.arch],
      ["Uptime", node.uptime],
      ["CPUs", String(node.cpu_count)],
      ["Memory", `${node.memory_available} of ${node.memory_total} GiB available`],
      ["Load", node.load_average.join(", ")],
    ]),
  );
}
