/** `; did you mean "replicas"?` for the nearest known name within two edits (one for short names), else nothing. */
export function suggestion(word: string, known: readonly string[]): string {
  const [near] = nearest(word, known);
  return near === undefined ? "" : `; did you mean "${near}"?`;
}

/** The known names that are near to a word, best first. */
export function nearest(word: string, known: readonly string[]): string[] {
  return known
    .map((name) => ({ name, distance: editDistance(word.toLowerCase(), name.toLowerCase()) }))
    .filter(({ name, distance }) => distance <= (Math.min(name.length, word.length) < 5 ? 1 : 2))
    .sort((a, b) => a.distance - b.distance)
    .map(({ name }) => name);
}

/** Edits (insert, delete, replace, swap of neighbours) between two words. */
function editDistance(a: string, b: string): number {
  const row = (i: number) => Array.from({ length: b.length + 1 }, (_, j) => (i === 0 ? j : j === 0 ? i : 0));
  const d = Array.from({ length: a.length + 1 }, (_, i) => row(i));
  const at = (i: number, j: number) => (d[i] as number[])[j] as number;
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, at(i - 2, j - 2) + 1);
      (d[i] as number[])[j] = best;
    }
  }
  return at(a.length, b.length);
}
