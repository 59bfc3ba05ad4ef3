import type { HealthResult, Probe } from "../../contract/health.ts";
import type { Tally } from "../ledger.ts";

/** What one probe came to. */
export type Outcome = { status: HealthResult["status"]; message: string };

/** What only this run of the agent knows of a check; times are of the monotonic clock, ms. */
export type Run = {
  /** Since when it has been green without a break. */
  readonly greenSince: number | null;
  /** The start of the failure that counted last. */
  readonly countedAt: number | null;
  /** How often it was probed before its time. */
  readonly early: number;
};

export const NEW_RUN: Run = { greenSince: null, countedAt: null, early: 0 };

/** One probe that is over. */
export type Probed = {
  readonly id: string;
  readonly generation: number;
  readonly check: number;
  readonly outcome: Outcome;
  /** By the monotonic clock, then by the host's. */
  readonly start: number;
  readonly end: number;
  readonly started_at: number;
  readonly finished_at: number;
  /** How old the instance was at the start, ms. */
  readonly age: number;
  /** From the end of the probe before to the start of this one, ms, by whichever clock says more; 0 for the first. */
  readonly gap: number;
};

export type Judgement = {
  tally: Tally;
  run: Run;
  /** Whether the control plane is to hear of it. */
  isNews: boolean;
  /** Whether it must survive the agent. */
  isKept: boolean;
};

/** Delays while a readiness check has never been green, ms. */
const EARLY_FIRST_MS = 250;
const EARLY_MOST_MS = 1_000;
/** Timers may ring a little early. */
const PUNCTUAL = 0.9;

/** Whether so long without a probe breaks what was seen before: nobody knows how it was in between. */
export const isBroken = (probe: Probe, gap: number): boolean => gap > 2 * probe.interval_ms + probe.timeout_ms;

export function judge(probe: Probe, before: Tally | null, run: Run, probed: Probed): Judgement {
  const { id, generation, check, outcome, start, end } = probed;
  const isGreen = outcome.status === "success";
  const last = before?.last ?? null;
  const goesOn = last !== null && (last.status === "success") === isGreen;
  const unbroken = goesOn && !(isGreen && isBroken(probe, probed.gap));
  const streak = unbroken ? last.streak + 1 : 1;

  const greenSince = isGreen ? ((unbroken ? run.greenSince : null) ?? end) : null;
  const held = unbroken && last.healthy;
  const healthy = greenSince !== null && (held || end - greenSince >= probe.min_healthy_ms);

  // A probe before its time tells, but does not count: the threshold means so many intervals.
  const isPunctual = run.countedAt === null || start - run.countedAt >= PUNCTUAL * probe.interval_ms;
  const counts = !isGreen && probed.age >= probe.start_period_ms && isPunctual;
  const toward = isGreen ? 0 : (before?.toward ?? 0) + (counts ? 1 : 0);
  const trips = toward >= probe.threshold;

  // The results of one check are told apart and ordered by when they were finished, so that must rise though the host's clock is set back.
  const finished_at = Math.max(probed.finished_at, (last?.finished_at ?? 0) + 1);
  const result: HealthResult = {
    id,
    generation,
    check,
    type: probe.type,
    ...outcome,
    started_at: Math.min(probed.started_at, finished_at),
    finished_at,
    streak,
    healthy,
    tripped: (last?.tripped ?? 0) + (trips ? 1 : 0),
  };
  const told = before?.told ?? null;
  const isNews =
    told === null ||
    told.status !== result.status ||
    told.healthy !== result.healthy ||
    told.tripped !== result.tripped;
  return {
    tally: {
      last: result,
      told: isNews ? result : told,
      toward: trips ? 0 : toward,
      green: isGreen || (before?.green ?? false),
      ready: healthy || (before?.ready ?? false),
    },
    run: { greenSince, countedAt: counts ? start : isGreen ? null : run.countedAt, early: run.early },
    isNews,
    isKept: isNews || !isGreen,
  };
}

/** When to probe next, by the monotonic clock, after a probe that was started and ended then. Never before that one is over. */
export function nextProbe(probe: Probe, tally: Tally | null, run: Run, start: number, end: number): [number, Run] {
  if (probe.readiness && !tally?.green) {
    const delay = Math.min(probe.interval_ms, EARLY_MOST_MS, EARLY_FIRST_MS * 2 ** Math.min(run.early, 8));
    return [Math.max(start + delay, end + Math.min(delay, EARLY_FIRST_MS)), { ...run, early: run.early + 1 }];
  }
  let at = start + probe.interval_ms;
  // Green for long enough is known when it is, not up to an interval later.
  if (probe.readiness && run.greenSince !== null && !tally?.last.healthy)
    at = Math.min(at, run.greenSince + probe.min_healthy_ms);
  return [Math.max(at, end), run];
}

/** Which checks run: only those of readiness until the deployment runs, and the others not before all of those have held once. */
export function isDue(
  check: number,
  probes: readonly Probe[],
  tallies: readonly (Tally | null)[],
  probing: "readiness" | "all",
): boolean {
  if (probes[check]?.readiness) return true;
  return probing === "all" && probes.every((probe, index) => !probe.readiness || tallies[index]?.ready === true);
}
