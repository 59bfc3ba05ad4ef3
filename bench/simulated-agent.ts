import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { enrol } from "../agent/identity.ts";
import { Conversation } from "../agent/link/conversation.ts";
import { Outbox } from "../agent/link/outbox.ts";
import type { Peer } from "../agent/link/peer.ts";
import { Tunnel } from "../agent/link/tunnel.ts";
import { importPrivateKey, importPublicKey } from "../contract/envelope.ts";
import { PROTOCOL } from "../contract/frame.ts";
import type { HostView } from "../contract/host.ts";
import { ulid } from "../contract/id.ts";
import type { Observation, Workload } from "../contract/workload.ts";
import type { Setting } from "./figure.ts";
import type { Site } from "./site.ts";

const TERABYTE = 1024 ** 4;

/**
 * An agent that runs nothing. The link is the real agent's own: its tunnel, its signed frames, its order of telling; only the runtimes are
 * left out, and what should run is said to run at once.
 */
export class SimulatedAgent {
  readonly hostId: string;
  /** What is said of a workload that should run. */
  #becomes: "running" | "preparing" = "running";
  readonly #seen = new Map<string, Observation>();
  readonly #outbox: Outbox;

  private constructor(peer: Peer, register: Setting["after"]) {
    this.hostId = peer.hostId;
    const profile = {
      runtimes: [{ runtime: "process" as const, version: "simulated" }],
      capacity: { memory_bytes: TERABYTE, cpu_millis: 1_000_000 },
      policy: { privileged: false, host_network: false, host_mounts: [], images: [] },
    };
    this.#outbox = new Outbox({
      hello: () => ({ kind: "hello", protocol: PROTOCOL, boot_id: peer.bootId, agent_version: "bench", ...profile }),
      facts: () => ({ kind: "facts", ...profile }),
      inventory: () => [...this.#seen.values()],
      health: () => [],
      renewal: () => null,
      observation: (id) => this.#seen.get(id) ?? null,
    });
    const conversation = new Conversation({
      accept: (workloads) => this.#take(workloads),
      acceptAll: (revision, workloads) => {
        const named = new Set(workloads.map(({ id }) => id));
        for (const id of this.#seen.keys()) if (!named.has(id)) this.#seen.delete(id);
        this.#take(workloads);
        this.#outbox.settled(revision);
      },
      answer: async (op, _question, emit) => {
        await emit({ kind: "end", op, error: { code: "unsupported", message: "a simulated agent" } });
      },
      renewed: () => {},
      dismissed: () => {},
    });
    const tunnel = new Tunnel({ peer, outbox: this.#outbox, conversation, log: () => {} });
    register(() => tunnel.close());
  }

  /** Joins, and resolves when its host is ready. */
  static async start(site: Site, register: Setting["after"]): Promise<SimulatedAgent> {
    const { url } = site.client;
    const dataDir = join(site.folder, "simulated-agent");
    mkdirSync(dataDir, { mode: 0o700 });
    const joinToken = await site.joinToken();
    const identity = await enrol({
      dataDir,
      url,
      joinToken,
      name: "simulated",
      labels: {},
      transport: "tunnel",
      endpoint: null,
    });
    const peer: Peer = {
      hostId: identity.host_id,
      bootId: ulid(Date.now()),
      url,
      privateKey: await importPrivateKey(identity.private_key),
      controlKey: await importPublicKey(identity.control_public_key),
    };
    const agent = new SimulatedAgent(peer, register);
    while ((await agent.host(site)).status !== "ready") await sleep(20);
    return agent;
  }

  /** The host as the control plane sees it. */
  async host(site: Site): Promise<HostView> {
    return site.client.json<HostView>("GET", `/hosts/${this.hostId}`);
  }

  /** From now on what should run is only being prepared. */
  hold(): void {
    this.#becomes = "preparing";
  }

  /** Lets everything run that was held. */
  release(): void {
    this.#becomes = "running";
    for (const { id, generation, phase } of [...this.#seen.values()])
      if (phase === "preparing") this.#see(id, generation);
  }

  #take(workloads: readonly Workload[]): void {
    for (const { id, generation, want } of workloads) {
      const known = this.#seen.get(id);
      if (want === "gone") this.#tell({ id, generation, at: Date.now(), phase: "gone" });
      else if (known?.generation !== generation) this.#see(id, generation);
    }
  }

  #see(id: string, generation: number): void {
    const at = Date.now();
    if (this.#becomes === "preparing") this.#tell({ id, generation, at, phase: "preparing", message: "held" });
    else
      this.#tell({
        id,
        generation,
        at,
        phase: "running",
        started_at: at,
        address: null,
        image_digest: null,
        notes: [],
      });
  }

  #tell(observation: Observation): void {
    this.#seen.set(observation.id, observation);
    this.#outbox.changed(observation.id);
  }
}
