import type { KeptDatabase } from "../../contract/keeper.ts";
import { type Lsn, parseLsn } from "../../postgres/lsn.ts";
import type { Kept } from "./ladder.ts";
import type { Moment } from "./lease.ts";

/** How many of n keepers must have promised a term before its writer may open, when k of them acknowledge a commit: any k share one with them. */
export const promisesNeeded = (keepers: number, quorum: number): number => keepers - quorum + 1;

/**
 * The keeper whose log has every acknowledged commit: among enough that have promised, the one with the last writer's log and the most of it,
 * as in Raft the term before the length. Null when too few answered.
 */
export function mostComplete<T extends { status: KeptDatabase }>(
  answers: readonly T[],
  keepers: number,
  quorum: number,
): T | null {
  if (answers.length < promisesNeeded(keepers, quorum)) return null;
  return answers.reduce(
    (best: T | null, each) => (best === null || isAhead(each.status, best.status) ? each : best),
    null,
  );
}

/**
 * Since when a writer counts as told by k keepers that it may go on: the k-th newest of the moments at which they were asked. Any n − k + 1 that
 * promise a later term have one of those k among them. Null when fewer have said so.
 */
export function lastGivenBy(quorum: number, sent: readonly Moment[]): Moment | null {
  return [...sent].sort((a, b) => b.monotonic - a.monotonic)[quorum - 1] ?? null;
}

/** How long an older writer may still go on, as those say that have promised. */
export const leaseLeftMs = (answers: readonly KeptDatabase[]): number =>
  Math.max(0, ...answers.map(({ lease_left_ms }) => lease_left_ms));

/** What the ladder needs to know of the keepers. */
export function keptOf(
  answers: readonly KeptDatabase[],
  source: KeptDatabase,
  { keepers, quorum, servedTerm }: { keepers: number; quorum: number; servedTerm: number },
): Kept {
  // What it confirmed under the served term, or that it did not, is on the disk of one that has promised that term or an earlier one.
  const remembering = answers.filter(
    ({ writer_term, remembers_since }) =>
      writer_term >= servedTerm || (remembers_since !== null && remembers_since <= servedTerm),
  ).length;
  return {
    promisedTerm: Math.max(...answers.map(({ promised_term }) => promised_term)),
    writerTerm: source.writer_term,
    systemIdentifier: source.system_identifier,
    timeline: source.timeline,
    flush: flushOf(source),
    restorable: source.restorable,
    baseBytes: source.base?.bytes ?? 0,
    forgotten: remembering >= promisesNeeded(keepers, quorum) ? "no" : answers.length < keepers ? "by some" : "by all",
  };
}

function isAhead(a: KeptDatabase, b: KeptDatabase): boolean {
  if (a.writer_term !== b.writer_term) return a.writer_term > b.writer_term;
  if (a.timeline !== b.timeline) return a.timeline > b.timeline;
  return (flushOf(a) ?? -1n) > (flushOf(b) ?? -1n);
}

const flushOf = ({ flush_lsn }: KeptDatabase): Lsn | null => (flush_lsn === null ? null : parseLsn(flush_lsn));
