import { spawn } from "node:child_process";
import { closeSync, copyFileSync, fstatSync, mkdirSync, openSync, readFileSync, statSync, truncateSync } from "node:fs";
import { dirname } from "node:path";
import type { Readable } from "node:stream";

export type Ended = { code: number | null; signal: NodeJS.Signals | null };

export type Child = {
  pid: number;
  /** Resolves when the process is gone; never rejects. */
  exited: Promise<Ended>;
  /** What it has written since it was started, the last lines of it. */
  logTail(lines?: number): string;
  /** SIGTERM, and SIGKILL when it is still there after `graceMs`. */
  stop(graceMs: number): Promise<void>;
  kill(signal: NodeJS.Signals): void;
};

export type ChildSpec = {
  command: string;
  args: readonly string[];
  env?: Record<string, string | undefined>;
  cwd: string;
  logPath: string;
  /** Becomes its descriptor 4. */
  socket?: number | null;
};

const LOG_KEPT_BYTES = 8 * 1024 * 1024;

/**
 * Starts a program that writes to a log file, not to a pipe of ours: it goes on writing when we are killed. It leads its own process group,
 * so that Ctrl-C in our terminal does not reach it and we end it in our own order. With `control`, its file descriptor 3 is read by us.
 */
export function startChild(spec: ChildSpec, control?: (stream: Readable) => void): Child {
  mkdirSync(dirname(spec.logPath), { recursive: true, mode: 0o700 });
  turnLog(spec.logPath);
  const log = openSync(spec.logPath, "a", 0o600);
  const before = fstatSync(log).size;
  const child = spawn(spec.command, spec.args, {
    cwd: spec.cwd,
    env: spec.env ?? process.env,
    detached: true,
    stdio: ["ignore", log, log, control === undefined ? "ignore" : "pipe", spec.socket ?? "ignore"],
  });
  closeSync(log);
  let failure = "";
  const exited = new Promise<Ended>((done) => {
    child.on("error", (error) => {
      failure = error.message;
      done({ code: 127, signal: null });
    });
    child.on("exit", (code, signal) => done({ code, signal }));
  });
  const turning = setInterval(() => turnLog(spec.logPath), 30_000).unref();
  void exited.then(() => clearInterval(turning));
  if (control !== undefined) control(child.stdio[3] as Readable);
  const kill = (signal: NodeJS.Signals) => void child.kill(signal);
  return {
    pid: child.pid ?? 0,
    exited,
    kill,
    logTail: (lines = 12) => {
      const text = `${readFileSync(spec.logPath).subarray(before).toString("utf8").trim()}\n${failure}`.trim();
      return text.split("\n").slice(-lines).join("\n");
    },
    stop: async (graceMs) => {
      kill("SIGTERM");
      const timer = setTimeout(() => kill("SIGKILL"), graceMs);
      await exited;
      clearTimeout(timer);
    },
  };
}

/** Puts a log that has grown long aside, and empties it in place: the child appends to the file that it has open. */
function turnLog(path: string): void {
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) <= LOG_KEPT_BYTES) return;
  copyFileSync(path, `${path}.1`);
  truncateSync(path);
}

export const endedText = ({ code, signal }: Ended): string =>
  signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`;
