import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { HostView } from "../../contract/host.ts";
import type { Runtime } from "../../contract/workload.ts";
import { Api } from "../api.ts";
import { readContexts, writeContexts } from "../contexts.ts";
import { Failure } from "../failure.ts";
import { Progress } from "../progress.ts";
import type { Surroundings } from "../session.ts";
import { oneLine } from "../terminal.ts";
import { banner } from "./banner.ts";
import type { Child } from "./child.ts";
import { CONTROL_PLANE_GRACE_MS, startControlPlane } from "./control-plane.ts";
import { agentDir, holdDataFolder, makeDataFolder, tokenPath } from "./data-folder.ts";
import {
  databaseVariables,
  GATEWAY_GRACE_MS,
  KEEPER_GRACE_MS,
  planDatabases,
  releasePorts,
  startGateway,
  startKeeper,
} from "./databases.ts";
import { watchHost } from "./host-watch.ts";
import { joinTokenFor } from "./join.ts";
import { stopLeftovers } from "./leftovers.ts";
import { AGENT_GRACE_MS, startAgent } from "./local-agent.ts";
import { parentDied } from "./parent.ts";
import { requireFreePort } from "./port-holder.ts";
import { rootToken, tokenHash } from "./root-token.ts";
import { parseRuntimes, presentRuntimes } from "./runtimes.ts";
import { secretKeys } from "./secret-keys.ts";
import { operatorVariables } from "./serve-config.ts";
import { type Supervised, supervise } from "./supervise.ts";

export type UpOptions = {
  port: number;
  host: string;
  data: string;
  token?: string;
  runtime?: string;
  agent: boolean;
  databases: boolean;
  gatewayPort?: number;
  postgresBin?: string[];
  postgresImage?: string;
  allowPrivateWebhooks?: boolean;
};

/** The name of the one agent that `up` runs. */
const LOCAL = "local";
const HOST_READY_WITHIN_MS = 60_000;

/** Runs everything until it is interrupted. What it has started it ends, also when a start fails half way; workloads are left running. */
export async function up(options: UpOptions, around: Surroundings): Promise<void> {
  const { terminal, interrupt } = around;
  const started = around.now();
  const progress = new Progress(terminal);
  const say = (line: string) =>
    progress.note(`${terminal.errColor.dim(new Date(around.now()).toTimeString().slice(0, 8))} ${line}`);
  const stops: (() => Promise<void>)[] = [];
  let began = false;
  let release = () => {};
  const ending = new AbortController();
  const signal = AbortSignal.any([interrupt.signal, ending.signal]);
  const over = Promise.race([aborted(interrupt.signal), parentDied(signal)]);
  makeDataFolder(options.data);
  const held = await holdDataFolder(options.data, `http://${options.host}:${options.port}`);
  try {
    const stopped = await stopLeftovers(options.data, agentDir(options.data));
    if (stopped > 0)
      say(`stopped ${stopped} ${stopped === 1 ? "process" : "processes"} that an earlier run had left behind`);
    const runtimes = options.runtime === undefined ? await presentRuntimes() : parseRuntimes(options.runtime);
    // Without an agent of this machine nothing here would use a keeper that only this machine can reach.
    const databases =
      options.agent && options.databases && runtimes.includes("postgres")
        ? await planDatabases(options.data, options.host, options.gatewayPort)
        : null;
    if (databases !== null) release = () => releasePorts(databases);
    const token = rootToken(options.data, options.token);
    await requireFreePort(options.host, options.port, "--port");

    let own: Record<string, string> = {};
    if (databases !== null) {
      progress.update("starting the keeper");
      const { child, fingerprint } = await startKeeper(databases);
      const start = async () => (await startKeeper(databases)).child;
      const keeper = supervise({ name: "keeper", first: child, start, say });
      stops.push(() => keeper.stop(KEEPER_GRACE_MS));
      own = databaseVariables(databases, fingerprint);
    }
    progress.update("starting the control plane");
    const variables = { ...own, ...operatorVariables(around.env) };
    const settings = () => ({
      dataDir: options.data,
      host: options.host,
      tokenHash: tokenHash(token),
      secretKeys: secretKeys(options.data),
      variables,
      webhookTargets: options.allowPrivateWebhooks === true ? ("any" as const) : ("public" as const),
    });
    const plane = await startControlPlane({ ...settings(), port: options.port });
    const { url, port, modulePath } = plane;
    const again = async () => (await startControlPlane({ ...settings(), port, modulePath })).child;
    const control = supervise({ name: "control plane", first: plane.child, start: again, say });
    stops.push(() => control.stop(CONTROL_PLANE_GRACE_MS));
    const api = new Api(url, token, signal);
    let host: HostView | null = null;
    if (options.agent) {
      progress.update("starting the agent");
      const agent = await superviseAgent(options, api, runtimes, say);
      stops.unshift(() => agent.stop(AGENT_GRACE_MS));
      host = await Promise.race([hostReady(api, agent, progress), over.then(() => null)]);
    }
    if (databases !== null && !interrupt.signal.aborted) {
      progress.update("starting the gateway");
      const start = () => startGateway(databases, api, signal);
      const gateway = supervise({ name: "gateway", first: await start(), start, say });
      stops.unshift(() => gateway.stop(GATEWAY_GRACE_MS));
    }
    progress.clear();
    if (!interrupt.signal.aborted) {
      const context = registerContext(around, url, token);
      terminal.out(
        banner(
          {
            url,
            token,
            tokenFile: tokenPath(options.data),
            dataDir: options.data,
            host,
            gateway: databases?.gateway.address ?? null,
            context,
            tookMs: around.now() - started,
          },
          terminal,
        ),
      );
      if (host !== null) void watchHost(api, host, say, signal);
      began = true;
      await over;
    }
  } finally {
    progress.clear();
    ending.abort();
    held.stopping();
    release();
    for (const stop of stops) await stop();
    held.release();
    interrupt.handled = true;
    if (began || interrupt.signal.aborted)
      terminal.err("Stopped. Workloads go on running; `up` takes them up again.\n");
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) done();
    signal.addEventListener("abort", () => done(), { once: true });
  });
}

async function superviseAgent(
  { data: dataDir, postgresBin, postgresImage }: UpOptions,
  api: Api,
  runtimes: readonly Runtime[],
  say: (line: string) => void,
): Promise<Supervised> {
  const folder = agentDir(dataDir);
  const start = async (): Promise<Child> => {
    const joinToken = await joinTokenFor(folder, api, say);
    return startAgent({
      url: api.url,
      dataDir: folder,
      joinToken,
      name: LOCAL,
      runtimes,
      postgresBin,
      postgresImage,
      logPath: join(dataDir, "logs", "agent.log"),
    });
  };
  return supervise({ name: "agent", first: await start(), start, say, isFinal: ({ code }) => code === 0 });
}

/** Waits until the agent has joined, has put away what should not run here, and is ready for more. */
async function hostReady(api: Api, agent: Supervised, progress: Progress): Promise<HostView> {
  const deadline = Date.now() + HOST_READY_WITHIN_MS;
  for (;;) {
    const { text } = await api.get("/hosts", { query: { limit: 1000 } });
    const host = (JSON.parse(text) as HostView[]).find((one) => one.name === LOCAL && one.status !== "removed");
    // After a kill it may still be called ready from before; only a connected one has been seen.
    const now = host?.status === "ready" ? await readHost(api, host.id) : null;
    if (now?.status === "ready" && now.last_seen_at !== null) return now;
    progress.update(
      `waiting for the agent: ${host === undefined ? "joining" : `${host.status}, ${oneLine(host.message)}`}`,
    );
    if (Date.now() > deadline) throw agentFailure(agent, `is not ready after ${HOST_READY_WITHIN_MS / 1000} s`);
    const ended = await Promise.race([agent.child().exited, sleep(50, null)]);
    if (ended !== null) throw agentFailure(agent, "did not start");
  }
}

async function readHost(api: Api, id: string): Promise<HostView> {
  return JSON.parse((await api.get(`/hosts/${id}`)).text) as HostView;
}

function agentFailure(agent: Supervised, what: string): Failure {
  return new Failure(`the agent ${what}`, { details: agent.child().logTail().split("\n") });
}

/** Lets the CLI find this server without being told. Answers what a command needs to use it, if anything. */
function registerContext({ env, terminal }: Surroundings, url: string, token: string): string | null {
  try {
    const file = readContexts(env);
    const own = file.contexts[LOCAL] === undefined || file.contexts[LOCAL].by === "up";
    if (!own) return null;
    writeContexts(env, {
      current: file.current ?? LOCAL,
      contexts: { ...file.contexts, [LOCAL]: { url, token, by: "up" } },
    });
    return file.current === null || file.current === LOCAL ? "" : ` -c ${LOCAL}`;
  } catch (error) {
    terminal.err(`The context ${LOCAL} could not be written: ${(error as Error).message}\n`);
    return null;
  }
}
