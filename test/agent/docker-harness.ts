// What the tests of the docker driver have in common: an engine (Docker, or a Podman service of their own), a namespace and a host id that no other
// test has, drivers that are closed afterwards, and a sweep of all that was made.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Docker from "dockerode";
import { dockerDriver } from "../../agent/docker/driver.ts";
import { LABEL } from "../../agent/docker/naming.ts";
import type { Driver, Found } from "../../agent/driver.ts";
import { ulid, workloadId } from "../../contract/id.ts";
import type { LogLine, Observation, Workload, WorkloadSpec } from "../../contract/workload.ts";
import { ensureTestImage, testImage } from "../docker-image.ts";
import { type PodmanService, startPodman } from "../podman.ts";
import { type Part, requires } from "../requires.ts";

export type EngineName = "docker" | "podman";
export const engineNames: EngineName[] = ["docker", "podman"];
export const never = new AbortController().signal;

export type Running = { driver: Driver; found: Found[]; seen: Observation[]; log: string[] };

/** One engine under test. */
export class Harness {
  readonly runtime: EngineName;
  readonly namespace: string;
  readonly hostId: string;
  readonly stateDir = mkdtempSync(join(tmpdir(), "lamplighter-docker-driver-"));
  readonly socketPath: string;
  readonly engine: Docker;
  readonly #podman: PodmanService | null;
  readonly #drivers: Driver[] = [];
  readonly #namespaces: Set<string>;

  private constructor(runtime: EngineName, socketPath: string, podman: PodmanService | null) {
    this.runtime = runtime;
    this.socketPath = socketPath;
    this.engine = new Docker({ socketPath });
    this.#podman = podman;
    const tail = randomBytes(4).toString("hex");
    this.namespace = `t${tail}`;
    this.hostId = `host_${tail}`;
    this.#namespaces = new Set([this.namespace]);
  }

  static async open(runtime: EngineName, part: Part): Promise<Harness> {
    const podman = runtime === "podman" ? await startPodman(part.path) : null;
    const harness = new Harness(runtime, podman?.socketPath ?? part.path, podman);
    await ensureTestImage(harness.socketPath);
    return harness;
  }

  /** A driver that was not started. */
  driver(
    options: { socketPath?: string; hostId?: string; stateDir?: string; log?: (line: string) => void } = {},
  ): Driver {
    const { runtime, hostId, socketPath, stateDir } = this;
    const driver = dockerDriver({ runtime, hostId, socketPath, stateDir, ...options });
    this.#drivers.push(driver);
    return driver;
  }

  async start(options: { socketPath?: string; hostId?: string; stateDir?: string } = {}): Promise<Running> {
    const seen: Observation[] = [];
    const log: string[] = [];
    const driver = this.driver({ ...options, log: (line) => log.push(line) });
    const found = await driver.start((observation) => seen.push(observation));
    return { driver, found, seen, log };
  }

  workload(spec: Partial<WorkloadSpec> = {}, generation = 1): Workload {
    const owner = `dep_${ulid(Date.now())}`;
    if (spec.namespace) this.#namespaces.add(spec.namespace);
    return {
      id: workloadId(owner, 0),
      generation,
      owner,
      want: "running",
      spec: {
        runtime: this.runtime,
        namespace: this.namespace,
        name: "web",
        kind: "worker",
        image: testImage,
        image_pull_policy: "IfNotPresent",
        registry: null,
        command: ["sleep", "1000"],
        working_dir: null,
        environment: {},
        labels: {},
        ports: [],
        mounts: [],
        user: { id: null, group: null, privileged: false },
        network: "bridge",
        cpu_limit_millis: null,
        memory_limit_bytes: null,
        cpu_reserved_millis: 0,
        memory_reserved_bytes: 0,
        stop_timeout_ms: 1000,
        ...spec,
      },
    };
  }

  /** The containers of a workload, or of this host, whatever their state. */
  async containers(workload?: Workload): Promise<Docker.ContainerInfo[]> {
    const label = [workload ? `${LABEL.workload}=${workload.id}` : `${LABEL.host}=${this.hostId}`];
    return this.engine.listContainers({ all: true, filters: { label } });
  }

  async inspect(workload: Workload): Promise<Docker.ContainerInspectInfo> {
    const [container] = await this.containers(workload);
    if (!container) throw new Error(`no container of ${workload.id}`);
    return this.engine.getContainer(container.Id).inspect();
  }

  async sweep(): Promise<void> {
    for (const { Id } of await this.containers())
      await this.engine
        .getContainer(Id)
        .remove({ force: true, v: true })
        .catch(() => undefined);
  }

  async close(): Promise<void> {
    for (const driver of this.#drivers) await driver.close();
    await this.sweep();
    for (const namespace of this.#namespaces) {
      await this.engine
        .getNetwork(`lamplighter_${namespace}`)
        .remove()
        .catch(() => undefined);
      const { Volumes } = await this.engine.listVolumes();
      for (const { Name } of Volumes ?? []) {
        if (Name.startsWith(`${namespace}_`))
          await this.engine
            .getVolume(Name)
            .remove()
            .catch(() => undefined);
      }
    }
    await this.#podman?.stop();
    rmSync(this.stateDir, { recursive: true, force: true });
  }
}

export const engineParts: Record<EngineName, Part> = {
  docker: await requires("docker"),
  podman: await requires("podman"),
};

export async function until<T>(what: string, look: () => T | Promise<T>, ms = 20_000): Promise<NonNullable<T>> {
  for (const deadline = Date.now() + ms; ; ) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited ${ms} ms in vain for ${what}`);
    await pause(10);
  }
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export const exits = (seen: Observation[], workload: Workload) =>
  seen
    .filter((it) => it.phase === "exited")
    .filter((it) => it.id === workload.id && it.generation === workload.generation);

export async function lines(batches: AsyncIterable<LogLine[]>): Promise<LogLine[]> {
  const all: LogLine[] = [];
  for await (const batch of batches) all.push(...batch);
  return all;
}

/** A proxy before an engine's socket that can be cut: all its connections break and new ones are refused until it is mended. */
export class CuttableProxy {
  readonly path: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #cut = false;
  /** The first words of each request that went through: `POST /containers/create`. */
  readonly requests: string[] = [];

  constructor(target: string, folder: string) {
    this.path = join(folder, `proxy-${randomBytes(4).toString("hex")}.sock`);
    this.#server = createServer((near) => {
      if (this.#cut) {
        near.destroy();
        return;
      }
      near.on("data", (chunk: Buffer) => {
        const request = /^([A-Z]+ [^ ?]+)\S* HTTP\/1\.1\r\n/.exec(chunk.toString("latin1"))?.[1];
        if (request) this.requests.push(request);
      });
      const far = connect(target);
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(socket);
        socket.on("error", () => undefined);
        socket.on("close", () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
    });
  }

  async open(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(this.path, resolve));
    return this;
  }

  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#cut = false;
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
