import { formatLsn, type Lsn } from "../../postgres/lsn.ts";

/** The data folder that is on this host. `restoring`: a restore was cut off, and what is there is no cluster yet. */
export type LocalCluster = Copy | { state: "restoring" } | { state: "damaged"; why: string };

export type Copy = {
  systemIdentifier: string;
  timeline: number;
  state: "clean" | "crashed";
  /** Of its log; where it crashed, no more than up to where that could go. */
  end: Lsn | null;
  /** The last term under which it was opened as a writer; 0 when never. */
  openedTerm: number;
};

/** What the keepers that promised the term have, taken together: see quorum.ts. */
export type Kept = {
  promisedTerm: number;
  writerTerm: number;
  systemIdentifier: string | null;
  timeline: number;
  flush: Lsn | null;
  restorable: boolean;
  /** Of the newest base backup, uncompressed. */
  baseBytes: number;
  /**
   * Too few of those that answered remember the served term: one that lost its disk since cannot tell what was acknowledged through it.
   * `by some`: others that did not answer may have it.
   */
  forgotten: "no" | "by some" | "by all";
};

export type StartFacts = {
  term: number;
  /** The highest term that this host was ever given for the database. */
  fence: number;
  /** The last term whose writer clients were let in to; 0 when none ever was. */
  servedTerm: number;
  acceptLoss: boolean;
  /** The term of the writer that runs here now; null when none does. */
  runningTerm: number | null;
  local: LocalCluster | null;
  /** Null when too few keepers answered. */
  kept: Kept | null;
  /** A keeper found that the local log is not a continuation of its own. */
  localDiverged: boolean;
  driver: "process" | "container";
};

/** The rungs are numbered as in docs/design/writers.md: the higher, the longer a start takes. */
export type Decision =
  | { do: "nothing"; rung: 1; why: string }
  /** Stop what runs, and decide again. */
  | { do: "stop"; why: string }
  | { do: "create"; rung: 3 | 4; why: string }
  | { do: "start"; rung: 3 | 4; why: string }
  | { do: "recover"; rung: 5; why: string }
  /** `damage`: what is wrong with the copy that is here. */
  | { do: "restore"; rung: 7 | 8; why: string; damage: string | null }
  | { do: "refuse"; code: "stale_term" | "keepers_unreachable" | "not_restorable"; why: string };

/** Up to this size a restore takes about as long as its fixed parts. */
const SMALL_BYTES = 100 * 1024 * 1024;

/** How a database gets its writer on this host under a term. No clock, no I/O: what is known is in the facts. */
export function decide(facts: StartFacts): Decision {
  const { term, fence, servedTerm, runningTerm, local, kept, localDiverged } = facts;
  const quick = facts.driver === "container" ? 4 : 3;
  if (term < fence) return { do: "refuse", code: "stale_term", why: `this host was given term ${fence} already` };
  if (kept !== null && kept.promisedTerm > term)
    return { do: "refuse", code: "stale_term", why: `the keepers have promised term ${kept.promisedTerm}` };
  if (runningTerm === term && !localDiverged) return { do: "nothing", rung: 1, why: "it runs under this term" };
  if (kept === null)
    return {
      do: "refuse",
      code: "keepers_unreachable",
      why: "too few keepers answer for anyone to know what was acknowledged",
    };
  if (runningTerm !== null) return { do: "stop", why: `it runs under term ${runningTerm}` };

  const unusable = whyUnusable(local, kept, localDiverged);
  const cluster = unusable === null ? (local as Copy) : null;
  const isEmpty = kept.flush === null && !kept.restorable;
  if (cluster === null && isEmpty && servedTerm === 0)
    return { do: "create", rung: quick, why: "it has never been written to" };
  const lost = whyLost(facts, kept, cluster, unusable ?? "");
  const code = kept.forgotten === "by some" ? "keepers_unreachable" : "not_restorable";
  if (lost !== null) return { do: "refuse", code, why: lost };
  if (cluster === null) return restore(kept, unusable ?? "", damageOf(local, kept));
  if (isEmpty)
    return cluster.state === "clean"
      ? { do: "start", rung: quick, why: "no keeper has anything of it yet" }
      : { do: "recover", rung: 5, why: "no keeper has anything of it yet" };

  const stale = whyStale(cluster, kept);
  if (stale !== null) return restore(kept, stale);
  if (cluster.state === "crashed")
    return { do: "recover", rung: 5, why: "the copy here is the last writer's, which crashed" };
  return { do: "start", rung: quick, why: "the copy here is complete" };
}

/** Why what is here is no copy that could be used: whatever it has, it may lack what was acknowledged. Null when it could be. */
function whyUnusable(local: LocalCluster | null, kept: Kept, diverged: boolean): string | null {
  if (local === null) return "there is no copy on this host";
  if (local.state === "restoring") return "the restore here was cut off";
  const damage = damageOf(local, kept);
  if (damage !== null) return `the copy on this host is damaged: ${damage}`;
  return diverged ? "the log of the copy on this host is not a continuation of the keepers'" : null;
}

/** A writer's own log is never behind what it sent to a keeper. */
function damageOf(local: LocalCluster | null, kept: Kept): string | null {
  if (local === null || local.state === "restoring") return null;
  if (local.state === "damaged") return local.why;
  if (local.timeline !== kept.timeline || local.end === null || kept.flush === null) return null;
  if (whyStale(local, kept) !== null || local.end >= kept.flush) return null;
  return `its log ends at ${formatLsn(local.end)}, and the keepers have it up to ${formatLsn(kept.flush)}`;
}

/**
 * Why acknowledged commits may be nowhere to be found; null when they cannot. A copy that was opened under the last term that clients were let in
 * to is that writer's own and has them all. Otherwise the keepers must have them.
 */
function whyLost(
  { servedTerm, acceptLoss }: StartFacts,
  kept: Kept,
  local: Copy | null,
  unusable: string,
): string | null {
  if (servedTerm === 0 || (local !== null && local.openedTerm >= servedTerm)) return null;
  const here = local === null ? unusable : `the copy here is of term ${local.openedTerm}`;
  if (kept.flush === null && local === null) return `${here}, and no keeper has anything of it any more`;
  // Nobody can give up what may come back with a keeper that is away.
  if (acceptLoss && kept.forgotten !== "by some") return null;
  if (kept.forgotten !== "no")
    return `${here}, and too many of the keepers that answer lost their disk since for the others to know all of it`;
  if (kept.writerTerm < servedTerm)
    return `${here}, and the keepers have the log of term ${kept.writerTerm}: that of term ${servedTerm} is lost`;
  return null;
}

/**
 * Why the copy on this host lacks, or may lack, what was acknowledged; null when it has it all: when no later writer's log came to the keepers, and
 * it still is what that writer left.
 */
function whyStale(local: Copy, kept: Kept): string | null {
  if (kept.systemIdentifier !== null && kept.systemIdentifier !== local.systemIdentifier)
    return "it is another cluster";
  if (local.openedTerm < kept.writerTerm)
    return `it was last written under term ${local.openedTerm}, and the keepers have the log of term ${kept.writerTerm}`;
  if (local.timeline < kept.timeline)
    return `it is on timeline ${local.timeline}, and the keepers are on ${kept.timeline}`;
  return null;
}

function restore(kept: Kept, why: string, damage: string | null = null): Decision {
  if (!kept.restorable)
    return { do: "refuse", code: "not_restorable", why: `${why}, and no keeper has a base backup to restore from` };
  return { do: "restore", rung: restoreRung(kept.baseBytes), why, damage };
}

export const restoreRung = (baseBytes: number): 7 | 8 => (baseBytes <= SMALL_BYTES ? 7 : 8);
