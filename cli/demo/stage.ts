import { chmodSync, copyFileSync, linkSync, mkdirSync, mkdtempSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Api } from "../api.ts";
import { Failure, Interrupted } from "../failure.ts";
import type { Child } from "../up/child.ts";
import { CONTROL_PLANE_GRACE_MS, type ControlPlane, startControlPlane } from "../up/control-plane.ts";
import {
  type DatabasePlan,
  databaseVariables,
  GATEWAY_GRACE_MS,
  KEEPER_GRACE_MS,
  planDatabases,
  releasePorts,
  startGateway,
  startKeeper,
} from "../up/databases.ts";
import { joinTokenOf } from "../up/join.ts";
import { AGENT_GRACE_MS, startAgent } from "../up/local-agent.ts";
import { processes, type Running } from "../up/process-table.ts";
import { newRootToken, tokenHash } from "../up/root-token.ts";
import { newSecretKey } from "../up/secret-keys.ts";
import { Receiver } from "./receiver.ts";

/** The demo's own machine room: a temporary folder, and the control plane and the agent that live in it. */
export class Stage {
  readonly folder: string;
  /** The programs that the workloads run, where the unprivileged user can read them. */
  readonly programs: { node: string; greeter: string; counter: string };
  readonly #signal: AbortSignal;
  readonly #token = newRootToken();
  readonly #secretKeys = newSecretKey("k1");
  #plane: ControlPlane | null = null;
  #receiver: Receiver | null = null;
  #databases: DatabasePlan | null = null;
  #keeper: { child: Child; fingerprint: string } | null = null;
  #agent: Child | null = null;
  #gateway: Child | null = null;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    this.folder = mkdtempSync(join(tmpdir(), "lamplighter-demo-"));
    // Workloads of an agent that is root run as somebody else, who must get to the programs.
    chmodSync(this.folder, 0o711);
    const programs = join(this.folder, "programs");
    mkdirSync(programs, { mode: 0o755 });
    const bring = (name: string) => {
      copyFileSync(fileURLToPath(new URL(name, import.meta.url)), join(programs, name));
      chmodSync(join(programs, name), 0o644);
      return join(programs, name);
    };
    this.programs = {
      node: process.getuid?.() === 0 ? bringNode(programs) : process.execPath,
      greeter: bring("greeter.mjs"),
      counter: bring("counter.mjs"),
    };
  }

  get plane(): ControlPlane {
    if (this.#plane === null) throw new Failure("the control plane is not started");
    return this.#plane;
  }

  get api(): Api {
    return new Api(this.plane.url, this.#token, this.#signal);
  }

  /** The second time, on the same port with the same state. */
  async startControlPlane(): Promise<ControlPlane> {
    const before = this.#plane;
    this.#databases ??= await planDatabases(this.folder, "127.0.0.1", 0);
    // Of which the control plane is told.
    this.#keeper ??= await startKeeper(this.#databases);
    this.#plane = await startControlPlane({
      dataDir: this.folder,
      port: before?.port ?? 0,
      tokenHash: tokenHash(this.#token),
      secretKeys: this.#secretKeys,
      // The receiver is on this machine.
      webhookTargets: "any",
      variables: databaseVariables(this.#databases, this.#keeper.fingerprint),
      ...(before === null ? {} : { modulePath: before.modulePath }),
    });
    return this.#plane;
  }

  async startAgent(name: string): Promise<Child> {
    this.#agent = startAgent({
      url: this.plane.url,
      dataDir: join(this.folder, "agent"),
      joinToken: await joinTokenOf(this.api),
      name,
      runtimes: ["process", "postgres"],
      logPath: join(this.folder, "logs", "agent.log"),
    });
    return this.#agent;
  }

  /** What databases need beside the agent; their keeper is there already. Answers where clients connect to. */
  async startDatabases(): Promise<{ address: string; keeper: Child; gateway: Child }> {
    const [plan, keeper] = [this.#databases, this.#keeper];
    if (plan === null || keeper === null) throw new Failure("the control plane is not started");
    this.#gateway = await startGateway(plan, this.api, this.#signal);
    return { address: plan.gateway.address, keeper: keeper.child, gateway: this.#gateway };
  }

  async startReceiver(): Promise<Receiver> {
    this.#receiver = await Receiver.start();
    return this.#receiver;
  }

  /** The processes that run the programs of workloads. */
  workloadProcesses(): Running[] {
    return processes().filter(({ command }) => command.includes(join(this.folder, "programs/")));
  }

  /** Where the host has what it keeps of a database. */
  databaseFolder(id: string): string {
    return join(this.folder, "agent", "postgres", "clusters", id);
  }

  /** The PostgreSQL of a database: one while it is awake. */
  postgresOf(id: string): Running[] {
    return this.#processesIn(this.databaseFolder(id));
  }

  /** What runs of an instance: engines, and what builds them. */
  programsOf(id: string): Running[] {
    return this.#processesIn(join(this.folder, "agent", "process", `${id}-`));
  }

  /** Every process of this stage: control plane, agent, workloads, and what stands by them. */
  allProcesses(): Running[] {
    return this.#processesIn(`${this.folder}/`);
  }

  #processesIn(place: string): Running[] {
    return processes().filter(
      ({ pid, command }) => pid !== process.pid && (command.includes(place) || workingFolder(pid).startsWith(place)),
    );
  }

  logTails(): string[] {
    const lines = (name: string, child: Child | undefined | null) =>
      (child?.logTail(6) ?? "").split("\n").map((line) => `${name}: ${line}`);
    return [
      ...lines("agent", this.#agent),
      ...lines("keeper", this.#keeper?.child),
      ...lines("gateway", this.#gateway),
      ...lines("control plane", this.#plane?.child),
    ].filter((line) => !line.endsWith(": "));
  }

  async stop(): Promise<void> {
    if (this.#databases !== null) releasePorts(this.#databases);
    await this.#gateway?.stop(GATEWAY_GRACE_MS);
    await this.#agent?.stop(AGENT_GRACE_MS);
    await this.#keeper?.child.stop(KEEPER_GRACE_MS);
    await this.#plane?.child.stop(CONTROL_PLANE_GRACE_MS);
    await this.#receiver?.close();
    this.#receiver = null;
  }

  /** Ends everything that was started here, whatever state it is in, and takes the folder away. */
  async clear(keep: boolean): Promise<void> {
    await this.stop();
    // Nothing is left after a story that held; after one that did not, its workloads go with it.
    for (let round = 0; round < 50 && this.allProcesses().length > 0; round++) {
      for (const { pid } of this.allProcesses()) {
        try {
          process.kill(pid, "SIGKILL");
        } catch {
          // It has just ended.
        }
      }
      await sleep(20);
    }
    if (!keep) rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Where that can be seen: not everything names its folder on its command line. */
function workingFolder(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return "";
  }
}

function bringNode(folder: string): string {
  const path = join(folder, "node");
  try {
    linkSync(process.execPath, path);
  } catch {
    copyFileSync(process.execPath, path);
  }
  chmodSync(path, 0o755);
  return path;
}

/** Asks again and again until there is an answer; says after `withinMs` what was still missing. */
export async function until<T>(
  signal: AbortSignal,
  withinMs: number,
  missing: () => string,
  ask: () => Promise<T | null>,
): Promise<T> {
  for (const deadline = Date.now() + withinMs; ; ) {
    if (signal.aborted) throw new Interrupted();
    const answer = await ask();
    if (answer !== null) return answer;
    if (Date.now() > deadline) throw new Failure(`${missing()} (waited ${withinMs / 1000} s)`);
    await sleep(15, undefined, { signal }).catch(() => undefined);
  }
}
