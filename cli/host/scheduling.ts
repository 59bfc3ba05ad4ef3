import type { Command } from "commander";
import { inSession, serverCommand } from "../command.ts";
import { each } from "../each.ts";
import { hostId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

/** `cordon` and `uncordon`: whether new workloads are placed on a host. */
export function schedulingCommands(group: Command, around: Surroundings): void {
  serverCommand(group, "cordon <host...>", "place nothing new on hosts; what runs there stays", [
    "lamplighter host cordon worker-3",
  ]).action(
    inSession(around, (session, _options: SessionOptions, hosts: string[]) => change(session, "cordon", hosts)),
  );
  serverCommand(group, "uncordon <host...>", "let new workloads be placed on hosts again", [
    "lamplighter host uncordon worker-3",
  ]).action(
    inSession(around, (session, _options: SessionOptions, hosts: string[]) => change(session, "uncordon", hosts)),
  );
}

async function change(session: Session, verb: "cordon" | "uncordon", hosts: readonly string[]): Promise<void> {
  await each(session.terminal, hosts, async (host) => {
    const { text } = await session.api.post(`/hosts/${await hostId(session.api, host)}/${verb}`);
    session.show(text, () => `host ${host} ${verb}ed\n`);
  });
}
