// A real PostgreSQL for tests, never run as root: under root its programs run as the user `postgres`.

import { execFileSync, type SpawnOptions, spawn } from "node:child_process";
import { chownSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { freePort } from "../free-port.ts";

export type Ending = "fast" | "immediate" | "kill";

const SIGNALS = { fast: "SIGINT", immediate: "SIGQUIT", kill: "SIGKILL" } as const;

export class Cluster {
  readonly folder: string;
  readonly port: number;
  readonly #programs: string;
  #child: ReturnType<typeof spawn> | null = null;

  private constructor(programs: string, folder: string, port: number) {
    this.#programs = programs;
    this.folder = folder;
    this.port = port;
  }

  /** A new cluster, not running. @param programs the folder of initdb and postgres */
  static async create(programs: string, settings: Record<string, string> = {}): Promise<Cluster> {
    const folder = mkdtempSync(join(tmpdir(), "lamplighter-pg-"));
    const user = unprivileged();
    if (user.uid !== undefined) chownSync(folder, user.uid, user.gid);
    const data = join(folder, "data");
    execFileSync(
      join(programs, "initdb"),
      ["-D", data, "-U", "postgres", "-A", "trust", "-N", "--no-instructions", "-E", "UTF8", "--locale=C"],
      { ...user, cwd: folder, stdio: "pipe" },
    );
    writeFileSync(join(data, "pg_hba.conf"), "local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n");
    const conf = {
      listen_addresses: "127.0.0.1",
      unix_socket_directories: folder,
      fsync: "off",
      max_connections: "100",
      shared_buffers: "16MB",
      ...settings,
    };
    const lines = Object.entries(conf).map(([name, value]) => `${name} = '${value}'\n`);
    writeFileSync(join(data, "postgresql.auto.conf"), lines.join(""));
    return new Cluster(programs, folder, await freePort());
  }

  get running(): boolean {
    return this.#child !== null;
  }

  /** Starts PostgreSQL and resolves once it answers queries. */
  async start(): Promise<void> {
    const options: SpawnOptions = { ...unprivileged(), cwd: this.folder, stdio: ["ignore", "ignore", "pipe"] };
    const child = spawn(
      join(this.#programs, "postgres"),
      ["-D", join(this.folder, "data"), "-p", `${this.port}`],
      options,
    );
    this.#child = child;
    let said = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      said = `${said}${chunk}`.slice(-4000);
    });
    child.once("exit", () => {
      if (this.#child === child) this.#child = null;
    });
    while (this.#child === child) {
      if (
        await this.admin("SELECT 1").then(
          () => true,
          () => false,
        )
      )
        return;
      await sleep(10);
    }
    throw new Error(`postgres ended: ${said}`);
  }

  async stop(how: Ending = "fast"): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    const exited = new Promise((done) => child.once("exit", done));
    child.kill(SIGNALS[how]);
    await exited;
    // Its children notice only a moment later that the postmaster is gone, and hold the data folder until then.
    if (how === "kill") await sleep(300);
  }

  /** As when the power fails: none of its processes gets to say a word. */
  async kill(): Promise<void> {
    const rows = await this.admin("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()");
    // It would tell the others of the first death.
    process.kill(this.pid(), "SIGSTOP");
    for (const { pid } of rows as { pid: number }[]) process.kill(pid, "SIGKILL");
    await this.stop("kill");
  }

  pid(): number {
    return Number(readFileSync(join(this.folder, "data", "postmaster.pid"), "utf8").split("\n")[0]);
  }

  /** Runs statements as the superuser. */
  async admin(sql: string, database = "postgres"): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({ host: this.folder, port: this.port, user: "postgres", database });
    client.on("error", () => {});
    await client.connect();
    try {
      const result = (await client.query(sql)) as pg.QueryResult | pg.QueryResult[];
      return Array.isArray(result) ? (result.at(-1)?.rows ?? []) : result.rows;
    } finally {
      await client.end();
    }
  }

  async remove(): Promise<void> {
    await this.stop("immediate");
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function unprivileged(): { uid: number; gid: number } | { uid?: never; gid?: never } {
  if (process.getuid?.() !== 0) return {};
  const id = (flag: string) => Number(execFileSync("id", [flag, "postgres"], { encoding: "utf8" }));
  return { uid: id("-u"), gid: id("-g") };
}
