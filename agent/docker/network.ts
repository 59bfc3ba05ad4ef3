import { createHash } from "node:crypto";
import { type Engine, EngineError, engineError } from "./engine.ts";
import { LABEL, networkName } from "./naming.ts";

const TWIN_MS = 2_000;

/**
 * One bridge network per namespace, made when its first workload comes. What is known to be there is remembered, so that a create of a container
 * asks nothing; when the engine then says that the network is missing, `forget` and `ensure` bring it back. Networks are left when they
 * are empty, and cleared only when the engine has no addresses left.
 */
export class Networks {
  readonly #known = new Map<string, Promise<void>>();
  readonly #podman: boolean;

  constructor(podman: boolean) {
    this.#podman = podman;
  }

  /** Concurrent calls are one call; a failure is not remembered. */
  ensure(engine: Engine, namespace: string): Promise<void> {
    const known = this.#known.get(namespace);
    if (known !== undefined) return known;
    const made = this.#make(engine, namespace).catch((error: unknown) => {
      this.#known.delete(namespace);
      throw error;
    });
    this.#known.set(namespace, made);
    return made;
  }

  forget(namespace: string): void {
    this.#known.delete(namespace);
  }

  async #make(engine: Engine, namespace: string): Promise<void> {
    for (let left = 3; ; left--) {
      try {
        return await this.#create(engine, namespace);
      } catch (error) {
        const failed = engineError(error);
        const isExhausted = /non-overlapping|address pool|could not find free subnet/i.test(failed.message);
        // Podman stumbles over interfaces that come and go while it looks through them.
        if (left === 0 || !(isExhausted || /no such network interface/i.test(failed.message))) throw failed;
        if (isExhausted) {
          left = 1;
          await engine.call("prune networks", (docker) =>
            docker.pruneNetworks({ filters: { label: [LABEL.namespace] } }),
          );
          this.#known.clear();
        }
      }
    }
  }

  async #create(engine: Engine, namespace: string): Promise<void> {
    const name = networkName(namespace);
    try {
      await engine.call("create network", (docker) =>
        docker.createNetwork({
          Name: name,
          Driver: "bridge",
          CheckDuplicate: true,
          Labels: { [LABEL.namespace]: namespace },
          // Docker keeps bridges apart from each other; Podman only when told.
          Options: this.#podman ? { isolate: "true" } : { "com.docker.network.bridge.name": bridgeName(name) },
        }),
      );
    } catch (error) {
      const failed = engineError(error);
      if (/already (exists|used)/i.test(failed.message)) return;
      if (!/same bridge name/i.test(failed.message)) throw failed;
      await this.#awaitTwin(engine, name);
    }
  }

  /** Another agent is making it at this moment: it has the bridge but may not be listed yet. */
  async #awaitTwin(engine: Engine, name: string): Promise<void> {
    for (const until = Date.now() + TWIN_MS; Date.now() < until; ) {
      const listed = await engine.call("list networks", (docker) => docker.listNetworks({ filters: { name: [name] } }));
      if (listed.some((it) => it.Name === name)) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new EngineError(`another network has the bridge of ${name}`, 409);
  }
}

/**
 * Before version 25 Docker gives one name to two networks that are made at one moment, and then neither can be used by name; but it never
 * gives one bridge to two networks. So the bridge's name is made from the network's. Linux allows it 15 characters.
 */
const bridgeName = (network: string): string => `ll${createHash("sha256").update(network).digest("hex").slice(0, 12)}`;
