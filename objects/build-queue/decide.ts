/**
 * Whose build is next. Pure. Fair between namespaces: the one whose last turn is longest ago has the next one; within a namespace, first come,
 * first served.
 */

export type Waiting = { build_id: string; namespace: string; number: number };

/** @param turns the number of each namespace's last turn; one that never had any comes before all that had */
export function next(
  waiting: readonly Waiting[],
  turns: Readonly<Record<string, number>>,
  free: number,
): { admitted: Waiting[]; turns: Record<string, number> } {
  const left = [...waiting].sort((a, b) => a.number - b.number);
  const last: Record<string, number> = { ...turns };
  const admitted: Waiting[] = [];
  let number = Math.max(0, ...Object.values(turns));
  while (admitted.length < free && left.length > 0) {
    // Of equals the one that came first, since they are in that order.
    const best = left.reduce((a, b) => ((last[b.namespace] ?? 0) < (last[a.namespace] ?? 0) ? b : a));
    left.splice(left.indexOf(best), 1);
    number += 1;
    last[best.namespace] = number;
    admitted.push(best);
  }
  return { admitted, turns: last };
}
