import {
  HEALTH_RESULTS_KEPT,
  HEALTH_RESULTS_KEPT_MS,
  type HealthResult,
  type HealthResultView,
} from "../../contract/health.ts";
import { instanceId } from "../../contract/id.ts";
import { timestamp } from "../../contract/timestamp.ts";
import { post } from "../outbox.ts";

/** What health checks came to, the last of it: a table beside the state. Call it inside `commit`. */
export function keepResults(
  sql: SqlStorage,
  deploymentId: string,
  results: readonly HealthResult[],
  now: number,
): void {
  let isNew = false;
  for (const result of results) {
    const body: Omit<HealthResultView, "id"> = {
      deployment_id: deploymentId,
      instance_id: instanceId(result.id, result.generation),
      check: result.check,
      check_type: result.type,
      status: result.status,
      message: result.message,
      healthy: result.healthy,
      streak: result.streak,
      created_at: timestamp(now),
      started_at: timestamp(result.started_at),
      finished_at: timestamp(result.finished_at),
    };
    // A report that comes twice says the same of the same probe.
    const known = sql
      .exec<{ n: number }>(
        "SELECT count(*) AS n FROM health_result WHERE body ->> 'instance_id' = ? AND body ->> 'check' = ? AND body ->> 'finished_at' = ?",
        body.instance_id,
        body.check,
        body.finished_at,
      )
      .one().n;
    if (known > 0) continue;
    isNew = true;
    sql.exec("INSERT INTO health_result (at, body) VALUES (?, ?)", now, JSON.stringify(body));
  }
  // The lists are told how many there are of each status.
  if (isNew) post(sql, "index", now);
  sql.exec(
    "DELETE FROM health_result WHERE at < ?1 OR seq <= (SELECT max(seq) FROM health_result) - ?2",
    now - HEALTH_RESULTS_KEPT_MS,
    HEALTH_RESULTS_KEPT,
  );
}

/** Kept results, newest first, as JSON texts. `latest`: only the newest of each check of each instance. */
export function results(sql: SqlStorage, deploymentId: string, limit: number, latest: boolean): string[] {
  const rows = sql
    .exec<{ seq: number; body: string }>(
      latest
        ? "SELECT max(seq) AS seq, body FROM health_result GROUP BY body ->> 'instance_id', body ->> 'check' ORDER BY seq DESC LIMIT ?"
        : "SELECT seq, body FROM health_result ORDER BY seq DESC LIMIT ?",
      limit,
    )
    .toArray();
  return rows.map(({ seq, body }) => JSON.stringify({ id: `${deploymentId}:health:${seq}`, ...JSON.parse(body) }));
}

/** How many results are kept of each status. */
export const healthTally = (sql: SqlStorage): Record<string, number> =>
  Object.fromEntries(
    sql
      .exec<{ status: string; n: number }>(
        "SELECT body ->> 'status' AS status, count(*) AS n FROM health_result GROUP BY 1",
      )
      .toArray()
      .map(({ status, n }) => [status, n]),
  );
