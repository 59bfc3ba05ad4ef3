import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { freePort } from "../test/free-port.ts";
import { type GatewayProcess, startGateway } from "../test/gateway/gateway-process.ts";
import { serveDirectory } from "../test/gateway/served-directory.ts";
import { PASSWORD, Site } from "../test/gateway/site.ts";
import { requires } from "../test/requires.ts";
import { distribution } from "./distribution.ts";
import { compared, type Figure, type Line, type Setting } from "./figure.ts";

/** A way to the same PostgreSQL. `pid`: whose CPU time is the way's own. */
type Way = { name: "gateway" | "direct" | "pgbouncer"; port: number; pid: number | null };

const CLIENTS = 8;
const SCALE = 5;
/** Linux counts CPU time in these. */
const TICK_MS = 10;

export const gateway: Figure = {
  name: "gateway",
  about:
    "a new connection, and pgbench, through the gateway: over PostgreSQL itself, and over PgBouncer in session mode",
  measure: async (setting) => {
    const [postgres, pgbouncer] = [await requires("postgres"), await requires("pgbouncer")];
    if (!postgres.available) return { leftOut: postgres.reason };
    const { quick, after } = setting;
    const site = await Site.create(postgres.path, { shared_buffers: "128MB", autovacuum: "off" });
    after(() => site.close());
    const directory = await serveDirectory(site.directory);
    after(() => directory.close());
    const ours = await startGateway(directory, site.folder, "--tls", "off");
    after(() => stop(ours));
    await (await site.connect(ours)).end();
    const { port } = site.cluster;
    await run(join(postgres.path, "pgbench"), ["-i", "-s", String(SCALE), "-q", ...whereIs(port)]);
    const ways: Way[] = [
      { name: "direct", port, pid: null },
      { name: "gateway", port: ours.port, pid: ours.child.pid ?? null },
    ];
    if (pgbouncer.available) ways.push(await startPgbouncer(pgbouncer.path, site, setting));
    const lines = await connections(ways, quick ? 20 : 300);
    for (const [flag, what] of [
      ["-S", "selects only"],
      ["-N", "simple updates"],
    ] as const)
      lines.push(...(await transactions(join(postgres.path, "pgbench"), ways, flag, what, setting)));
    return lines;
  },
};

const stop = async ({ child, exited }: GatewayProcess): Promise<void> => {
  child.kill("SIGTERM");
  await exited;
};

/** The ways in turn, so that what else the machine does meets all of them alike. */
async function connections(ways: readonly Way[], rounds: number): Promise<Line[]> {
  const times = new Map(ways.map(({ name }) => [name, [] as number[]]));
  for (let round = -5; round < rounds; round++)
    for (const { name, port } of ways) {
      const started = performance.now();
      const client = new pg.Client({ host: "127.0.0.1", port, user: "app", database: "app", password: PASSWORD });
      await client.connect();
      await client.query("SELECT 1");
      if (round >= 0) times.get(name)?.push(performance.now() - started);
      await client.end();
    }
  return overOthers("a new connection to an awake database, to its first row", "ms", times, {});
}

async function transactions(
  pgbench: string,
  ways: readonly Way[],
  flag: string,
  what: string,
  { quick, say }: Setting,
) {
  const seconds = 2;
  const rounds = quick ? 1 : 9;
  const times = new Map(ways.map(({ name }) => [name, [] as number[]]));
  const cpu = new Map(ways.filter(({ pid }) => pid !== null).map(({ name }) => [name, [] as number[]]));
  // The first round warms what is compiled as it runs, and the cache.
  for (let round = -1; round < rounds; round++)
    for (const { name, port, pid } of ways) {
      const before = pid === null ? 0 : cpuMs(pid);
      const args = [flag, "-n", "-c", String(CLIENTS), "-j", "2", "-T", String(seconds), ...whereIs(port)];
      const tps = Number(/^tps = ([\d.]+) /m.exec(await run(pgbench, args))?.[1]);
      if (round < 0) continue;
      times.get(name)?.push(1e6 / tps);
      if (pid !== null) cpu.get(name)?.push(((cpuMs(pid) - before) * 1000) / (tps * seconds));
      say(`pgbench ${flag}, ${name}: ${tps.toFixed(0)} transactions/s`);
    }
  const whole = `pgbench ${flag} (${what}), ${CLIENTS} clients`;
  return [
    ...overOthers(`${whole}, a transaction`, "µs", times, { pgbouncer: 1 }),
    ...overOthers(`${whole}, CPU time of a transaction`, "µs", cpu, {}),
  ];
}

function overOthers(
  what: string,
  unit: string,
  times: ReadonlyMap<Way["name"], number[]>,
  most: { [name in Way["name"]]?: number },
): Line[] {
  const ours = distribution(times.get("gateway") ?? []);
  const titles = { direct: "PostgreSQL itself", pgbouncer: "PgBouncer", gateway: "" };
  return [...times]
    .filter(([name]) => name !== "gateway")
    .map(([name, values]) => compared(what, unit, ours, { ...distribution(values), what: titles[name] }, most[name]));
}

const whereIs = (port: number): string[] => ["-h", "127.0.0.1", "-p", String(port), "-U", "app", "app"];

async function startPgbouncer(program: string, site: Site, { after }: Setting): Promise<Way> {
  const folder = join(site.cluster.folder, "pgbouncer");
  mkdirSync(folder);
  const port = await freePort();
  writeFileSync(join(folder, "users.txt"), `"app" "${PASSWORD}"\n`);
  const settings = {
    listen_addr: "127.0.0.1",
    listen_port: port,
    unix_socket_dir: "",
    auth_type: "scram-sha-256",
    auth_file: join(folder, "users.txt"),
    pool_mode: "session",
    default_pool_size: 50,
    max_client_conn: 200,
    logfile: join(folder, "log"),
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
  const database = `[databases]\napp = host=127.0.0.1 port=${site.cluster.port}\n[pgbouncer]\n`;
  writeFileSync(join(folder, "pgbouncer.ini"), `${database}${lines.join("\n")}\n`);
  const isRoot = process.getuid?.() === 0;
  // It does not run as root.
  if (isRoot) execFileSync("chown", ["-R", "postgres", folder]);
  const child = spawn(program, ["-q", ...(isRoot ? ["-u", "postgres"] : []), join(folder, "pgbouncer.ini")], {
    stdio: "ignore",
  });
  after(async () => void child.kill());
  for (let tries = 0; ; tries++) {
    const answers = await site.connect({ port }).catch((error: Error) => error);
    if (!(answers instanceof Error)) {
      await answers.end();
      return { name: "pgbouncer", port, pid: child.pid ?? null };
    }
    if (tries > 50) throw new Error(`PgBouncer does not answer: ${answers.message}`);
    await sleep(100);
  }
}

/** What a process has used of the CPU since it started; 0 where that cannot be read. */
function cpuMs(pid: number): number {
  if (process.platform !== "linux") return 0;
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

function run(program: string, args: readonly string[]): Promise<string> {
  return new Promise((done, fail) => {
    const child = spawn(program, args, { env: { PATH: process.env.PATH, PGPASSWORD: PASSWORD } });
    let said = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => {
        said += chunk;
      });
    child.once("error", fail);
    child.once("close", (code) =>
      code === 0 ? done(said) : fail(new Error(`${program} ended with ${code}: ${said}`)),
    );
  });
}
