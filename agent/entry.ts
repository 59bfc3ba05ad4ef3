import type { Probing } from "../contract/health.ts";
import type { FailureKind, Observation, Runtime, Workload } from "../contract/workload.ts";
import { isFinal, type State } from "./decide.ts";
import type { Kept, Want } from "./ledger.ts";

/** What the reconciler knows of one workload, and what it is doing about it. */
export class Entry implements State {
  readonly id: string;
  fence: number;
  want: Want;
  owner: string;
  probing: Probing;
  spec: State["spec"];
  present = new Map<number, { runtime: Runtime; stopTimeoutMs: number }>();
  seen: Observation | null;
  /** It was seen running before the agent's last restart, and has not been found since. */
  ran: boolean;
  changedAt: number;

  busy = false;
  failures = 0;
  applying: { generation: number; abort: AbortController } | null = null;
  retry: NodeJS.Timeout | null = null;

  constructor(kept: Kept) {
    this.id = kept.id;
    this.fence = kept.fence;
    this.want = kept.want;
    this.owner = kept.owner;
    this.probing = kept.probing;
    this.spec = kept.spec;
    this.seen = kept.last && isFinal(kept.last) ? kept.last : null;
    this.ran = kept.last?.phase === "running";
    this.changedAt = kept.changedAt;
  }

  /** What it runs on, or last ran on. */
  get runtime(): Runtime | null {
    const present = this.present.get(this.fence) ?? [...this.present.values()][0];
    return present?.runtime ?? this.spec?.runtime ?? null;
  }
}

/** What of it is kept on disk. */
export function keptOf(entry: Entry): Kept {
  const { id, fence, want, owner, probing, spec, seen, changedAt } = entry;
  return {
    id,
    fence,
    want,
    owner,
    probing,
    spec,
    last: seen && (isFinal(seen) || seen.phase === "running") ? seen : null,
    changedAt,
  };
}

/** What is seen of a workload that ran, and that nothing is left of though nobody here has removed it. */
export function vanished({ id, fence }: Entry, at: number): Observation {
  const exit = { code: null, signal: null, oom: false, at, evidence: "lost" as const };
  return { id, generation: fence, at, phase: "exited", exit };
}

export function failed(
  { id, generation }: Workload,
  at: number,
  failure: { kind: FailureKind; reason: string; message: string },
): Observation {
  return { id, generation, at, phase: "failed", failure };
}
