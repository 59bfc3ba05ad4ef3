// A keeper as a program of its own, so that it can be killed; and one inside the test, where it need not be.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { KeeperOptions } from "../../keeper/main.ts";

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { runKeeper } = await import("../../keeper/main.ts");
  const options = JSON.parse(process.argv[2] ?? "{}") as KeeperOptions;
  const keeper = await runKeeper({ ...options, log: (line) => console.error(line) });
  console.log(JSON.stringify({ name: keeper.name, url: keeper.url, token: keeper.token }));
}

/** A keeper that a test can kill and start again at the same address. */
export class KeeperProcess {
  readonly options: KeeperOptions;
  address: { name: string; url: string; token: string } = { name: "", url: "", token: "" };
  #child: ChildProcess | null = null;

  constructor(options: KeeperOptions) {
    this.options = options;
  }

  async start(): Promise<void> {
    const { port } = this.address.url === "" ? { port: "0" } : new URL(this.address.url);
    const options = { ...this.options, listen: { host: "127.0.0.1", port: Number(port) } };
    const child = spawn(process.execPath, [fileURLToPath(import.meta.url), JSON.stringify(options)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#child = child;
    const lines = createInterface({ input: child.stdout });
    const [line] = (await Promise.race([
      once(lines, "line"),
      once(child, "exit").then(([code]) => Promise.reject(new Error(`the keeper ended with ${code}`))),
    ])) as [string];
    this.address = JSON.parse(line);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }
}
