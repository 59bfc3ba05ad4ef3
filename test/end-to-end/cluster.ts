import { randomBytes } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import Docker from "dockerode";
import { inject } from "vitest";
import { outsideBase } from "../../agent/process/create.ts";
import { Folders } from "../../agent/process/folder.ts";
import { PROJECT } from "../../cli/up/bundle.ts";
import { type Child, startChild } from "../../cli/up/child.ts";
import { type ControlPlane, startControlPlane } from "../../cli/up/control-plane.ts";
import { agentCommandLine, startAgent } from "../../cli/up/local-agent.ts";
import { newRootToken, tokenHash } from "../../cli/up/root-token.ts";
import { secretKeys } from "../../cli/up/secret-keys.ts";
import type { Runtime } from "../../contract/workload.ts";
import { ensureTestImage } from "../docker-image.ts";
import { freePort } from "../free-port.ts";
import { type Part, requires } from "../requires.ts";
import { Client, until } from "./client.ts";
import { type Live, type Site, sweep, type World, world } from "./world.ts";

export type HostSpec = {
  name: string;
  transport?: "tunnel" | "call";
  labels?: Record<string, string>;
  runtimes?: Runtime[];
  /** What its agent's environment has beyond the test's. */
  env?: Record<string, string>;
  /** In a network of its own: how a program is run in there, where the control plane is from there, and under which address it is reached. */
  inside?: { run: readonly string[]; url: string; address: string };
};
export type ClusterOptions = {
  lostAfterMs?: number;
  docker?: Part | null;
  keepAnswers?: boolean;
  webhookTargets?: "public" | "any";
  variables?: Record<string, string>;
};

type Host = Site & { spec: HostSpec; port: number; agent: Child | null; bootBefore: string | null };

/** The container engine of this machine, or why the tests on it are left out. */
export const docker: Part = await requires("docker");

/** A real control plane and real agents, each a process of its own that can be killed at any moment, in a folder of their own. */
export class Cluster {
  readonly folder: string;
  readonly token = newRootToken();
  readonly client: Client;
  /** Nobody else's workloads are in it, nor its containers' network. */
  readonly namespace = `t${randomBytes(4).toString("hex")}`;
  readonly engine: Docker | null;
  readonly #options: ClusterOptions;
  readonly #hosts = new Map<string, Host>();
  readonly #onExit = () => this.#endChildren();
  #plane: ControlPlane | null = null;
  #port = 0;

  private constructor(options: ClusterOptions) {
    this.#options = options;
    this.engine = options.docker?.available ? new Docker({ socketPath: options.docker.path }) : null;
    this.folder = mkdtempSync(join(tmpdir(), "lamplighter-end-to-end-"));
    // Workloads of an agent that is root run as somebody else, who must get to their folders and may write marks.
    chmodSync(this.folder, 0o711);
    mkdirSync(this.marks, { mode: 0o777 });
    chmodSync(this.marks, 0o777);
    this.client = new Client(() => this.url, this.token, options.keepAnswers ? [] : null);
    process.once("exit", this.#onExit);
  }

  static async start(hosts: readonly HostSpec[], options: ClusterOptions = {}): Promise<Cluster> {
    const cluster = new Cluster(options);
    try {
      if (cluster.engine) await ensureTestImage(options.docker?.path as string);
      await cluster.startPlane();
      await Promise.all(hosts.map((host) => cluster.join(host)));
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** A folder in which workloads may leave a sign of themselves. */
  get marks(): string {
    return join(this.folder, "marks");
  }

  get sites(): Site[] {
    return [...this.#hosts.values()];
  }

  get names(): string[] {
    return [...this.#hosts.keys()];
  }

  get runtimes(): ("process" | "docker")[] {
    return this.engine ? ["process", "docker"] : ["process"];
  }

  async startPlane(): Promise<void> {
    if (this.#port === 0) this.#port = await freePort();
    this.#plane = await startControlPlane({
      dataDir: this.folder,
      port: this.#port,
      tokenHash: tokenHash(this.token),
      secretKeys: secretKeys(this.folder),
      ...(this.#options.lostAfterMs === undefined ? {} : { lostAfterMs: this.#options.lostAfterMs }),
      ...(this.#options.webhookTargets === undefined ? {} : { webhookTargets: this.#options.webhookTargets }),
      ...(this.#options.variables === undefined ? {} : { variables: this.#options.variables }),
      modulePath: this.#worker(),
    });
  }

  #worker(): string {
    const path = join(this.folder, "control-plane", "index.js");
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    if (!existsSync(path)) copyFileSync(inject("worker"), path);
    return path;
  }

  async killPlane(): Promise<void> {
    const plane = this.#plane;
    this.#plane = null;
    plane?.child.kill("SIGKILL");
    await plane?.child.exited;
  }

  /** To pause it, and let it go on. */
  get plane(): Child {
    if (this.#plane === null) throw new Error("the control plane does not run");
    return this.#plane.child;
  }

  /** Has a new host join, and waits until it is ready. */
  async join(spec: HostSpec): Promise<void> {
    await this.enrol(spec);
    await this.ready(spec.name);
  }

  /** Starts the agent of a new host, and does not wait for it. */
  async enrol(spec: HostSpec): Promise<void> {
    const dataDir = join(this.folder, spec.name);
    mkdirSync(dataDir, { mode: 0o711 });
    writeFileSync(join(dataDir, "policy.json"), JSON.stringify({ host_mounts: [this.marks] }));
    this.#hosts.set(spec.name, {
      name: spec.name,
      dataDir,
      spec,
      port: spec.transport === "call" ? await freePort() : 0,
      agent: null,
      bootBefore: null,
    });
    const answer = await this.client.send("POST", "/join-tokens", { body: { expires_in: "10m", uses: 1 } });
    this.startAgent(spec.name, (JSON.parse(answer.text) as { token: string }).token);
  }

  startAgent(name: string, joinToken?: string): void {
    const host = this.#host(name);
    const { transport = "tunnel", labels = {}, runtimes = this.runtimes, env = {}, inside } = host.spec;
    if (inside !== undefined) {
      const [command = "", ...args] = [...inside.run, ...agentCommandLine(host.dataDir)];
      const flags = { url: inside.url, runtime: runtimes.join(","), name, advertise: inside.address };
      host.agent = startChild({
        command,
        args: [...args, ...Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value])],
        env: { ...process.env, ...env, LAMPLIGHTER_JOIN_TOKEN: joinToken },
        cwd: PROJECT,
        logPath: this.logPath(name),
      });
      return;
    }
    host.agent = startAgent({
      url: this.url,
      dataDir: host.dataDir,
      joinToken,
      name,
      labels,
      runtimes,
      transport,
      env,
      ...(transport === "call" ? { listen: `127.0.0.1:${host.port}`, endpoint: `http://127.0.0.1:${host.port}` } : {}),
      logPath: this.logPath(name),
    });
  }

  async killAgent(name: string): Promise<void> {
    const { agent } = this.#host(name);
    this.#host(name).agent = null;
    agent?.kill("SIGKILL");
    await agent?.exited;
  }

  agent(name: string): Child {
    const { agent } = this.#host(name);
    if (agent === null) throw new Error(`the agent of ${name} does not run`);
    return agent;
  }

  /** Waits until the host is ready; an agent that was started again must have been heard, so that what is said of it is not of the past. */
  async ready(name: string): Promise<void> {
    const host = this.#host(name);
    let state = "has not joined";
    await until(
      () => `${name} is not ready: ${state}\n${this.logTail(name)}`,
      async () => {
        const view = (await this.client.hosts()).find((one) => one.name === name && one.status !== "removed");
        state = view === undefined ? "has not joined" : `${view.status}, ${view.message}`;
        if (view?.status !== "ready" || view.boot_id === host.bootBefore) return false;
        return true;
      },
    );
  }

  /** To be called before an agent is killed: from now on, only what a new start of it says counts as ready. */
  async noteBoots(): Promise<void> {
    for (const view of await this.client.hosts()) {
      const host = this.#hosts.get(view.name);
      if (host) host.bootBefore = view.boot_id;
    }
  }

  forgetBoot(name: string): void {
    this.#host(name).bootBefore = null;
  }

  world(): Promise<World> {
    return world(this.sites, this.engine);
  }

  async liveOf(deploymentId: string): Promise<Live[]> {
    const { live } = await this.world();
    return live
      .filter(({ workload }) => workload.startsWith(`${deploymentId}-`))
      .sort((a, b) => (a.instance < b.instance ? -1 : 1));
  }

  /** Ends an instance as an accident would. */
  async killInstance(live: Live): Promise<void> {
    if (live.key.startsWith("process ")) process.kill(live.pids[0] as number, "SIGKILL");
    else await this.engine?.getContainer(containerId(live)).kill();
  }

  /** Everything that runs on a host ends at one moment, and nothing of it is written down: its machine has died. */
  async killMachine(name: string): Promise<void> {
    const { live, shims } = await this.world();
    await this.killAgent(name);
    for (const { pid } of shims.filter(({ host }) => host === name)) process.kill(pid, "SIGKILL");
    await Promise.all(live.filter(({ host }) => host === name).map((one) => this.killInstance(one)));
  }

  logPath(name: string): string {
    return join(this.folder, "logs", `${name}.log`);
  }

  logTail(name: string, lines = 15): string {
    const path = this.logPath(name);
    return existsSync(path)
      ? readFileSync(path, "utf8")
          .trimEnd()
          .split("\n")
          .slice(-lines)
          .map((line) => `  ${name}: ${line}`)
          .join("\n")
      : "";
  }

  /** The files below the cluster's folder that hold a text, from there on. */
  filesWith(text: string): { path: string; mode: number }[] {
    const walk = (folder: string): string[] =>
      readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
        const path = join(folder, entry.name);
        return entry.isDirectory() ? walk(path) : entry.isFile() ? [path] : [];
      });
    return walk(this.folder).flatMap((path) => {
      try {
        return readFileSync(path).includes(text)
          ? [{ path: relative(this.folder, path), mode: statSync(path).mode }]
          : [];
      } catch {
        // It was a passing one.
        return [];
      }
    });
  }

  /** Ends everything, and takes away all that it left on this machine. */
  async close(): Promise<void> {
    process.off("exit", this.#onExit);
    this.#endChildren();
    await Promise.all([this.#plane?.child.exited, ...[...this.#hosts.values()].map(({ agent }) => agent?.exited)]);
    await sweep(this.sites, this.engine);
    await this.engine
      ?.getNetwork(`lamplighter_${this.namespace}`)
      .remove()
      .catch(() => undefined);
    for (const { dataDir } of this.sites) rmSync(outsideBase(new Folders(dataDir)), { recursive: true, force: true });
    if (process.env.LAMPLIGHTER_KEEP === "1") console.log(`kept: ${this.folder}`);
    else rmSync(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  }

  #endChildren(): void {
    this.#plane?.child.kill("SIGKILL");
    for (const { agent } of this.#hosts.values()) {
      agent?.kill("SIGCONT");
      agent?.kill("SIGKILL");
    }
  }

  #host(name: string): Host {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new Error(`there is no host ${name}`);
    return host;
  }
}

export const containerId = ({ key }: Live): string =>
  (/^container ([0-9a-f]+)@/.exec(key) as RegExpExecArray)[1] as string;
