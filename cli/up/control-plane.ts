import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../failure.ts";
import { onListening } from "../listen-message.ts";
import { bundleWorker } from "./bundle.ts";
import { type Child, endedText, startChild } from "./child.ts";
import { serveConfig } from "./serve-config.ts";

/** The package is CommonJS, and what it exports as its default is the path of the program for this platform. */
const { default: workerd } = createRequire(import.meta.url)("workerd") as { default: string };

export type ControlPlaneSettings = {
  /** Holds the bundle, the configuration, the log, and under `state` everything that is to be kept. */
  dataDir: string;
  host?: string;
  /** 0: a free one. */
  port: number;
  /** Lower-case hex SHA-256 of the root token. */
  tokenHash: string;
  /** What secrets are sealed with; without it none can be kept. */
  secretKeys?: string;
  /** When a silent host counts as lost; a minute when absent. */
  lostAfterMs?: number;
  variables?: Record<string, string>;
  webhookTargets?: "public" | "any";
  /** The bundle of an earlier start, to save making it again. */
  modulePath?: string;
};

export type ControlPlane = { url: string; port: number; modulePath: string; child: Child };

/** As many open files as the system allows: a Durable Object with SQLite keeps three. `exec` keeps the process id. */
const WITH_OPEN_FILES = 'ulimit -n "$(ulimit -Hn)" 2>/dev/null || ulimit -n 65536 2>/dev/null; exec "$0" "$@"';

const STARTS_WITHIN_MS = 30_000;
/** How long requests that are under way may take once it has been asked to stop. What it has answered is on disk already. */
export const CONTROL_PLANE_GRACE_MS = 1_000;

export const configPath = (dataDir: string): string => join(resolve(dataDir), "control-plane", "config.capnp");

/** Starts the control plane as a process of its own (`workerd serve`), and answers when it does. */
export async function startControlPlane(settings: ControlPlaneSettings): Promise<ControlPlane> {
  const dataDir = resolve(settings.dataDir);
  const host = settings.host ?? "127.0.0.1";
  const stateDir = join(dataDir, "state");
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const modulePath = settings.modulePath ?? (await bundleWorker(join(dataDir, "control-plane")));
  const config = configPath(dataDir);
  // workerd takes an embedded file's path from the configuration's folder.
  writeFileSync(
    config,
    serveConfig({
      modulePath: relative(dirname(config), modulePath),
      stateDir,
      host,
      port: settings.port,
      tokenHash: settings.tokenHash,
      secretKeys: settings.secretKeys,
      lostAfterMs: settings.lostAfterMs,
      variables: settings.variables,
      webhookTargets: settings.webhookTargets,
    }),
    { mode: 0o600 },
  );
  const listening = Promise.withResolvers<number>();
  const child = startChild(
    {
      command: "/bin/sh",
      args: ["-c", WITH_OPEN_FILES, workerd, "serve", "--control-fd=3", config],
      cwd: dataDir,
      logPath: join(dataDir, "logs", "control-plane.log"),
    },
    (stream) => onListening(stream, ({ port }) => listening.resolve(port)),
  );
  const port = await Promise.race([listening.promise, child.exited, sleep(STARTS_WITHIN_MS, null, { ref: false })]);
  if (typeof port !== "number") throw await startFailure(child, port === null ? "did not start" : endedText(port));
  const url = `http://${urlHost(host)}:${port}`;
  await untilHealthy(url, child);
  return { url, port, modulePath, child };
}

/** What a client on this machine puts into a URL for an address that is listened on. */
function urlHost(host: string): string {
  if (host === "0.0.0.0" || host === "*") return "127.0.0.1";
  if (host === "::") return "[::1]";
  return host.includes(":") ? `[${host}]` : host;
}

async function untilHealthy(url: string, child: Child): Promise<void> {
  let ended = "";
  void child.exited.then((how) => {
    ended = endedText(how);
  });
  const deadline = Date.now() + STARTS_WITHIN_MS;
  for (let why = ""; ; ) {
    try {
      const response = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(5000) });
      const body = await response.text();
      if (response.ok) return;
      why = `/healthz answered ${response.status}: ${body.slice(0, 200)}`;
    } catch (error) {
      why = String((error as Error).cause ?? error);
    }
    if (ended !== "") throw await startFailure(child, ended);
    if (Date.now() > deadline) throw await startFailure(child, `does not answer (${why})`);
    await sleep(20);
  }
}

async function startFailure(child: Child, what: string): Promise<Failure> {
  await child.stop(500);
  const said = child.logTail();
  return new Failure(`the control plane (workerd) ${what}`, { details: said === "" ? [] : said.split("\n") });
}
