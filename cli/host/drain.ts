import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import type { HostView } from "../../contract/host.ts";
import { inSession, serverCommand, timeoutOption } from "../command.ts";
import { each } from "../each.ts";
import { Failure } from "../failure.ts";
import { hostId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & { wait?: boolean; timeout: number };

export function drainCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "drain <host...>", "place nothing new on hosts, and move away what runs there", [
    "lamplighter host drain worker-3 --wait",
  ])
    .option("--wait", "until nothing runs there")
    .addOption(timeoutOption("10m"))
    .action(inSession(around, drain));
}

async function drain(session: Session, options: Options, hosts: string[]): Promise<void> {
  await each(session.terminal, hosts, async (host) => {
    const id = await hostId(session.api, host);
    const { text } = await session.api.post(`/hosts/${id}/drain`);
    const body = options.wait === true ? await untilEmpty(session, id, host, options.timeout) : text;
    session.show(body, () => `host ${host} ${options.wait === true ? "is empty" : "is draining"}\n`);
  });
}

async function untilEmpty(session: Session, id: string, host: string, timeout: number): Promise<string> {
  session.around.interrupt.aftermath = `The host goes on draining; \`lamplighter host uncordon ${host}\` ends that.`;
  const deadline = session.around.now() + timeout;
  const progress = session.progress();
  try {
    for (;;) {
      const { text } = await session.api.get(`/hosts/${id}`);
      const view = JSON.parse(text) as HostView;
      if (view.workloads === 0) return text;
      progress.update(
        `${host}: ${view.workloads} ${view.workloads === 1 ? "workload is" : "workloads are"} still there`,
      );
      if (session.around.now() > deadline)
        throw new Failure(`host '${host}' still has ${view.workloads} workloads after ${timeout / 1000} s`);
      await sleep(500, undefined, { signal: session.interrupted }).catch(() => undefined);
    }
  } finally {
    progress.clear();
  }
}
