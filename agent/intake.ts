import type { Workload } from "../contract/workload.ts";
import { admit, isFinal, probingOf } from "./decide.ts";
import { type Entry, keptOf } from "./entry.ts";
import type { Kept, Presence } from "./ledger.ts";

/** What is made of commands before any of it is kept or acted on. */
export type Intake = {
  /** Those that were not refused, changed or not. */
  accepted: string[];
  /** What is to be acted on, as it is to be kept. */
  changes: Map<string, Kept>;
  /** Of which nothing but the choice of health checks has changed. */
  probing: Map<string, Kept>;
  presences: Presence[];
  refusals: string[];
};

export type IntakeFacts = {
  entries: ReadonlyMap<string, Entry>;
  /** Whether this agent has the runtime; one that it does not have leaves nothing behind that would have to be removed. */
  has: (runtime: Workload["spec"]["runtime"]) => boolean;
  now: number;
};

export function intake(workloads: readonly Workload[], { entries, has, now }: IntakeFacts): Intake {
  const all: Intake = { accepted: [], changes: new Map(), probing: new Map(), presences: [], refusals: [] };
  const { accepted, changes, probing, presences, refusals } = all;
  for (const workload of workloads) {
    const { id, generation, owner, want, spec } = workload;
    const known = changes.get(id) ?? probing.get(id) ?? entries.get(id);
    const admission = admit(known, workload);
    if (admission === "stale" || admission === "ended") {
      refusals.push(`refused ${id} generation ${generation} (${want}): ${admission}, the fence is at ${known?.fence}`);
      continue;
    }
    accepted.push(id);
    if (admission === "same") continue;
    const asked = probingOf(workload);
    const change = changes.get(id);
    if (admission === "probing") {
      if (change) change.probing = asked;
      else probing.set(id, { ...keptOf(entries.get(id) as Entry), probing: asked });
      continue;
    }
    probing.delete(id);
    changes.set(id, { id, fence: generation, want, owner, probing: asked, spec, last: null, changedAt: now });
    if (want === "running" && has(spec.runtime))
      presences.push({ id, generation, runtime: spec.runtime, stopTimeoutMs: spec.stop_timeout_ms });
  }
  for (const kept of changes.values()) {
    const entry = entries.get(kept.id);
    if (entry && continues(entry, kept) && entry.seen && isFinal(entry.seen)) kept.last = entry.seen;
  }
  return all;
}

/** Whether what was seen of an entry holds for what it is to become. */
export const continues = (entry: Entry, kept: Kept): boolean =>
  entry.fence === kept.fence && (entry.want === "unclaimed" || kept.want !== "running");
