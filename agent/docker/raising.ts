import { existsSync } from "node:fs";
import type { Observation, Workload } from "../../contract/workload.ts";
import { creation, refusal, volumeCreation } from "./creation.ts";
import { type Engine, EngineError, engineError } from "./engine.ts";
import {
  bindSourceMissing,
  containerFailure,
  type Failure,
  filesNeedLocalEngine,
  foreignCredentials,
  isImageMissing,
  isInitMissing,
  isNameTaken,
  isNetworkMissing,
  isSpoiled,
  isUnreachable,
  leftEndpoint,
  networkFailure,
  neverPulls,
  unusableCredentials,
} from "./failure.ts";
import type { Files } from "./files.ts";
import { parseImage, type RegistryAuth, registryAuth } from "./image.ts";
import { containerName } from "./naming.ts";
import type { Networks } from "./network.ts";
import type { Pulls } from "./pull.ts";
import { credentialsIn, hostRegistryConfig } from "./registry-config.ts";
import type { Instance } from "./roster.ts";
import { identityOf, notesOf, standing } from "./sighting.ts";
import type { Tracker } from "./tracker.ts";
import { pause } from "./watch.ts";

/** How long an engine that does not answer is waited for before the workload counts as failed. */
const PATIENCE_MS = 15_000;
/** A big image layer may take long to prepare. */
const CREATE_MS = 5 * 60_000;
/** At most one progress report in this time. */
const TELL_EVERY_MS = 500;

export type RaisingOptions = {
  hostId: string;
  runtime: "docker" | "podman";
  engine: () => Engine;
  tracker: Tracker;
  networks: Networks;
  pulls: Pulls;
  files: Files;
  /** Said again when removed containers are to be forgotten as ours. */
  unmark: (containerId: string) => void;
  log: (line: string) => void;
};

class Refused extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}

/**
 * Brings containers up. With the image present and the network known that is three calls: create, start, inspect; everything else is asked only
 * when one of them says that it is missing. Each step can be repeated, so an answer that was lost is made good by doing it again.
 */
export class Raising {
  readonly #options: RaisingOptions;
  #init = true;
  readonly #volumes = new Set<string>();

  constructor(options: RaisingOptions) {
    this.#options = options;
  }

  async raise(workload: Workload, signal: AbortSignal): Promise<Observation> {
    const { id, generation } = workload;
    const until = Date.now() + PATIENCE_MS;
    for (let delay = 50; ; delay = Math.min(delay * 2, 2_000)) {
      try {
        return await this.#attempt(workload, signal);
      } catch (error) {
        if (signal.aborted) return { id, generation, at: Date.now(), phase: "stopping" };
        let failure: Failure;
        if (error instanceof Refused) failure = error.failure;
        else {
          const failed = engineError(error);
          if (isUnreachable(failed) && Date.now() < until) {
            await pause(delay, signal);
            continue;
          }
          failure = containerFailure(failed, workload.spec.ports);
        }
        return { id, generation, at: Date.now(), phase: "failed", failure };
      }
    }
  }

  async #attempt(workload: Workload, signal: AbortSignal): Promise<Observation> {
    const { tracker, runtime } = this.#options;
    const known = tracker.roster.instance(workload.id, workload.generation);
    if (known) {
      const there = await this.#adopt(workload, known.containerId, signal);
      if (there) return there;
    }

    const refused = refusal(workload.spec);
    if (refused) throw new Refused(refused);
    const auth = await this.#auth(workload);
    const image = workload.spec.image as string;
    const pinned = parseImage(image).digest !== null;
    if (workload.spec.image_pull_policy === "Always" && !pinned) await this.#pull(workload, auth, signal);

    // Each round makes good one thing that was missing; each kind of thing once is the most that can be.
    for (let round = 0; ; round++) {
      await this.#ensureNetwork(workload);
      if (runtime === "podman") await this.#ensureMounts(workload);
      signal.throwIfAborted();
      try {
        return await this.#create(workload, signal);
      } catch (error) {
        const failed = engineError(error);
        if (error instanceof Refused || round >= 5) throw error;
        if (isNameTaken(failed)) {
          const there = await this.#adopt(workload, containerName(workload), signal);
          if (there) return there;
        } else if (isImageMissing(failed)) {
          if (workload.spec.image_pull_policy === "Never") throw new Refused(neverPulls(image));
          await this.#pull(workload, auth, signal);
        } else if (isNetworkMissing(failed)) {
          this.#options.networks.forget(workload.spec.namespace);
        } else if (this.#init && isInitMissing(failed)) {
          this.#options.log(
            "this engine has no init program: containers run without one, and a program that ignores SIGTERM as PID 1 is killed",
          );
          this.#init = false;
        } else {
          throw failed;
        }
      }
    }
  }

  async #auth({ spec }: Workload): Promise<RegistryAuth | null> {
    if (spec.image !== null && spec.registry_config !== undefined) {
      const found = credentialsIn(spec.registry_config, spec.image);
      if ("auth" in found) return found.auth;
      throw new Refused(unusableCredentials("the secret of `image_pull_secret`", found));
    }
    if (spec.image !== null && spec.use_host_auth === true) {
      const found = credentialsIn((await hostRegistryConfig()) ?? "{}", spec.image);
      if ("fault" in found) throw new Refused(unusableCredentials("the host's own Docker config", found));
      return "auth" in found ? found.auth : null;
    }
    if (spec.registry === null || spec.image === null) return null;
    const auth = registryAuth(spec.image, spec.registry);
    if (auth === null) throw new Refused(foreignCredentials(spec.image, spec.registry.server ?? ""));
    return auth;
  }

  async #pull({ id, generation, spec }: Workload, auth: RegistryAuth | null, signal: AbortSignal): Promise<void> {
    const { pulls, tracker, engine } = this.#options;
    const image = spec.image as string;
    let last = "";
    let at = 0;
    const told = (percent: number | null): void => {
      const message = percent === null ? `pulling ${image}` : `pulling ${image} ${percent} %`;
      const now = Date.now();
      if (message === last || now - at < TELL_EVERY_MS) return;
      last = message;
      at = now;
      tracker.observe({ id, generation, at: now, phase: "preparing", message });
    };
    const failure = await pulls.pull(engine(), image, auth, signal, told);
    signal.throwIfAborted();
    if (failure) throw new Refused(failure);
    tracker.forgetDigests();
  }

  async #ensureNetwork({ spec }: Workload): Promise<void> {
    if (spec.network !== "bridge") return;
    try {
      await this.#options.networks.ensure(this.#options.engine(), spec.namespace);
    } catch (error) {
      const failed = engineError(error);
      if (isUnreachable(failed)) throw failed;
      throw new Refused(networkFailure(failed, `lamplighter_${spec.namespace}`));
    }
  }

  /** What Docker sees to in its create call: Podman makes a missing bind source, and a missing volume without its labels and options. */
  async #ensureMounts({ spec }: Workload): Promise<void> {
    const engine = this.#options.engine();
    for (const mount of spec.mounts) {
      if (mount.type === "bind") {
        if (engine.local && !existsSync(mount.source)) throw new Refused(bindSourceMissing(mount.source));
        continue;
      }
      const volume = volumeCreation(mount, spec.namespace);
      if (this.#volumes.has(volume.Name)) continue;
      try {
        await engine.call("create volume", (docker) => docker.createVolume(volume));
      } catch (error) {
        const failed = engineError(error);
        if (!/already exists/i.test(failed.message)) throw failed;
      }
      this.#volumes.add(volume.Name);
    }
  }

  async #create(workload: Workload, signal: AbortSignal): Promise<Observation> {
    const { hostId, runtime, engine, tracker } = this.#options;
    const contents = workload.spec.files ?? [];
    if (contents.length > 0 && !engine().local) throw new Refused(filesNeedLocalEngine());
    const files = await this.#options.files.write(workload.id, workload.generation, contents);
    const options = creation(workload, { hostId, runtime, init: this.#init, files });
    const made = (await engine().call(
      "create container",
      (docker) => docker.createContainer(options),
      CREATE_MS,
    )) as unknown as {
      id: string;
      Warnings?: string[];
    };
    const instance = tracker.roster.add(workload, made.id, options.name as string, "created");
    instance.command = workload.spec.command;
    instance.notes = [
      ...notesOf(made.Warnings),
      ...(this.#init
        ? []
        : [
            {
              code: "no_init",
              message: "the engine has no init program; the command is PID 1 and must handle SIGTERM itself",
            },
          ]),
    ];
    return this.#start(workload, instance, signal);
  }

  /** What is there already under this name: nothing (null), what runs or ran, or a container whose start is still to be done. */
  async #adopt(workload: Workload, container: string, signal: AbortSignal): Promise<Observation | null> {
    const { tracker, hostId, runtime } = this.#options;
    const info = await tracker.inspect(container);
    if (info === null) {
      const instance = tracker.roster.container(container);
      if (instance) tracker.roster.drop(instance);
      return null;
    }
    const identity = identityOf(info.Config.Labels, hostId, runtime);
    const name = info.Name.replace(/^\//, "");
    if (identity?.id !== workload.id || identity.generation !== workload.generation) {
      const message = `the engine has another container named '${name}' that is not this workload's`;
      throw new Refused({ kind: "create_container_error", reason: "name_taken", message });
    }
    const instance = tracker.roster.add(identity, info.Id, name, "created");
    instance.intended = false;
    this.#options.unmark(info.Id);
    if (standing(info) === "created") return this.#start(workload, instance, signal);
    return tracker.stand(instance, info);
  }

  async #start(workload: Workload, instance: Instance, signal: AbortSignal): Promise<Observation> {
    const { tracker } = this.#options;
    instance.applying = true;
    try {
      signal.throwIfAborted();
      await this.#startContainer(workload, instance);
      const info = await tracker.inspect(instance.containerId);
      if (info === null) throw new EngineError("the container was removed while it was started", 404);
      return await tracker.stand(instance, info);
    } finally {
      instance.applying = false;
    }
  }

  async #startContainer(workload: Workload, instance: Instance): Promise<void> {
    const start = (): Promise<unknown> =>
      this.#options
        .engine()
        .call("start container", (docker) => docker.getContainer(instance.containerId).start(), CREATE_MS)
        .catch((error: unknown) => {
          const failed = engineError(error);
          if (failed.status !== 304) throw failed;
        });
    try {
      try {
        await start();
      } catch (error) {
        if (!(await this.#repaired(workload, instance, engineError(error)))) throw error;
        await start();
      }
    } catch (error) {
      const failed = engineError(error);
      if (!(error instanceof Refused) && isUnreachable(failed)) throw failed;
      await this.#discard(instance);
      if (isSpoiled(failed)) throw new EngineError(failed.message, null);
      throw error instanceof Refused || isInitMissing(failed)
        ? error
        : new Refused(containerFailure(failed, workload.spec.ports));
    }
  }

  /** Puts right what stands in the way of a start, where that is ours to do; then the start is worth another try. */
  async #repaired(workload: Workload, instance: Instance, failed: EngineError): Promise<boolean> {
    const network = leftEndpoint(failed, instance.name);
    if (network !== null) {
      await this.#options
        .engine()
        .call("disconnect", (docker) =>
          docker.getNetwork(network).disconnect({ Container: instance.name, Force: true }),
        );
      return true;
    }
    if (!isNetworkMissing(failed) || workload.spec.network !== "bridge") return false;
    this.#options.networks.forget(workload.spec.namespace);
    await this.#ensureNetwork(workload);
    return true;
  }

  /** A container that could not be started is of no use to anyone. */
  async #discard(instance: Instance): Promise<void> {
    instance.intended = true;
    try {
      await this.#options
        .engine()
        .call("remove container", (docker) =>
          docker.getContainer(instance.containerId).remove({ force: true, v: true }),
        );
      this.#options.tracker.roster.drop(instance);
    } catch (error) {
      const failed = engineError(error);
      if (failed.status === 404) this.#options.tracker.roster.drop(instance);
      else this.#options.log(`${instance.name} could not be started and not be removed: ${failed.message}`);
    }
  }
}
