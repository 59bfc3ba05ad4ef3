import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { parseSegmentName } from "../../postgres/lsn.ts";
import type { Account } from "../process/account.ts";
import { asUser, giveTo } from "./account.ts";
import type { Installation } from "./binaries.ts";
import { IDENTIFIER_IN_SEGMENT, withSystemIdentifier } from "./control-file.ts";
import { hostRules, identityMap, REPLICATION_USER, SUPERUSER } from "./parameters.ts";
import { Postmaster } from "./postmaster.ts";
import { programOf } from "./program.ts";

const run = promisify(execFile);

/** In a template, the database and the role that become those of the user. */
export const UNCLAIMED = "unclaimed";
/** Changes with what is in a template, so that those of an older agent are not used. */
const EDITION = 1;

/**
 * A cluster as every new database begins, one per version of PostgreSQL: made once, shut down, and copied from then on. Copying takes a tenth
 * of a second, and `initdb` five times as long.
 */
export class Template {
  readonly #root: string;
  readonly #account: Account;
  readonly #making = new Map<string, Promise<string>>();

  constructor(root: string, account: Account) {
    this.#root = join(root, "templates");
    this.#account = account;
  }

  /** Makes it if it is not there. Worth calling when the agent starts. */
  prepare(installation: Installation): Promise<string> {
    const path = join(this.#root, `${installation.version}-${EDITION}`);
    if (existsSync(path)) return Promise.resolve(path);
    const making = this.#making.get(path) ?? this.#make(installation, path).finally(() => this.#making.delete(path));
    this.#making.set(path, making);
    return making;
  }

  /** Copies it to a folder that exists and is empty. The copy has an identity of its own. */
  async copyTo(installation: Installation, target: string): Promise<void> {
    const path = await this.prepare(installation);
    const reflink = process.platform === "linux" ? ["--reflink=auto"] : [];
    await run("cp", ["-R", "-p", ...reflink, `${path}/.`, target], { ...asUser(this.#account), cwd: "/" });
    const identifier = (BigInt(Math.floor(Date.now() / 1000)) << 32n) | BigInt(randomBytes(4).readUInt32LE());
    const controlFile = join(target, "global", "pg_control");
    const control = withSystemIdentifier(await readFile(controlFile), identifier);
    const wal = join(target, "pg_wal");
    for (const file of await readdir(wal)) {
      if (parseSegmentName(file) === null) continue;
      await patch(join(wal, file), IDENTIFIER_IN_SEGMENT, identifier);
    }
    const file = await open(controlFile, "r+");
    try {
      await file.write(control, 0, control.length, 0);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  async #make(installation: Installation, path: string): Promise<string> {
    const work = `${path}.new`;
    await rm(work, { recursive: true, force: true });
    await mkdir(dirname(path), { recursive: true, mode: 0o711 });
    await mkdir(work, { mode: 0o700 });
    await giveTo(this.#account, work);
    const pgdata = join(work, "pgdata");
    const locale = installation.major >= 17 ? ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] : [];
    const options = ["--encoding=UTF8", "--locale=C", "--data-checksums", "--no-sync", "--auth=reject", ...locale];
    const args = ["-D", pgdata, `--username=${SUPERUSER}`, ...options];
    const initdb = programOf(installation, "initdb", args, { account: this.#account, folders: [this.#root] });
    await run(initdb.file, initdb.args, initdb.options).catch((error: Error & { stderr?: string }) => {
      throw new Error(`initdb fails: ${error.stderr?.trim() || error.message}`);
    });
    await this.#furnish(installation, work, pgdata);
    await run("sync", ["-f", pgdata]).catch(() => run("sync"));
    await rename(pgdata, path);
    await rm(work, { recursive: true, force: true });
    return path;
  }

  /** Roles and rights that all databases begin with. */
  async #furnish(installation: Installation, work: string, pgdata: string): Promise<void> {
    const files: Record<string, string> = {
      "pg_hba.conf": hostRules(false),
      "pg_ident.conf": identityMap(userInfo().username),
      "postgresql.conf": [
        `hba_file = '${work}/pg_hba.conf'`,
        `ident_file = '${work}/pg_ident.conf'`,
        `unix_socket_directories = '${work}'`,
        "listen_addresses = ''",
        "port = 5432",
        "fsync = off",
        "wal_level = replica",
        "shared_buffers = 16MB",
        "",
      ].join("\n"),
    };
    for (const [name, content] of Object.entries(files)) {
      await writeFile(join(work, name), content, { mode: 0o600 });
      await giveTo(this.#account, join(work, name));
    }
    const place = { pgdata, socketFolder: work, port: 5432 };
    const postmaster = await Postmaster.start(installation, place, {
      configFile: join(work, "postgresql.conf"),
      logFile: join(work, "log"),
      account: this.#account,
      folders: [this.#root],
    });
    try {
      const connection = await postmaster.ready(30_000);
      for (const statement of FURNITURE) await connection.query(statement);
      connection.end();
      await postmaster.stop();
    } catch (error) {
      await postmaster.stopAtOnce().catch(() => {});
      throw error;
    }
  }
}

const FURNITURE = [
  `CREATE ROLE ${REPLICATION_USER} LOGIN REPLICATION NOINHERIT`,
  `CREATE ROLE ${UNCLAIMED} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION`,
  `CREATE DATABASE ${UNCLAIMED} OWNER ${UNCLAIMED}`,
  "REVOKE ALL ON DATABASE postgres FROM PUBLIC",
  "REVOKE ALL ON DATABASE template1 FROM PUBLIC",
  `REVOKE ALL ON DATABASE ${UNCLAIMED} FROM PUBLIC`,
];

async function patch(path: string, at: number, identifier: bigint): Promise<void> {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(identifier);
  const file = await open(path, "r+");
  try {
    // A segment that was made ready and never written to has no first page yet.
    const head = Buffer.alloc(2);
    await file.read(head, 0, 2, 0);
    if (head.readUInt16LE(0) === 0) return;
    await file.write(bytes, 0, 8, at);
    await file.sync();
  } finally {
    await file.close();
  }
}
