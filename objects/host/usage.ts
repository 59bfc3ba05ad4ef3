import type { Usage } from "../../contract/health.ts";
import { one } from "./workloads.ts";

type Owned = { owner: string; usage: Usage };

/** Whose the usages are; those of what should not run here are nobody's. */
export const owned = (sql: SqlStorage, usages: readonly Usage[]): Owned[] =>
  usages.flatMap((usage) => {
    const row = one(sql, usage.id);
    return row?.want === "running" && row.generation === usage.generation ? [{ owner: row.owner, usage }] : [];
  });

/**
 * Passes on what workloads use. Nothing of it is stored: while an owner is being told, only the newest of each of its workloads waits, and what
 * cannot be told is lost, because the next one says more.
 */
export class UsageRelay {
  readonly #tell: (owner: string, usages: Usage[]) => Promise<void>;
  readonly #waiting = new Map<string, Map<string, Usage>>();
  readonly #telling = new Set<string>();

  constructor(tell: (owner: string, usages: Usage[]) => Promise<void>) {
    this.#tell = tell;
  }

  /** Resolves when the owners were told, or could not be. Never rejects. */
  async pass(usages: readonly Owned[]): Promise<void> {
    const owners = new Set(usages.map(({ owner }) => owner));
    for (const { owner, usage } of usages) {
      const waiting = this.#waiting.get(owner) ?? new Map<string, Usage>();
      this.#waiting.set(owner, waiting.set(usage.id, usage));
    }
    await Promise.all([...owners].map((owner) => this.#drain(owner)));
  }

  async #drain(owner: string): Promise<void> {
    if (this.#telling.has(owner)) return;
    this.#telling.add(owner);
    try {
      for (let next = this.#waiting.get(owner); next !== undefined; next = this.#waiting.get(owner)) {
        this.#waiting.delete(owner);
        await this.#tell(owner, [...next.values()]).catch(() => undefined);
      }
    } finally {
      this.#telling.delete(owner);
    }
  }
}
