import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Exit, Note } from "../../contract/workload.ts";
import type { Identity } from "./sighting.ts";

/** One container of ours and what was made of it so far. */
export type Instance = Identity & {
  readonly containerId: string;
  readonly name: string;
  state: "created" | "running" | "exited";
  exit: Exit | null;
  /** An apply is at work on it and will answer what became of it, so nothing else tells. */
  applying: boolean;
  /** We are removing it: whatever happens to it now is our doing. */
  intended: boolean;
  /** The last signal that the engine was asked to send it. */
  sent: number | null;
  oom: boolean;
  /** It ended because we stopped it when its time was over. */
  timedOut: boolean;
  /** Whether it has a memory limit of its own: only then can it be out of memory by itself. True until it is known. */
  limited: boolean;
  notes: Note[];
  /** What it was told to run; empty for the image's own command. */
  command: readonly string[];
  /** Aborted when the container is no longer there. */
  readonly gone: AbortController;
};

/** All containers of ours on this host, by container and by instance. */
export class Roster {
  readonly #byContainer = new Map<string, Instance>();

  add(identity: Identity, containerId: string, name: string, state: Instance["state"]): Instance {
    const known = this.#byContainer.get(containerId);
    if (known) return known;
    const instance: Instance = {
      id: identity.id,
      generation: identity.generation,
      owner: identity.owner,
      containerId,
      name,
      state,
      exit: null,
      applying: false,
      intended: false,
      sent: null,
      oom: false,
      timedOut: false,
      limited: true,
      notes: [],
      command: [],
      gone: new AbortController(),
    };
    this.#byContainer.set(containerId, instance);
    return instance;
  }

  container(containerId: string): Instance | undefined {
    return this.#byContainer.get(containerId);
  }

  instance(id: string, generation: number): Instance | undefined {
    return this.all().find((it) => it.id === id && it.generation === generation);
  }

  all(): Instance[] {
    return [...this.#byContainer.values()];
  }

  drop(instance: Instance): void {
    this.#byContainer.delete(instance.containerId);
    instance.gone.abort();
  }
}

/**
 * Marks on containers, kept on disk. `removing`: we have begun to remove it, so that after a crash in the middle its end is still ours and not an
 * exit to report. `timed-out`: we have begun to stop it because its time was over.
 */
export class Marks {
  readonly #folder: string;
  readonly #marked: Set<string>;

  constructor(stateDir: string, name: "removing" | "timed-out") {
    this.#folder = join(stateDir, name);
    mkdirSync(this.#folder, { recursive: true });
    this.#marked = new Set(readdirSync(this.#folder));
  }

  has(containerId: string): boolean {
    return this.#marked.has(containerId);
  }

  mark(containerId: string): void {
    if (this.#marked.has(containerId)) return;
    writeFileSync(join(this.#folder, containerId), "");
    this.#marked.add(containerId);
  }

  clear(containerId: string): void {
    if (!this.#marked.delete(containerId)) return;
    rmSync(join(this.#folder, containerId), { force: true });
  }

  /** Forgets the marks of containers that are no longer there. */
  keepOnly(containerIds: ReadonlySet<string>): void {
    for (const marked of [...this.#marked]) if (!containerIds.has(marked)) this.clear(marked);
  }
}
