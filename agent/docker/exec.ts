import { readFileSync } from "node:fs";
import type Docker from "dockerode";
import type { ExecResult } from "../../contract/workload.ts";
import { RuntimeSilent } from "../driver.ts";
import { type Engine, engineError } from "./engine.ts";
import { BoundedText, Demultiplexer } from "./output.ts";
import type { Instance } from "./roster.ts";
import type { Tracker } from "./tracker.ts";

/** What is kept of each of the two outputs; the rest is read and dropped, so that the command does not block. */
export const EXEC_OUTPUT_BYTES = 64 * 1024;

/**
 * Runs a command in the instance's container. `exit_code` is null when the time was over; the command is then killed where this agent can see
 * the container's processes (an engine has no call for it), else left behind until the container ends. Throws when the instance does not run.
 */
export async function execute(
  { engine, tracker }: { engine: () => Engine; tracker: Tracker },
  id: string,
  generation: number,
  command: string[],
  timeoutMs: number,
): Promise<ExecResult> {
  const instance = tracker.roster.instance(id, generation);
  if (instance?.state !== "running") throw new Error(`${id} generation ${generation} does not run on this host`);
  const stdout = new BoundedText(EXEC_OUTPUT_BYTES);
  const stderr = new BoundedText(EXEC_OUTPUT_BYTES);
  const result = (exit_code: number | null): ExecResult => ({
    exit_code,
    stdout: stdout.text(),
    stderr: stderr.text(),
    truncated: stdout.truncated || stderr.truncated,
  });
  const until = Date.now() + timeoutMs;
  let made: Docker.Exec | undefined;
  try {
    made = await engine().call("create exec", (docker) =>
      docker.getContainer(instance.containerId).exec({ Cmd: command, AttachStdout: true, AttachStderr: true }),
    );
    const session = made;
    const stream = await engine().call("start exec", () => session.start({}), Math.max(1, timeoutMs));
    const ended = await drain(stream, stdout, stderr, until - Date.now());
    const state = await engine().call("inspect exec", () => session.inspect());
    if (ended && state.ExitCode !== null) return result(state.ExitCode);
    kill(engine(), instance, state.Pid);
    return result(null);
  } catch (error) {
    const failed = engineError(error);
    if (failed.status === null && Date.now() >= until) {
      const state = await made?.inspect().catch(() => null);
      if (state) kill(engine(), instance, state.Pid);
      return result(null);
    }
    // Some versions answer a command that does not exist with an error, others with exit code 126 or 127 and a line on an output.
    if (/executable file not found|no such file or directory|command that was not found/i.test(failed.message)) {
      stderr.add(Buffer.from(`${failed.message}\n`));
      return result(127);
    }
    const message = `the command cannot be run in ${id}: ${failed.message}`;
    throw failed.status === null ? new RuntimeSilent(message) : new Error(message);
  }
}

/** Reads to the end; false when the time was over first. */
async function drain(
  stream: NodeJS.ReadableStream,
  stdout: BoundedText,
  stderr: BoundedText,
  timeoutMs: number,
): Promise<boolean> {
  const demultiplexer = new Demultiplexer();
  let late = false;
  const timer = setTimeout(
    () => {
      late = true;
      (stream as unknown as { destroy: () => void }).destroy();
    },
    Math.max(0, timeoutMs),
  );
  try {
    for await (const chunk of stream) {
      for (const frame of demultiplexer.take(chunk as Buffer))
        (frame.stream === "stderr" ? stderr : stdout).add(frame.bytes);
    }
  } catch (error) {
    if (!late) throw error;
  } finally {
    clearTimeout(timer);
  }
  return !late;
}

/** The engine names the process by its id on the engine's machine: it is killed only when that process is, here, in this very container. */
function kill(engine: Engine, instance: Instance, pid: number): void {
  if (!engine.local || !pid) return;
  try {
    if (readFileSync(`/proc/${pid}/cgroup`, "utf8").includes(instance.containerId)) process.kill(pid, "SIGKILL");
  } catch {
    // It has ended, or it is on another machine.
  }
}
