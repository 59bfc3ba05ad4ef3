import { type Lsn, parseLsn } from "../lsn.ts";

/** A timeline of which a later one is a branch: it counts up to, not including, `until`. */
export type Ancestor = { timeline: number; until: Lsn };

/** Reads a history file: the ancestors of a timeline, oldest first. */
export function parseHistory(text: string): Ancestor[] {
  const ancestors: Ancestor[] = [];
  for (const line of text.split("\n")) {
    const [timeline, until] = line.replace(/#.*/, "").trim().split(/\s+/);
    if (timeline && until) ancestors.push({ timeline: Number(timeline), until: parseLsn(until) });
  }
  return ancestors;
}

/** The timelines whose log leads to `timeline`, oldest first, each with the position up to which it counts. The last has none. */
export type Lineage = { timeline: number; until: Lsn | null }[];

export const lineage = (timeline: number, history: readonly Ancestor[]): Lineage => [
  ...history,
  { timeline, until: null },
];

/** The timeline that the byte at `lsn` belongs to. */
export function timelineAt(line: Lineage, lsn: Lsn): number {
  const at = line.find(({ until }) => until === null || lsn < until) ?? line.at(-1);
  if (at === undefined) throw new Error("there is no timeline");
  return at.timeline;
}
