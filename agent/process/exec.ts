import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import type { Readable } from "node:stream";
import type { ExecResult } from "../../contract/workload.ts";
import type { Intent } from "./folder.ts";
import { signal } from "./pid.ts";
import { findProgram } from "./program.ts";

/** How much of each stream is answered. */
const OUTPUT_MOST = 1024 ** 2;

/** Runs a command as the instance's user, in its folder, with its environment and within its limits. After `timeoutMs` it is killed. */
export async function execute(intent: Intent, command: readonly string[], timeoutMs: number): Promise<ExecResult> {
  const [name = "", ...rest] = command;
  const account = intent.uid === null || intent.gid === null ? null : { uid: intent.uid, gid: intent.gid };
  const program = await findProgram(name, intent.env.PATH ?? "", intent.cwd, account);
  if ("reason" in program) {
    const code = program.reason === "command_not_found" ? 127 : 126;
    return { exit_code: code, stdout: "", stderr: `${program.message}\n`, truncated: false };
  }
  const child = spawn(program.path, rest, {
    argv0: name,
    cwd: intent.cwd,
    env: intent.env,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    ...(intent.uid === null ? {} : { uid: intent.uid }),
    ...(intent.gid === null ? {} : { gid: intent.gid }),
  });
  for (const procs of intent.cgroup.procs) {
    try {
      if (child.pid !== undefined) writeFileSync(procs, String(child.pid));
    } catch {
      // It has ended already.
    }
  }
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  const timer = setTimeout(() => {
    if (child.pid !== undefined) signal(-child.pid, "SIGKILL");
  }, timeoutMs);
  const code = await new Promise<number | null>((resolve) => {
    child.once("error", (error: NodeJS.ErrnoException) => {
      stderr.add(Buffer.from(`${error.code ?? "error"}: ${name} cannot be started\n`));
      resolve(error.code === "ENOENT" ? 127 : 126);
    });
    child.once("close", (exit) => resolve(exit));
    // A child that it left behind may hold the pipes for ever.
    child.once("exit", (exit) => setTimeout(() => resolve(exit), 500).unref());
  });
  clearTimeout(timer);
  child.stdout.destroy();
  child.stderr.destroy();
  return {
    exit_code: code,
    stdout: stdout.text(),
    stderr: stderr.text(),
    truncated: stdout.truncated() || stderr.truncated(),
  };
}

function collect(stream: Readable): { add: (chunk: Buffer) => void; text: () => string; truncated: () => boolean } {
  const chunks: Buffer[] = [];
  let size = 0;
  const add = (chunk: Buffer): void => {
    const room = OUTPUT_MOST - size;
    if (room > 0) chunks.push(chunk.subarray(0, room));
    size += chunk.length;
  };
  stream.on("data", add);
  return { add, text: () => Buffer.concat(chunks).toString("utf8"), truncated: () => size > OUTPUT_MOST };
}
