// How much there is of what is done by chance: all of it in `.ci/run`, a part in `npm test`.

/** In CI, which says so with LAMPLIGHTER_CHAOS_ROUNDS. */
const ALL = 50;
const said = Number(process.env.LAMPLIGHTER_CHAOS_ROUNDS);

/** How many rounds of faults there are where nobody has said a number. */
export const rounds = (usual: number): number => (Number.isNaN(said) ? usual : said);

/** The share of random queries and writes. */
export const SHARE = said >= ALL ? 1 : 0.2;
