/** A request names a term that was overtaken. */
export class StaleTerm extends Error {}

/** Throws unless a request of this term may be heard by someone who promised that. */
export function refuseOlder(term: number, promised: number): void {
  if (term < promised) throw new StaleTerm(`term ${term} is over: term ${promised} was promised`);
}
