import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { KEEPER_DEFAULT_PORT } from "../../contract/keeper.ts";
import type { TokenCreated } from "../../contract/token.ts";
import { Api } from "../api.ts";
import { Failure } from "../failure.ts";
import { CONTROL_FD, type ListenMessage, onListening } from "../listen-message.ts";
import { PROJECT } from "./bundle.ts";
import { type Child, type ChildSpec, endedText, startChild } from "./child.ts";
import { requireFreePort } from "./port-holder.ts";

/** What databases need beside an agent with PostgreSQL: one keeper, which is on this machine only, and one gateway. */
export type DatabasePlan = {
  dataDir: string;
  keeper: { port: number; token: string };
  /** `host` is where the gateway listens; `address` where clients here reach it. The port is held until the gateway starts. */
  gateway: { host: string; port: number; address: string; held: Server };
};

export const GATEWAY_PORT = 6432;
const LOCAL = "127.0.0.1";
const LISTENS_WITHIN_MS = 30_000;

/** A gateway lets transactions end before it ends itself; a keeper has everything on its disk. */
const GATEWAY_DRAIN_S = 2;
export const GATEWAY_GRACE_MS = 5_000;
export const KEEPER_GRACE_MS = 5_000;

/** @param asked the gateway's port; without one it is that of the last time, or the usual, or another when that is taken */
export async function planDatabases(dataDir: string, host: string, asked: number | undefined): Promise<DatabasePlan> {
  if (asked !== undefined && asked !== 0) await requireFreePort(host, asked, "--gateway-port");
  const kept = join(dataDir, "gateway-port");
  const held = await holdPort(host, asked ?? lastPort(kept) ?? GATEWAY_PORT);
  const { port } = held;
  // Connection strings that were handed out have it in them.
  writeFileSync(kept, `${port}\n`, { mode: 0o600 });
  // Whoever takes any port for the gateway leaves the usual ones to others.
  const keeperPort = asked === 0 ? 0 : KEEPER_DEFAULT_PORT;
  const shown = host === "0.0.0.0" ? LOCAL : host === "::" ? "::1" : host;
  return {
    dataDir,
    keeper: { port: keeperPort, token: keptToken(join(dataDir, "keeper-token")) },
    gateway: { host, port, address: `${bracketed(shown)}:${port}`, held: held.server },
  };
}

/** What the control plane is told of them. Whoever may listen on the keeper's port later: only that certificate is told the token. */
export const databaseVariables = ({ keeper, gateway }: DatabasePlan, at: KeeperPlace): Record<string, string> => ({
  KEEPERS: `keeper=https://:${keeper.token}@${LOCAL}:${at.port}#${at.fingerprint}`,
  GATEWAY_ADDRESS: gateway.address,
});

/** How the programs of this folder are known when an earlier run has left them behind. */
export const keeperCommandLine = (dataDir: string) => commandLine("keeper", join(dataDir, "keeper"));
export const gatewayCommandLine = (dataDir: string) => commandLine("gateway", join(dataDir, "gateway"));

const commandLine = (program: string, folder: string): readonly string[] => [
  process.execPath,
  join(PROJECT, "cli", "main.ts"),
  program,
  "--data",
  resolve(folder),
];

/** Where a keeper has come to listen. */
export type KeeperPlace = { port: number; fingerprint: string };

/** The first start, of which the control plane is told: on the usual port, or on another one when that is taken. */
export async function firstKeeper(plan: DatabasePlan): Promise<{ child: Child; at: KeeperPlace }> {
  const { keeper } = plan;
  const port = (await freePort(LOCAL, keeper.port)) ?? 0;
  // Between the look and the start somebody else may have taken it.
  return launchKeeper(plan, port).catch((error) => {
    if (port === 0) throw error;
    return launchKeeper(plan, 0);
  });
}

export async function startKeeper(plan: DatabasePlan, at: KeeperPlace): Promise<Child> {
  return (await launchKeeper(plan, at.port)).child;
}

async function launchKeeper(
  { dataDir, keeper }: DatabasePlan,
  port: number,
): Promise<{ child: Child; at: KeeperPlace }> {
  const [command, ...args] = keeperCommandLine(dataDir) as [string, ...string[]];
  const { child, message } = await startListening("keeper", {
    command,
    args: [...args, "--tls", "--listen", `${LOCAL}:${port}`],
    // In the environment, where other users of this machine cannot read it as they can a command line.
    env: { ...process.env, LAMPLIGHTER_KEEPER_TOKEN: keeper.token },
    cwd: PROJECT,
    logPath: join(dataDir, "logs", "keeper.log"),
  });
  return { child, at: { port: message.port, fingerprint: message.fingerprint ?? "" } };
}

export async function startGateway({ dataDir, gateway }: DatabasePlan, api: Api, signal: AbortSignal): Promise<Child> {
  const [command, ...args] = gatewayCommandLine(dataDir) as [string, ...string[]];
  const { host, port } = gateway;
  const isLocal = host === LOCAL || host === "::1" || host === "localhost";
  const token = await gatewayToken(join(dataDir, "gateway-token"), api, signal);
  await new Promise((done) => gateway.held.close(done));
  const { child } = await startListening("gateway", {
    command,
    args: [
      ...args,
      ...["--url", api.url, "--name", "local", "--listen", `${bracketed(host)}:${port}`],
      // What does not leave this machine need not be encrypted.
      ...["--tls", isLocal ? "allow" : "require"],
      ...["--drain", `${GATEWAY_DRAIN_S}s`],
    ],
    env: { ...process.env, LAMPLIGHTER_TOKEN: token },
    cwd: PROJECT,
    logPath: join(dataDir, "logs", "gateway.log"),
  });
  return child;
}

/** A token that can do nothing but what a gateway does. The control plane's state may have been thrown away since it was made. */
async function gatewayToken(path: string, api: Api, signal: AbortSignal): Promise<string> {
  const kept = existsSync(path) ? readFileSync(path, "utf8").trim() : "";
  if (kept !== "") {
    const known = await new Api(api.url, kept, signal).get("/whoami").catch(() => null);
    if (known !== null) return kept;
  }
  const { text } = await api.post("/tokens", { body: { name: "local-gateway", scopes: ["databases:connect"] } });
  const { token } = JSON.parse(text) as TokenCreated;
  writeFileSync(path, `${token}\n`, { mode: 0o600 });
  return token;
}

function lastPort(path: string): number | null {
  return existsSync(path) ? Number(readFileSync(path, "utf8")) || null : null;
}

function keptToken(path: string): string {
  const kept = existsSync(path) ? readFileSync(path, "utf8").trim() : "";
  if (kept !== "") return kept;
  const token = randomBytes(24).toString("hex");
  writeFileSync(path, `${token}\n`, { mode: 0o600 });
  return token;
}

/** Listens on the preferred port, or on any when that is taken, so that nobody else takes it; who connects is turned away. */
async function holdPort(host: string, preferred: number): Promise<{ server: Server; port: number }> {
  const server = (await listenOn(host, preferred)) ?? (await listenOn(host, 0));
  if (server === null) throw new Failure(`no port of ${host} can be listened on`, { hint: "Look at --host." });
  return { server: server.unref(), port: portOf(server) };
}

/** The preferred port when nothing listens there. */
async function freePort(host: string, preferred: number): Promise<number | null> {
  const server = await listenOn(host, preferred);
  if (server === null) return null;
  await new Promise((done) => server.close(done));
  return preferred;
}

function listenOn(host: string, port: number): Promise<Server | null> {
  return new Promise((done) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", () => done(null));
    server.listen({ host, port, exclusive: true }, () => done(server));
  });
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** Only the child itself can say that it listens: whoever answers on its port may be somebody else. */
async function startListening(name: string, spec: ChildSpec): Promise<{ child: Child; message: ListenMessage }> {
  const listening = Promise.withResolvers<ListenMessage>();
  const env = { ...spec.env, [CONTROL_FD]: "3" };
  const child = startChild({ ...spec, env }, (stream) => onListening(stream, listening.resolve));
  const came = await Promise.race([listening.promise, child.exited, sleep(LISTENS_WITHIN_MS, null, { ref: false })]);
  if (came !== null && "port" in came) return { child, message: came };
  const details = child.logTail().split("\n");
  await child.stop(500);
  throw new Failure(`the ${name} ${came === null ? "does not answer" : `did not start: it ${endedText(came)}`}`, {
    details,
  });
}

const bracketed = (host: string): string => (host.includes(":") ? `[${host}]` : host);
