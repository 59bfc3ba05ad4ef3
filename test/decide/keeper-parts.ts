// The keepers of a database's world, as far as promises and leases go: what they say is said by the keeper's own code, and judged by the agent's.
import { lastGivenBy, leaseLeftMs, promisesNeeded } from "../../agent/postgres/quorum.ts";
import type { KeptDatabase } from "../../contract/keeper.ts";
import { WRITER_LEASE_MS } from "../../contract/writer.ts";
import { WriterLease } from "../../keeper/writer-lease.ts";
import type { Host } from "./database-parts.ts";

class Keeper {
  promised = 0;
  lease: WriterLease;
  /** The hosts that cannot reach it. */
  readonly cut = new Set<string>();

  constructor(now: number) {
    this.lease = new WriterLease(now);
  }
}

export class Keepers {
  readonly all: Keeper[];
  readonly quorum: number;
  /** How often a writer went on on their word alone. */
  extended = 0;

  constructor(count: number, quorum: number, now: number) {
    // They have run for long.
    this.all = Array.from({ length: count }, () => new Keeper(now - 3_600_000));
    this.quorum = quorum;
  }

  /** What those say that a host can reach and that promise its term; null when they are too few. */
  promise(host: Host, term: number, now: number): { olderMs: number } | null {
    if (this.quorum === 0) return { olderMs: 0 };
    const reached = this.all.filter(({ cut, promised }) => !cut.has(host.id) && promised <= term);
    const answers = reached.map((keeper) => {
      keeper.promised = term;
      return { lease_left_ms: keeper.lease.leftMs(now) } as KeptDatabase;
    });
    return reached.length < promisesNeeded(this.all.length, this.quorum) ? null : { olderMs: leaseLeftMs(answers) };
  }

  /** A host asks them all whether its writer may go on. `sentAt`: the question was on its way since. */
  extend(host: Host, now: number, sentAt: () => number): void {
    const { lease, running } = host;
    if (lease === null || running !== lease.term) return;
    if (this.quorum === 0) lease.until = now + WRITER_LEASE_MS;
    for (const [i, keeper] of this.all.entries())
      if (!keeper.cut.has(host.id) && keeper.lease.give(running, keeper.promised, now)) host.given.set(i, sentAt());
    const sent = [...host.given.values()].map((monotonic) => ({ monotonic, wall: monotonic }));
    const since = lastGivenBy(this.quorum, sent);
    if (since === null || since.monotonic + WRITER_LEASE_MS <= lease.until) return;
    lease.until = since.monotonic + WRITER_LEASE_MS;
    this.extended++;
  }

  restart(i: number, now: number): void {
    const keeper = this.all[i];
    if (keeper) keeper.lease = new WriterLease(now);
  }

  /** What must never be: clients are let in under a term, and enough keepers still acknowledge what is written under an older one. */
  onlyAcknowledge(term: number): void {
    const older = this.all.filter(({ promised }) => promised < term).length;
    if (this.quorum > 0 && older >= this.quorum)
      throw new Error(`term ${term} was opened while ${older} keepers acknowledge an older one`);
  }
}
