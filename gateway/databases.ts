import { type Known, Lease, type LeaseOptions } from "./lease.ts";
import type { Refusal } from "./refusal.ts";

/** Of so many databases it is remembered where they were, for when the control plane cannot be asked. */
const REMEMBERED_MOST = 10_000;

/** The leases of one gateway, one per database that is in use. */
export class Databases {
  readonly #options: Omit<LeaseOptions, "databaseId" | "changed" | "known" | "ended">;
  readonly #changed: (databaseId: string) => void;
  readonly #leases = new Map<string, Lease>();
  readonly #remembered = new Map<string, Known>();

  constructor(
    options: Omit<LeaseOptions, "databaseId" | "changed" | "known" | "ended">,
    changed: (databaseId: string) => void,
  ) {
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
      known: this.#remembered.get(databaseId),
      ended: (known) => {
        if (this.#leases.get(databaseId) !== lease) return;
        this.#leases.delete(databaseId);
        this.#remember(databaseId, known);
      },
    });
    this.#leases.set(databaseId, lease);
    return lease;
  }

  #remember(databaseId: string, known: Known | null): void {
    this.#remembered.delete(databaseId);
    if (known === null) return;
    this.#remembered.set(databaseId, known);
    if (this.#remembered.size > REMEMBERED_MOST)
      this.#remembered.delete(this.#remembered.keys().next().value as string);
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
