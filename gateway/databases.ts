import { Lease, type LeaseOptions } from "./lease.ts";
import type { Refusal } from "./refusal.ts";

/** The leases of one gateway, one per database that is in use. */
export class Databases {
  readonly #options: Omit<LeaseOptions, "databaseId" | "changed" | "ended">;
  readonly #changed: (databaseId: string) => void;
  readonly #leases = new Map<string, Lease>();

  constructor(options: Omit<LeaseOptions, "databaseId" | "changed" | "ended">, changed: (databaseId: string) => void) {
    this.#options = options;
    this.#changed = changed;
  }

  lease(databaseId: string): Lease {
    const known = this.#leases.get(databaseId);
    if (known) return known;
    const lease = new Lease({
      ...this.#options,
      databaseId,
      changed: () => this.#changed(databaseId),
      ended: () => {
        if (this.#leases.get(databaseId) === lease) this.#leases.delete(databaseId);
      },
    });
    this.#leases.set(databaseId, lease);
    return lease;
  }

  get size(): number {
    return this.#leases.size;
  }

  refuseWaiting(why: Refusal): void {
    for (const lease of this.#leases.values()) lease.refuseWaiting(why);
  }

  close(why: Refusal): void {
    for (const lease of [...this.#leases.values()]) lease.close(why);
  }
}
