// `lamplighter up` and the CLI, as a user starts them: with a data folder and a home of their own.
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { killCluster, runningOn } from "../../agent/postgres/postmaster.ts";
import { PROJECT } from "../../cli/up/bundle.ts";
import { leftovers } from "../../cli/up/leftovers.ts";
import { processes } from "../../cli/up/process-table.ts";
import { Client, until } from "./client.ts";

export type Ended = { code: number | null; output: string };
export type Running = { child: ChildProcess; output: () => string; exited: Promise<number | null> };

export class UpSite {
  readonly folder = mkdtempSync(join(tmpdir(), "lamplighter-up-"));
  readonly data = join(this.folder, "data");
  readonly port: number;
  up: Running | null = null;

  constructor(port: number) {
    this.port = port;
    // The folders of workloads that run as another user are below it.
    chmodSync(this.folder, 0o711);
    mkdirSync(join(this.folder, "config"));
  }

  get client(): Client {
    const token = readFileSync(join(this.data, "root-token"), "utf8").trim();
    return new Client(() => `http://127.0.0.1:${this.port}`, token);
  }

  run(args: readonly string[], env: Record<string, string> = {}): Running {
    const child = spawn(process.execPath, [join(PROJECT, "cli", "main.ts"), ...args], {
      cwd: this.folder,
      // Its own home, so that the user's contexts are left alone.
      env: {
        ...process.env,
        HOME: this.folder,
        XDG_CONFIG_HOME: join(this.folder, "config"),
        LAMPLIGHTER_URL: undefined,
        LAMPLIGHTER_TOKEN: undefined,
        ...env,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk) => {
        output += chunk;
      });
    }
    return { child, output: () => output, exited: new Promise((done) => child.once("close", (code) => done(code))) };
  }

  /** A command of the CLI, to its end. */
  async cli(args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
    const running = this.run(args, env);
    return { code: await running.exited, output: running.output() };
  }

  async start(...more: string[]): Promise<void> {
    const up = this.run(["up", "--port", String(this.port), "--data", this.data, ...more]);
    this.up = up;
    await until(
      () => `up does not come up:\n${up.output()}`,
      () => up.output().includes("Lamplighter is up") && up.output().includes("Stop "),
    );
  }

  async signal(signal: NodeJS.Signals): Promise<Ended> {
    const up = this.up as Running;
    up.child.kill(signal);
    const code = await up.exited;
    this.up = null;
    return { code, output: up.output() };
  }

  /** The programs of `up` itself that run now; not the writers of databases. */
  programs(): string[] {
    return leftovers(this.data, join(this.data, "agent")).map(({ command }) => command);
  }

  databaseFolder(id: string): string {
    return join(this.data, "agent", "postgres", "clusters", id);
  }

  /** Whether its PostgreSQL runs. */
  async isAwake(id: string): Promise<boolean> {
    return (await runningOn(join(this.databaseFolder(id), "pgdata"))) !== null;
  }

  /** kill -9 of everything at once, the writers of these databases too. */
  async killAll(...ids: string[]): Promise<void> {
    const up = this.up as Running;
    up.child.kill("SIGKILL");
    for (const { pid } of leftovers(this.data, join(this.data, "agent"))) process.kill(pid, "SIGKILL");
    await this.#killWriters(ids);
    await up.exited;
    this.up = null;
  }

  async #killWriters(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      const pgdata = join(this.databaseFolder(id), "pgdata");
      const pid = await runningOn(pgdata);
      if (pid) await killCluster(pgdata, pid);
    }
  }

  /** Ends everything and takes the folder away. */
  async close(ids: readonly string[]): Promise<void> {
    if (this.up !== null) await this.signal("SIGKILL");
    for (const { pid } of leftovers(this.data, join(this.data, "agent"))) process.kill(pid, "SIGKILL");
    await this.#killWriters(ids);
    for (const { pid, command } of processes()) if (command.includes(`${this.folder}/`)) process.kill(pid, "SIGKILL");
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  }
}
