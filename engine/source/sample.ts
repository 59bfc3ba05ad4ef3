import { randomInt } from "node:crypto";

/** What a source says of a table beside its rows, as of the same state: how many there are, and some of them, as texts. */
export type Evidence = { place: number; rows: number; sample: (string | null)[][] };

/** So many rows that follow each other. */
export const SAMPLE_ROWS = 20;

/** Where samples of a table begin, by its key: at the start, somewhere, and at the end. */
export const samplePlaces = (rows: number): number[] =>
  rows <= SAMPLE_ROWS ? [0] : [0, randomInt(rows - SAMPLE_ROWS + 1), rows - SAMPLE_ROWS];
