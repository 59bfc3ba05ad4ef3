import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  CONTROL_PLANE_GRACE_MS,
  type ControlPlane,
  type ControlPlaneSettings,
  startControlPlane,
} from "../cli/up/control-plane.ts";
import { AGENT_GRACE_MS, startAgent } from "../cli/up/local-agent.ts";
import { newRootToken, tokenHash } from "../cli/up/root-token.ts";
import { secretKeys } from "../cli/up/secret-keys.ts";
import type { HostView } from "../contract/host.ts";
import type { TokenCreated } from "../contract/token.ts";
import type { Runtime } from "../contract/workload.ts";
import { Client } from "./client.ts";
import type { Setting } from "./figure.ts";

type Options = Pick<ControlPlaneSettings, "webhookTargets">;

const HOST_READY_WITHIN_MS = 60_000;

/** A control plane of our own, as `lamplighter up` starts it, in a temporary folder. */
export class Site {
  readonly folder = mkdtempSync(join(tmpdir(), "lamplighter-bench-"));
  readonly #token = newRootToken();
  readonly #options: Options;
  #plane: ControlPlane | null = null;
  #client: Client | null = null;

  private constructor(options: Options) {
    this.#options = options;
  }

  static async start(register: Setting["after"], options: Options = {}): Promise<Site> {
    const site = new Site(options);
    register(() => site.#clear());
    // Workloads of an agent that is root run as somebody else, who must get through to their folders.
    chmodSync(site.folder, 0o711);
    await site.startControlPlane();
    return site;
  }

  get client(): Client {
    if (this.#client === null) throw new Error("the control plane is not started");
    return this.#client;
  }

  get workerdPid(): number {
    return this.#plane?.child.pid ?? 0;
  }

  get stateDir(): string {
    return join(this.folder, "state");
  }

  /** Resolves when it answers. The second time on the same port, with the same state. */
  async startControlPlane(): Promise<void> {
    const before = this.#plane;
    this.#plane = await startControlPlane({
      dataDir: this.folder,
      port: before?.port ?? 0,
      tokenHash: tokenHash(this.#token),
      secretKeys: secretKeys(this.folder),
      ...this.#options,
      ...(before === null ? {} : { modulePath: before.modulePath }),
    });
    this.#client ??= new Client(this.#plane.url, this.#token);
  }

  async killControlPlane(): Promise<void> {
    this.#plane?.child.kill("SIGKILL");
    await this.#plane?.child.exited;
  }

  async joinToken(): Promise<string> {
    const body = { expires_in: "10m", uses: 1 };
    return (await this.client.json<TokenCreated>("POST", "/join-tokens", { body })).token;
  }

  /** A real agent as a process of its own; resolves when its host is ready. */
  async startAgent(runtimes: readonly Runtime[], register: Setting["after"]): Promise<HostView> {
    const agent = startAgent({
      url: this.client.url,
      dataDir: join(this.folder, "agent"),
      joinToken: await this.joinToken(),
      name: "bench",
      runtimes,
      logPath: join(this.folder, "logs", "agent.log"),
    });
    register(() => agent.stop(AGENT_GRACE_MS));
    for (const deadline = Date.now() + HOST_READY_WITHIN_MS; ; await sleep(50)) {
      const hosts = await this.client.json<HostView[]>("GET", "/hosts");
      const ready = hosts.find(({ status }) => status === "ready");
      if (ready && runtimes.every((wanted) => ready.runtimes.some(({ runtime }) => runtime === wanted))) return ready;
      if (Date.now() > deadline) throw new Error(`the agent is not ready: ${agent.logTail()}`);
    }
  }

  async #clear(): Promise<void> {
    this.#client?.close();
    await this.#plane?.child.stop(CONTROL_PLANE_GRACE_MS);
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
