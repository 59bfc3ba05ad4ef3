import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { PROFILES, type ProfileName } from "../../contract/database-profile.ts";
import { Cgroups, procsOf, removeCgroups } from "../process/cgroup.ts";
import { processesOf } from "./postmaster.ts";

/**
 * Holds the writers of this host to the CPU and the memory of their profiles, by control groups, where the agent may make them. A writer in a
 * container is held by its engine.
 */
export class WriterLimits {
  readonly #cgroups: Cgroups;
  /** Agents of one machine have the control groups in common. */
  readonly #mark: string;
  /** How often the kernel had ended something of it for want of memory before it was started. */
  readonly #killsBefore = new Map<string, number>();
  /** Why nothing is held to anything; empty when all is. */
  readonly unavailable: string;

  static async find(root: string): Promise<WriterLimits> {
    const cgroups = await Cgroups.find();
    await cgroups.sweep();
    return new WriterLimits(cgroups, root);
  }

  private constructor(cgroups: Cgroups, root: string) {
    this.#cgroups = cgroups;
    this.#mark = createHash("sha256").update(root).digest("hex").slice(0, 8);
    this.unavailable = cgroups.unavailable;
  }

  /**
   * From its return on the writer is held, and whatever it starts. It has been started already, for moving it takes the kernel longer than it may take
   * others to start. Repeatable. Answers what could not be enforced.
   */
  async hold(database: string, postmaster: number, pgdata: string, profile: ProfileName): Promise<string | null> {
    if (this.unavailable !== "") return null;
    const { cpu_millis: cpuMillis, memory_bytes: memoryBytes } = PROFILES[profile];
    const { dirs, memory, cpu } = await this.#cgroups.make(this.#name(database), { cpuMillis, memoryBytes });
    this.#killsBefore.set(database, await this.#kills(database));
    const move = (pid: number) => Promise.all(dirs.map((dir) => writeFile(procsOf(dir), String(pid))));
    await move(postmaster);
    // Those that it had started by then; one that has ended meanwhile needs nothing.
    for (const child of await childrenOf(postmaster, pgdata)) await move(child).catch(() => {});
    return memory ?? cpu;
  }

  /** Whether the kernel has ended something of the writer because it was out of memory. */
  async wasOutOfMemory(database: string): Promise<boolean> {
    return (await this.#kills(database)) > (this.#killsBefore.get(database) ?? 0);
  }

  /** The writer has ended. */
  async release(database: string): Promise<void> {
    this.#killsBefore.delete(database);
    await removeCgroups(this.#cgroups.dirs(this.#name(database)));
  }

  async #kills(database: string): Promise<number> {
    const files = this.#cgroups.oomFiles(this.#name(database));
    const texts = await Promise.all(files.map((file) => readFile(file, "utf8").catch(() => "")));
    return texts.reduce((sum, text) => sum + Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0), 0);
  }

  #name(database: string): string {
    return `postgres-${this.#mark}-${database}`;
  }
}

async function childrenOf(postmaster: number, pgdata: string): Promise<number[]> {
  const text = await readFile(`/proc/${postmaster}/task/${postmaster}/children`, "utf8").catch(() => null);
  // Not every kernel is built with it.
  if (text === null) return processesOf(pgdata).filter((pid) => pid !== postmaster);
  return text.split(" ").map(Number).filter(Boolean);
}
