import type { EngineVitals } from "../../contract/instance-report.ts";
import type { Vitals } from "./kept.ts";

type Row = { generation: number; body: string; at: number; busy_at: number | null };

export function vitalsOf(sql: SqlStorage): Vitals | null {
  const row = sql.exec<Row>("SELECT generation, body, at, busy_at FROM vitals").toArray()[0];
  return row ? { ...row, body: JSON.parse(row.body) as EngineVitals } : null;
}

/** The engine's clock is its host's: a query that is new to us counts as of now. */
export function keepVitals(sql: SqlStorage, generation: number, body: EngineVitals, now: number): void {
  const before = vitalsOf(sql);
  const asked = body.last_query_at !== null;
  const known = before?.generation === generation ? before.body.last_query_at : null;
  const busy_at = asked && body.last_query_at !== known ? now : (before?.busy_at ?? null);
  sql.exec("INSERT OR REPLACE INTO vitals VALUES (1, ?, ?, ?, ?)", generation, JSON.stringify(body), now, busy_at);
}

/** Its host says that somebody asks: sooner than the engine does, and also when the engine fails. */
export const noteAsked = (sql: SqlStorage, now: number): void => void sql.exec("UPDATE vitals SET busy_at = ?", now);
