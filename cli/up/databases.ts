import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { KEEPER_DEFAULT_PORT } from "../../contract/keeper.ts";
import type { TokenCreated } from "../../contract/token.ts";
import { Api } from "../api.ts";
import { Failure } from "../failure.ts";
import { PROJECT } from "./bundle.ts";
import { type Child, startChild } from "./child.ts";
import { requireFreePort } from "./port-holder.ts";

/** What databases need beside an agent with PostgreSQL: one keeper, which is on this machine only, and one gateway. */
export type DatabasePlan = {
  dataDir: string;
  keeper: { port: number; token: string };
  /** `host` is where the gateway listens; `address` where clients here reach it. */
  gateway: { host: string; port: number; address: string };
};

export const GATEWAY_PORT = 6432;
const LOCAL = "127.0.0.1";
const ANSWERS_WITHIN_MS = 15_000;

/** A gateway lets transactions end before it ends itself; a keeper has everything on its disk. */
const GATEWAY_DRAIN_S = 2;
export const GATEWAY_GRACE_MS = 5_000;
export const KEEPER_GRACE_MS = 5_000;

/** @param asked the gateway's port; without one it is that of the last time, or the usual, or another when that is taken */
export async function planDatabases(dataDir: string, host: string, asked: number | undefined): Promise<DatabasePlan> {
  if (asked !== undefined && asked !== 0) await requireFreePort(host, asked, "--gateway-port");
  const kept = join(dataDir, "gateway-port");
  const port = asked || (await freePort(host, asked ?? lastPort(kept) ?? GATEWAY_PORT));
  // Connection strings that were handed out have it in them.
  writeFileSync(kept, `${port}\n`, { mode: 0o600 });
  // Whoever takes any port for the gateway leaves the usual ones to others.
  const keeperPort = asked === 0 ? 0 : KEEPER_DEFAULT_PORT;
  const shown = host === "0.0.0.0" ? LOCAL : host === "::" ? "::1" : host;
  return {
    dataDir,
    keeper: { port: await freePort(LOCAL, keeperPort), token: keptToken(join(dataDir, "keeper-token")) },
    gateway: { host, port, address: `${bracketed(shown)}:${port}` },
  };
}

/** What the control plane is told of them. */
export const databaseVariables = ({ keeper, gateway }: DatabasePlan): Record<string, string> => ({
  KEEPERS: `keeper=http://:${keeper.token}@${LOCAL}:${keeper.port}`,
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

export async function startKeeper({ dataDir, keeper }: DatabasePlan): Promise<Child> {
  const [command, ...args] = keeperCommandLine(dataDir) as [string, ...string[]];
  const child = startChild({
    command,
    args: [...args, "--listen", `${LOCAL}:${keeper.port}`],
    // In the environment, where other users of this machine cannot read it as they can a command line.
    env: { ...process.env, LAMPLIGHTER_KEEPER_TOKEN: keeper.token },
    cwd: PROJECT,
    logPath: join(dataDir, "logs", "keeper.log"),
  });
  await answers(child, "keeper", LOCAL, keeper.port);
  return child;
}

export async function startGateway({ dataDir, gateway }: DatabasePlan, api: Api, signal: AbortSignal): Promise<Child> {
  const [command, ...args] = gatewayCommandLine(dataDir) as [string, ...string[]];
  const { host, port } = gateway;
  const isLocal = host === LOCAL || host === "::1" || host === "localhost";
  const token = await gatewayToken(join(dataDir, "gateway-token"), api, signal);
  const child = startChild({
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
  await answers(child, "gateway", host === "0.0.0.0" ? LOCAL : host, port);
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

/** The preferred port when nothing listens there, else any. */
async function freePort(host: string, preferred: number): Promise<number> {
  return (await listenOnce(host, preferred)) ?? (await listenOnce(host, 0)) ?? preferred;
}

function listenOnce(host: string, port: number): Promise<number | null> {
  return new Promise((done) => {
    const server = createServer();
    server.once("error", () => done(null));
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address();
      server.close(() => done(typeof address === "object" && address !== null ? address.port : null));
    });
  });
}

async function answers(child: Child, name: string, host: string, port: number): Promise<void> {
  for (const deadline = Date.now() + ANSWERS_WITHIN_MS; ; ) {
    const isThere = await new Promise<boolean>((done) => {
      const socket = connect({ host, port });
      socket.once("connect", () => done(true));
      socket.once("error", () => done(false));
      socket.once("close", () => socket.destroy());
      socket.once("connect", () => socket.destroy());
    });
    if (isThere) return;
    const ended = await Promise.race([child.exited, sleep(50, null)]);
    if (ended === null && Date.now() < deadline) continue;
    const details = child.logTail().split("\n");
    await child.stop(500);
    throw new Failure(`the ${name} ${ended === null ? "does not answer" : "did not start"}`, { details });
  }
}

const bracketed = (host: string): string => (host.includes(":") ? `[${host}]` : host);
