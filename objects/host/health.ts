import type { HealthResult, Probing } from "../../contract/health.ts";
import { one, put } from "./workloads.ts";

/** Results of health checks on their way from the agent to the owners, and which checks the owners want; each change inside `commit`. */

/** Notes results. Answers the owners for whom there is news; a result that came before, or is of what should not run here, is none. */
export function note(sql: SqlStorage, results: readonly HealthResult[]): Set<string> {
  const owners = new Set<string>();
  for (const result of results) {
    const row = one(sql, result.id);
    if (row?.want !== "running" || row.generation !== result.generation) continue;
    const known = sql
      .exec<{ result: string }>('SELECT result FROM health WHERE workload = ? AND "check" = ?', result.id, result.check)
      .toArray()[0];
    // The agent sees to it that this rises from result to result.
    if (known && (JSON.parse(known.result) as HealthResult).finished_at >= result.finished_at) continue;
    sql.exec(
      'INSERT OR REPLACE INTO health (workload, "check", owner, result, untold) VALUES (?, ?, ?, ?, 1)',
      result.id,
      result.check,
      row.owner,
      JSON.stringify(result),
    );
    owners.add(row.owner);
  }
  return owners;
}

/** What an owner has not been told, oldest first. */
export const untoldHealth = (sql: SqlStorage, owner: string): HealthResult[] =>
  sql
    .exec<{ result: string }>("SELECT result FROM health WHERE owner = ? AND untold = 1", owner)
    .toArray()
    .map(({ result }) => JSON.parse(result) as HealthResult)
    .sort((a, b) => a.finished_at - b.finished_at);

/** The owner was told these; what has come meanwhile stays to be told. */
export function toldHealth(sql: SqlStorage, results: readonly HealthResult[]): void {
  for (const result of results) {
    sql.exec(
      'UPDATE health SET untold = 0 WHERE workload = ? AND "check" = ? AND result = ?',
      result.id,
      result.check,
      JSON.stringify(result),
    );
  }
}

/** Which checks of these are to run from now on. Answers whether the agent has to be told. */
export function setProbing(
  sql: SqlStorage,
  owner: string,
  workloads: readonly { id: string; generation: number }[],
  probing: Probing,
  now: number,
): boolean {
  let isNews = false;
  for (const { id, generation } of workloads) {
    const row = one(sql, id);
    const isMeant = row?.owner === owner && row.generation === generation && row.want === "running";
    if (!isMeant || (row.probing ?? "all") === probing) continue;
    put(sql, id, { ...row, probing, unsent: true }, now);
    isNews = true;
  }
  return isNews;
}
