import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { Workload, WorkloadSpec } from "../../contract/workload.ts";

export const spec = (over: Partial<WorkloadSpec> = {}): WorkloadSpec => ({
  runtime: "process",
  namespace: "default",
  name: "web",
  kind: "worker",
  image: null,
  image_pull_policy: "IfNotPresent",
  registry: null,
  command: ["sleep", "1000"],
  working_dir: null,
  environment: {},
  labels: {},
  ports: [],
  mounts: [],
  user: { id: null, group: null, privileged: false },
  network: "bridge",
  cpu_limit_millis: null,
  memory_limit_bytes: null,
  cpu_reserved_millis: 0,
  memory_reserved_bytes: 0,
  stop_timeout_ms: 2_000,
  ...over,
});

let count = 0;

/** A workload with an id of its own. */
export function workload(over: Partial<Omit<Workload, "spec">> & { spec?: Partial<WorkloadSpec> } = {}): Workload {
  const id = over.id ?? `dep_${String(++count).padStart(26, "0")}-0`;
  return { id, generation: 1, owner: id.split("-")[0] as string, want: "running", ...over, spec: spec(over.spec) };
}

/** A shell program. */
export const sh = (script: string): string[] => ["/bin/sh", "-c", script];

/** A folder that is deleted when the test is over. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "lamplighter-agent-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 }));
  return path;
}

export function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return !/\) [ZX] /.test(stat);
  } catch {
    return false;
  }
}

/** Resolves once this holds. */
export async function eventually(
  holds: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 10_000,
): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`timed out waiting until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export type AgentProcess = {
  pid: number;
  output: () => string;
  kill: (signal?: NodeJS.Signals) => Promise<void>;
  exited: Promise<number | null>;
};

/** A real agent in a process of its own, so that it can be killed. */
export function agentProcess(options: Record<string, unknown>, user?: { uid: number; gid: number }): AgentProcess {
  const main = new URL("./agent-process.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [main, JSON.stringify(options)], {
    ...user,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  child.stdout.on("data", (chunk) => {
    output += chunk;
  });
  child.stderr.on("data", (chunk) => {
    output += chunk;
  });
  const exited = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)));
  return {
    pid: child.pid as number,
    output: () => output,
    exited,
    kill: async (signal = "SIGKILL") => {
      child.kill(signal);
      await exited;
    },
  };
}
