import { type Engine, EngineError, engineError } from "./engine.ts";
import { LABEL, networkName } from "./naming.ts";

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
    if (known) return known;
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
    try {
      await this.#create(engine, namespace);
    } catch (error) {
      const failed = engineError(error);
      if (!/non-overlapping|address pool|could not find free subnet/i.test(failed.message)) throw failed;
      await engine.call("prune networks", (docker) => docker.pruneNetworks({ filters: { label: [LABEL.namespace] } }));
      this.#known.clear();
      await this.#create(engine, namespace);
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
          ...(this.#podman && { Options: { isolate: "true" } }),
        }),
      );
    } catch (error) {
      const failed = engineError(error);
      if (!/already (exists|used)/i.test(failed.message)) throw failed;
    }
    if (!this.#podman) await this.#settleTwins(engine, name);
  }

  /** Before version 25 two creations at one moment, of two agents, make two networks of one name. Everyone keeps the oldest. */
  async #settleTwins(engine: Engine, name: string): Promise<void> {
    const listed = await engine.call("list networks", (docker) => docker.listNetworks({ filters: { name: [name] } }));
    const twins = listed.filter((it) => it.Name === name);
    if (twins.length === 0) throw new EngineError(`network ${name} vanished while it was made`, 404);
    twins.sort((a, b) => String(a.Created).localeCompare(String(b.Created)) || a.Id.localeCompare(b.Id));
    for (const twin of twins.slice(1)) {
      await engine.call("remove network", (docker) => docker.getNetwork(twin.Id).remove()).catch(() => undefined);
    }
  }
}
