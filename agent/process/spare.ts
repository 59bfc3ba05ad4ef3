import { type ChildProcess, spawn } from "node:child_process";
import type { Socket } from "node:net";

/** A new spare is not started at once, so as not to take the processor from the program that has just been started. */
const REFILL_MS = 150;
/** Small heaps and no threads for compiling: a shim mostly waits. */
const FLAGS = ["--max-semi-space-size=1", "--v8-pool-size=0", "--no-warnings"];

export type SpareOptions = { script: string; log: (line: string) => void };

/**
 * Starts shims, and has one started ahead: most of the time to start a program is Node's own start. The spare ends with the agent, however that
 * ends, because its standard input does.
 */
export class SpareShim {
  readonly #options: SpareOptions;
  #spare: ChildProcess | null = null;
  #refill: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(options: SpareOptions) {
    this.#options = options;
    this.#spare = this.#start();
  }

  /** Sets a shim to work on an instance's folder; calls back when it has ended. */
  use(folder: string, ended: () => void): void {
    const shim = this.#spare ?? this.#start();
    this.#spare = null;
    shim.once("exit", ended);
    if (shim.exitCode !== null) queueMicrotask(ended);
    shim.stdin?.end(`${folder}\n`);
    if (this.#refill) clearTimeout(this.#refill);
    this.#refill = setTimeout(() => {
      if (!this.#closed) this.#spare ??= this.#start();
    }, REFILL_MS);
    this.#refill.unref();
  }

  close(): void {
    this.#closed = true;
    if (this.#refill) clearTimeout(this.#refill);
    this.#spare?.stdin?.end();
    this.#spare = null;
  }

  #start(): ChildProcess {
    const shim = spawn(process.execPath, [...FLAGS, this.#options.script], {
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
      cwd: "/",
      env: { PATH: process.env.PATH },
    });
    const gone = (): void => {
      if (this.#spare === shim) this.#spare = null;
    };
    shim.once("error", (error) => {
      gone();
      this.#options.log(`process: a shim cannot be started: ${error.message}`);
    });
    shim.once("exit", gone);
    shim.stdin?.on("error", () => {});
    (shim.stdin as Socket | null)?.unref();
    shim.unref();
    return shim;
  }
}
