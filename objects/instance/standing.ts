import { SourceStanding } from "../../contract/database-reader.ts";

/** Where the managed database that an instance reads from can be read now. */

export function standingOf(sql: SqlStorage): SourceStanding | null {
  const row = sql.exec<{ body: string }>("SELECT body FROM source_standing").toArray()[0];
  return row ? SourceStanding.parse(JSON.parse(row.body)) : null;
}

/** Keeps it unless something newer is known. Answers whether it was news. */
export function keepStanding(sql: SqlStorage, standing: SourceStanding): boolean {
  const known = standingOf(sql);
  if (known !== null && known.revision >= standing.revision) return false;
  sql.exec("INSERT OR REPLACE INTO source_standing VALUES (1, ?)", JSON.stringify(standing));
  return known?.term !== standing.term || JSON.stringify(known.at) !== JSON.stringify(standing.at);
}
