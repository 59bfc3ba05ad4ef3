// A real MariaDB for tests, in a folder of its own and never as root: under root it runs as the user `mysql`.

import { execFileSync, spawn } from "node:child_process";
import { chownSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import mysql, { type Connection } from "mysql2/promise";
import { freePort } from "../free-port.ts";

export class MariaDb {
  readonly folder: string;
  readonly port: number;
  readonly #program: string;
  readonly #settings: readonly string[];
  #child: ReturnType<typeof spawn> | null = null;

  private constructor(program: string, folder: string, port: number, settings: readonly string[]) {
    this.#program = program;
    this.folder = folder;
    this.port = port;
    this.#settings = settings;
  }

  /** Runs when it is returned. Its user `root` has the password `secret`. */
  static async start(program: string, settings: readonly string[] = []): Promise<MariaDb> {
    const folder = mkdtempSync(join(tmpdir(), "lamplighter-mariadb-"));
    const user = account();
    if (user.uid !== undefined) chownSync(folder, user.uid, user.gid);
    execFileSync(
      "mariadb-install-db",
      [
        "--no-defaults",
        `--datadir=${join(folder, "data")}`,
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
      ],
      { ...user, cwd: folder, stdio: "pipe" },
    );
    const server = new MariaDb(program, folder, await freePort(), settings);
    await server.run();
    const connection = await mysql.createConnection({ socketPath: join(folder, "socket"), user: "root" });
    await connection.query("ALTER USER root@localhost IDENTIFIED BY 'secret'");
    await connection.query("CREATE OR REPLACE USER root@'127.0.0.1' IDENTIFIED BY 'secret'");
    await connection.query("GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION");
    await connection.end();
    return server;
  }

  async run(): Promise<void> {
    const child = spawn(
      this.#program,
      [
        ...[
          "--no-defaults",
          `--datadir=${join(this.folder, "data")}`,
          `--socket=${join(this.folder, "socket")}`,
          `--port=${this.port}`,
        ],
        ...[
          "--bind-address=127.0.0.1",
          "--innodb-flush-log-at-trx-commit=0",
          "--innodb-buffer-pool-size=64M",
          "--character-set-server=utf8mb4",
        ],
        ...["--log-bin=bin", "--binlog-format=ROW", "--server-id=1", ...this.#settings],
      ],
      { ...account(), cwd: this.folder, stdio: ["ignore", "ignore", "pipe"] },
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
      const answers = await mysql.createConnection({ host: "127.0.0.1", port: this.port, user: "nobody" }).then(
        (connection) => connection.end().then(() => true),
        (error: { code?: string }) => error.code !== "ECONNREFUSED",
      );
      if (answers) return;
      await sleep(50);
    }
    throw new Error(`mariadbd ended: ${said}`);
  }

  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    const exited = new Promise((done) => child.once("exit", done));
    child.kill(signal);
    await exited;
  }

  connect(database?: string): Promise<Connection> {
    return mysql.createConnection({
      ...{
        host: "127.0.0.1",
        port: this.port,
        user: "root",
        password: "secret",
        multipleStatements: true,
        dateStrings: true,
      },
      ...(database === undefined ? {} : { database }),
    });
  }

  async remove(): Promise<void> {
    await this.stop("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function account(): { uid: number; gid: number } | { uid?: never; gid?: never } {
  if (process.getuid?.() !== 0) return {};
  const id = (flag: string) => Number(execFileSync("id", [flag, "mysql"], { encoding: "utf8" }));
  return { uid: id("-u"), gid: id("-g") };
}
