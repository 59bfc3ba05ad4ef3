import type { IndexRow } from "../projection.ts";

/** How many of one word there are in all that is of a kind. */
export type Tally = { kind: string; word: string; count: number };

/** Takes over what an object counts. Nothing is written where nothing changed; null: it is gone, and its counts with it. */
export function keepTally(
  sql: SqlStorage,
  { kind, id }: Pick<IndexRow, "kind" | "id">,
  counts: Record<string, number> | null,
): void {
  const filled = Object.entries(counts ?? {}).filter(([, count]) => count > 0);
  sql.exec(
    "DELETE FROM tally WHERE kind = ? AND id = ? AND word NOT IN (SELECT value FROM json_each(?))",
    kind,
    id,
    JSON.stringify(filled.map(([word]) => word)),
  );
  for (const [word, count] of filled)
    sql.exec(
      "INSERT INTO tally VALUES (?, ?, ?, ?) ON CONFLICT (kind, id, word) DO UPDATE SET count = excluded.count WHERE count <> excluded.count",
      kind,
      id,
      word,
      count,
    );
}

/** What it counted stays in the sums, though it is gone: of what happens, more happens, and a sum that falls would be taken for a new beginning. */
export function inheritTally(sql: SqlStorage, { kind, id }: Pick<IndexRow, "kind" | "id">): void {
  sql.exec(
    `INSERT INTO tally SELECT kind, '', word, count FROM tally WHERE kind = ? AND id = ?
       ON CONFLICT (kind, id, word) DO UPDATE SET count = count + excluded.count`,
    kind,
    id,
  );
  sql.exec("DELETE FROM tally WHERE kind = ? AND id = ?", kind, id);
}

export const takeTallies = (sql: SqlStorage): Tally[] =>
  sql.exec<Tally>("SELECT kind, word, sum(count) AS count FROM tally GROUP BY kind, word").toArray();
