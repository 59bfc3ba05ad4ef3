import type { Observation } from "../../contract/workload.ts";
import type { Found } from "../driver.ts";
import { Gate } from "../gate.ts";
import { type Engine, engineError } from "./engine.ts";
import { type Failure, initFailure } from "./failure.ts";
import { digestOf } from "./image.ts";
import { firstLines } from "./logs.ts";
import { LABEL } from "./naming.ts";
import { type Instance, type Marks, Roster } from "./roster.ts";
import {
  type EngineEvent,
  exitOf,
  type Identity,
  type Inspected,
  identityOf,
  inspectedExit,
  moment,
  runningObservation,
  standing,
} from "./sighting.ts";
import type { Timeouts } from "./timeout.ts";

/** After a reconnection, how long the replayed events of a vanished container may take before its end counts as unseen. */
const REPLAY_MS = 250;
const INSPECTS_AT_ONCE = 16;
const ALIVE: ReadonlySet<string> = new Set(["running", "paused", "restarting", "stopping"]);

export type TrackerOptions = {
  hostId: string;
  runtime: "docker" | "podman";
  engine: () => Engine;
  removals: Marks;
  timeouts: Timeouts;
  log: (line: string) => void;
};

/**
 * Knows what became of every container of ours, from events (edges) and from lists (levels), and tells each fact once: whichever of the two
 * shows it first moves the instance's state, and the other then finds nothing new.
 */
export class Tracker {
  readonly roster = new Roster();
  readonly #options: TrackerOptions;
  readonly #digests = new Map<string, string | null>();
  observe: (observation: Observation) => void = () => undefined;

  constructor(options: TrackerOptions) {
    this.#options = options;
  }

  /** Everything of ours that is on the host, all of it now on the roster. */
  async find(): Promise<Found[]> {
    const listed = await this.#list();
    this.#options.removals.keepOnly(new Set(listed.keys()));
    this.#options.timeouts.keepOnly(new Set(listed.keys()));
    const gate = new Gate(INSPECTS_AT_ONCE);
    const found = await Promise.all(
      [...listed.keys()].map((containerId) => gate.pass(() => this.#findOne(containerId))),
    );
    return found.filter((it) => it !== null);
  }

  async #findOne(containerId: string): Promise<Found | null> {
    const info = await this.inspect(containerId);
    const identity = info && identityOf(info.Config.Labels, this.#options.hostId, this.#options.runtime);
    if (!info || !identity) return null;
    const instance = this.roster.add(identity, containerId, info.Name.replace(/^\//, ""), "created");
    instance.intended = this.#options.removals.has(containerId);
    const observation = await this.stand(instance, info);
    const { id, generation, owner } = identity;
    if (!instance.intended) return { id, generation, owner, observation };
    return { id, generation, owner, observation: { id, generation, at: Date.now(), phase: "stopping" } };
  }

  /** The container as the engine has it now; null when it is not there. */
  async inspect(container: string): Promise<Inspected | null> {
    try {
      return (await this.#options
        .engine()
        .call("inspect", (docker) => docker.getContainer(container).inspect())) as unknown as Inspected;
    } catch (error) {
      const failed = engineError(error);
      if (failed.status === 404) return null;
      throw failed;
    }
  }

  /** Takes what inspect shows as the instance's state, and puts it in words. */
  async stand(instance: Instance, info: Inspected): Promise<Observation> {
    const { id, generation } = instance;
    const now = Date.now();
    instance.command = info.Config.Cmd ?? [];
    instance.limited = (info.HostConfig.Memory ?? 0) > 0;
    switch (standing(info)) {
      case "created":
        return { id, generation, at: now, phase: "preparing", message: "created, not started yet" };
      case "running": {
        if (instance.state !== "exited") instance.state = "running";
        const digest = await this.#digest(info);
        // The event of its end may have come while the engine was asked.
        if (instance.state === "exited") {
          await this.#askOfMemory(instance);
          return this.conclude(instance);
        }
        if (!instance.intended) this.#options.timeouts.watch(instance, info, now);
        return runningObservation(instance, info, digest, instance.notes, now);
      }
      case "exited":
        instance.state = "exited";
        this.#options.timeouts.ended(instance);
        instance.exit = inspectedExit(info, instance.sent, now);
        return this.conclude(instance);
    }
  }

  /** The words for an instance that ended: its exit, or that its command could never be executed. */
  async conclude(instance: Instance): Promise<Observation> {
    const { id, generation } = instance;
    const exit = instance.exit ?? exitOf(null, false, null, Date.now());
    const failure = await this.#initFailure(instance, exit.code).catch(() => null);
    if (failure) return { id, generation, at: Date.now(), phase: "failed", failure };
    const timedOut = instance.timedOut ? { timed_out: true } : {};
    return { id, generation, at: Date.now(), phase: "exited", exit: { ...exit, ...timedOut } };
  }

  async #initFailure(instance: Instance, code: number | null): Promise<Failure | null> {
    const suspicious = code === 127 || code === 126 || (code === 1 && this.#options.runtime === "podman");
    if (!suspicious) return null;
    // Only a program that wrote nothing else can be one that never ran.
    const [line, ...more] = await firstLines(this.#options.engine(), instance.containerId, 2);
    return line && more.length === 0 && line.stream === "stderr" ? initFailure(line.message, instance.command) : null;
  }

  event(event: EngineEvent): void {
    const instance = this.roster.container(event.containerId);
    if (!instance) {
      if (event.action === "die") void this.#meet(event, event.containerId);
      return;
    }
    switch (event.action) {
      case "start":
        if (instance.state === "exited" && event.at <= (instance.exit?.at ?? 0)) return;
        if (!instance.applying && instance.state !== "running") void this.#startedAgain(instance);
        return;
      case "kill":
        instance.sent = event.signal;
        return;
      case "oom":
        instance.oom = true;
        return;
      case "die":
        this.#ended(instance, event.exitCode, event.at);
        return;
      case "destroy":
        this.#vanished(instance, event.at);
        return;
    }
  }

  #ended(instance: Instance, code: number | null, at: number): void {
    if (instance.state === "exited") return;
    instance.state = "exited";
    this.#options.timeouts.ended(instance);
    instance.exit = exitOf(code, instance.oom, instance.sent, at);
    if (!instance.applying && !instance.intended) void this.#tellEnded(instance);
  }

  #vanished(instance: Instance, at: number): void {
    this.#ended(instance, null, at);
    this.roster.drop(instance);
    this.#options.removals.clear(instance.containerId);
  }

  /**
   * 137 is what SIGKILL leaves; when nobody is known to have sent it, only the container itself says whether the kernel did for want of memory. It is
   * not asked without need: the engine answers only when it has put the container away, some 50 ms later.
   */
  async #askOfMemory(instance: Instance): Promise<void> {
    const exit = instance.exit;
    if (exit?.code !== 137 || exit.oom || exit.signal !== null || !instance.limited) return;
    const info = await this.inspect(instance.containerId).catch(() => null);
    if (info?.State.OOMKilled) instance.exit = exitOf(exit.code, true, instance.sent, exit.at);
  }

  async #tellEnded(instance: Instance): Promise<void> {
    await this.#askOfMemory(instance);
    const observation = await this.conclude(instance);
    if (!instance.intended) this.observe(observation);
  }

  /** Somebody else started it. What ends it meanwhile finds it running, so it is marked before the engine is asked. */
  async #startedAgain(instance: Instance): Promise<void> {
    Object.assign(instance, { state: "running", exit: null, sent: null, oom: false, timedOut: false });
    this.#options.timeouts.clear(instance.containerId);
    const info = await this.inspect(instance.containerId).catch(() => null);
    if (info === null || standing(info) !== "running" || instance.applying || instance.intended) return;
    const observation = await this.stand(instance, info);
    if (observation.phase === "running") this.observe(observation);
  }

  /** A container of ours that another agent process made, or that was made while nobody watched. */
  async #meet(identity: Identity, containerId: string): Promise<void> {
    const info = await this.inspect(containerId).catch(() => null);
    if (info === null || standing(info) === "created" || this.roster.container(containerId)) return;
    const instance = this.roster.add(identity, containerId, info.Name.replace(/^\//, ""), "created");
    instance.intended = this.#options.removals.has(containerId);
    const observation = await this.stand(instance, info);
    if (!instance.intended && !instance.applying) this.observe(observation);
  }

  /** Compares what is known with what is there, after a time in which events may have been missed. */
  async compare(): Promise<void> {
    const before = this.roster.all();
    const listed = await this.#list();
    for (const [containerId, { labels, alive }] of listed) {
      const instance = this.roster.container(containerId);
      const identity = identityOf(labels, this.#options.hostId, this.#options.runtime);
      if (!instance && identity) await this.#meet(identity, containerId);
      if (instance && alive !== (instance.state === "running")) await this.#compareOne(instance);
    }
    const missing = before.filter((it) => !listed.has(it.containerId));
    if (missing.some((it) => it.state !== "exited")) await new Promise((resolve) => setTimeout(resolve, REPLAY_MS));
    for (const instance of missing) {
      if (!instance.applying && (await this.inspect(instance.containerId)) === null)
        this.#vanished(instance, Date.now());
    }
  }

  async #compareOne(instance: Instance): Promise<void> {
    const info = await this.inspect(instance.containerId);
    if (info === null || instance.applying || instance.intended) return;
    const now = standing(info);
    const startedAt = moment(info.State.StartedAt) ?? 0;
    if (now === "exited" && instance.state !== "exited") {
      instance.state = "exited";
      this.#options.timeouts.ended(instance);
      instance.exit = inspectedExit(info, instance.sent, Date.now());
      await this.#tellEnded(instance);
    } else if (now === "running" && instance.state !== "running" && startedAt > (instance.exit?.at ?? 0)) {
      await this.#startedAgain(instance);
    }
  }

  async #list(): Promise<Map<string, { labels: Record<string, string>; alive: boolean }>> {
    const { engine, hostId, runtime } = this.#options;
    const filters = { label: [`${LABEL.host}=${hostId}`, `${LABEL.runtime}=${runtime}`] };
    const listed = await engine().call("list containers", (docker) => docker.listContainers({ all: true, filters }));
    return new Map(listed.map((it) => [it.Id, { labels: it.Labels, alive: ALIVE.has(it.State) }]));
  }

  /** Asked of the engine once for each image that runs. */
  async #digest(info: Inspected): Promise<string | null> {
    const key = `${info.Image} ${info.Config.Image}`;
    const known = this.#digests.get(key);
    if (known !== undefined) return known;
    try {
      const image = await this.#options
        .engine()
        .call("inspect image", (docker) => docker.getImage(info.Image).inspect());
      const digest = digestOf(info.Config.Image, image.RepoDigests);
      this.#digests.set(key, digest);
      return digest;
    } catch (error) {
      this.#options.log(`the digest of ${info.Config.Image} cannot be read: ${(error as Error).message}`);
      return null;
    }
  }

  /** A pull may have given an image that was here already the name, and so the digest, under which a registry knows it. */
  forgetDigests(): void {
    this.#digests.clear();
  }
}
