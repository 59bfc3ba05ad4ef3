import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { KEEPER_DEFAULT_PORT } from "../../contract/keeper.ts";
import type { TokenCreated } from "../../contract/token.ts";
import { Api } from "../api.ts";
import { Failure } from "../failure.ts";
import { LISTEN_FD } from "../given-socket.ts";
import { CONTROL_FD, type ListenMessage, onListening } from "../listen-message.ts";
import { PROJECT } from "./bundle.ts";
import { type Child, type ChildSpec, endedText, startChild } from "./child.ts";
import { type HeldPort, holdPort } from "./held-port.ts";
import { requireFreePort } from "./port-holder.ts";

/** What databases need beside an agent with PostgreSQL: one keeper, which is on this machine only, and one gateway. */
export type DatabasePlan = {
  dataDir: string;
  keeper: { held: HeldPort; token: string };
  /** `host` is where the gateway listens; `address` where clients here reach it. */
  gateway: { host: string; held: HeldPort; address: string };
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
  // Whoever takes any port for the gateway leaves the usual ones to others.
  const [held, ofKeeper] = await Promise.all([
    holdPort(host, asked ?? lastPort(kept) ?? GATEWAY_PORT),
    holdPort(LOCAL, asked === 0 ? 0 : KEEPER_DEFAULT_PORT),
  ]);
  const { port } = held;
  // Connection strings that were handed out have it in them.
  writeFileSync(kept, `${port}\n`, { mode: 0o600 });
  const shown = host === "0.0.0.0" ? LOCAL : host === "::" ? "::1" : host;
  return {
    dataDir,
    keeper: { held: ofKeeper, token: keptToken(join(dataDir, "keeper-token")) },
    gateway: { host, held, address: `${bracketed(shown)}:${port}` },
  };
}

/** What the control plane is told of them. Whoever may listen on the keeper's port later: only that certificate is told the token. */
export const databaseVariables = ({ keeper, gateway }: DatabasePlan, fingerprint: string): Record<string, string> => ({
  KEEPERS: `keeper=https://:${keeper.token}@${LOCAL}:${keeper.held.port}#${fingerprint}`,
  GATEWAY_ADDRESS: gateway.address,
});

/** Both go on listening where they run. */
export function releasePorts({ keeper, gateway }: DatabasePlan): void {
  keeper.held.close();
  gateway.held.close();
}

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

export async function startKeeper({ dataDir, keeper }: DatabasePlan): Promise<{ child: Child; fingerprint: string }> {
  const [command, ...args] = keeperCommandLine(dataDir) as [string, ...string[]];
  const { child, message } = await startListening("keeper", keeper.held, {
    command,
    args: [...args, "--tls", "--listen", `${LOCAL}:${keeper.held.port}`],
    // In the environment, where other users of this machine cannot read it as they can a command line.
    env: { ...process.env, LAMPLIGHTER_KEEPER_TOKEN: keeper.token },
    cwd: PROJECT,
    logPath: join(dataDir, "logs", "keeper.log"),
  });
  return { child, fingerprint: message.fingerprint ?? "" };
}

export async function startGateway({ dataDir, gateway }: DatabasePlan, api: Api, signal: AbortSignal): Promise<Child> {
  const [command, ...args] = gatewayCommandLine(dataDir) as [string, ...string[]];
  const { host, held } = gateway;
  const isLocal = host === LOCAL || host === "::1" || host === "localhost";
  const token = await gatewayToken(join(dataDir, "gateway-token"), api, signal);
  const { child } = await startListening("gateway", held, {
    command,
    args: [
      ...args,
      ...["--url", api.url, "--name", "local", "--listen", `${bracketed(host)}:${held.port}`],
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

/** Only the child itself can say that it listens: whoever answers on its port may be somebody else. */
async function startListening(
  name: string,
  { fd: socket }: HeldPort,
  spec: ChildSpec,
): Promise<{ child: Child; message: ListenMessage }> {
  const listening = Promise.withResolvers<ListenMessage>();
  const env = { ...spec.env, [CONTROL_FD]: "3", ...(socket === null ? {} : { [LISTEN_FD]: "4" }) };
  const child = startChild({ ...spec, env, socket }, (stream) => onListening(stream, listening.resolve));
  const came = await Promise.race([listening.promise, child.exited, sleep(LISTENS_WITHIN_MS, null, { ref: false })]);
  if (came !== null && "port" in came) return { child, message: came };
  const details = child.logTail().split("\n");
  await child.stop(500);
  throw new Failure(`the ${name} ${came === null ? "does not answer" : `did not start: it ${endedText(came)}`}`, {
    details,
  });
}

const bracketed = (host: string): string => (host.includes(":") ? `[${host}]` : host);
