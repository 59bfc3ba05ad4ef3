/** An alarm that rings this soon, ms, is left where it is though the need for it has passed or moved: ringing in vain is cheaper than moving it twice. */
const SOON_MS = 5_000;

/** Whether an alarm that is set to `pointer` will do for rows that want it at `wanted`: it must not ring later, nor long before. */
export function isWell(pointer: number | null, wanted: number | null, now: number): boolean {
  if (pointer === wanted) return true;
  // One that is set to the past has rung, or is about to.
  if (pointer === null || pointer <= now) return wanted === null;
  return pointer <= now + SOON_MS && (wanted === null || pointer <= wanted);
}
