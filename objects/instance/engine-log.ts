import type { LogLine } from "../../contract/workload.ts";
import type { FailedEngine, InstanceRecord } from "./kept.ts";

/** The last that engines wrote that failed: one that loads wrongly, has too little memory or dies is withdrawn, and its host then has nothing of it. */

/** Of one engine: so many of its newest lines. */
export const ENGINE_LINES = 200;
/** So many engines. */
const KEPT = 5;
/** What the instance itself shows of it: so many lines, and so long each. */
const TAIL_LINES = 10;
const TAIL_LINE = 300;

/** Engines that failed and are to go from their hosts, and of which nothing is kept yet. */
export const leavingEngines = (sql: SqlStorage, { state }: Pick<InstanceRecord, "state">) =>
  state.leaving.flatMap(({ failed, ...place }) =>
    failed === undefined || isKept(sql, place.generation) ? [] : [{ ...place, ...failed }],
  );

const isKept = (sql: SqlStorage, generation: number): boolean =>
  sql.exec("SELECT 1 FROM engine_log WHERE generation = ?", generation).toArray().length > 0;

/** Call it inside `commit`. */
export function keepEngineLog(
  sql: SqlStorage,
  { generation, build_id, at }: { generation: number; build_id: string; at: number },
  lines: readonly LogLine[],
): void {
  const tail = lines.slice(-TAIL_LINES).map(({ message }) => textOf(message).slice(0, TAIL_LINE));
  const [all, short] = [JSON.stringify(lines), JSON.stringify(tail)];
  sql.exec("INSERT OR REPLACE INTO engine_log VALUES (?, ?, ?, ?, ?)", generation, build_id, at, all, short);
  sql.exec(
    "DELETE FROM engine_log WHERE generation NOT IN (SELECT generation FROM engine_log ORDER BY generation DESC LIMIT ?)",
    KEPT,
  );
}

/** An engine writes JSON, of which its text is what is read. */
function textOf(message: string): string {
  try {
    const { text } = JSON.parse(message) as { text?: unknown };
    return typeof text === "string" ? text : message;
  } catch {
    return message;
  }
}

/** Of the one that failed last. */
export const engineLog = (sql: SqlStorage): { generation: number; lines: string } | null =>
  sql
    .exec<{ generation: number; lines: string }>(
      "SELECT generation, lines FROM engine_log ORDER BY generation DESC LIMIT 1",
    )
    .toArray()[0] ?? null;

export function lastFailure(sql: SqlStorage): FailedEngine | null {
  const row = sql
    .exec<{ generation: number; build_id: string | null; at: number; tail: string }>(
      "SELECT generation, build_id, at, tail FROM engine_log ORDER BY generation DESC LIMIT 1",
    )
    .toArray()[0];
  if (row === undefined) return null;
  const { tail, ...of } = row;
  return { ...of, log: JSON.parse(tail) as string[] };
}
