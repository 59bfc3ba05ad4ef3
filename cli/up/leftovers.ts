import { setTimeout as sleep } from "node:timers/promises";
import { configPath } from "./control-plane.ts";
import { gatewayCommandLine, keeperCommandLine } from "./databases.ts";
import { agentCommandLine } from "./local-agent.ts";
import { isThere, processes, type Running } from "./process-table.ts";

/**
 * Control planes, agents, keepers and gateways that an earlier run left behind when it was killed. They are known by their command lines, which name this data
 * folder: a file with process ids could miss one that was started in the last moment, or name a number that is somebody else's by now.
 */
export function leftovers(dataDir: string, agentDir: string): Running[] {
  const config = configPath(dataDir);
  const programs = [agentCommandLine(agentDir), keeperCommandLine(dataDir), gatewayCommandLine(dataDir)].map((line) =>
    line.slice(1).join(" "),
  );
  return processes().filter(
    ({ pid, command }) =>
      pid !== process.pid &&
      ((/(^|\/)workerd serve /.test(command) && command.endsWith(` ${config}`)) ||
        programs.some((program) => command.includes(` ${program} `))),
  );
}

/** Ends them: first the agents, which leave their workloads running. Answers how many there were. */
export async function stopLeftovers(dataDir: string, agentDir: string): Promise<number> {
  const found = leftovers(dataDir, agentDir);
  const pids = found.map(({ pid }) => pid);
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    // Looked for by command line again, so that a signal never goes to another process that was given the number since.
    const left = leftovers(dataDir, agentDir).filter(({ pid }) => pids.includes(pid));
    for (const { pid } of left) send(pid, signal);
    // A process that ends loses its command line before its ports.
    for (let waited = 0; waited < 1500 && pids.some(isThere); waited += 50) await sleep(50);
  }
  return found.length;
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
