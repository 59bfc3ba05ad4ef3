import { segmentName } from "../postgres/lsn.ts";

// Each keeper writes below its own name, so no two ever write the same object, and one that missed a term overwrites nobody's.

export const DATABASES = "databases/";

export const databasePrefix = (database: string, keeper: string): string => `${DATABASES}${database}/${keeper}/`;

export const manifestKey = (database: string, keeper: string): string =>
  `${databasePrefix(database, keeper)}manifest.json`;

export const baseKey = (database: string, keeper: string, base: string): string =>
  `${databasePrefix(database, keeper)}bases/${base}.tar.zst`;

export const segmentKey = (database: string, keeper: string, term: number, timeline: number, segment: number): string =>
  `${databasePrefix(database, keeper)}wal/${term}/${timeline}/${segmentName(timeline, segment)}.zst`;

export const tailKey = (
  database: string,
  keeper: string,
  { term, timeline, segment, bytes }: { term: number; timeline: number; segment: number; bytes: number },
): string =>
  `${databasePrefix(database, keeper)}wal/${term}/${timeline}/${segmentName(timeline, segment)}.${bytes}.partial.zst`;
