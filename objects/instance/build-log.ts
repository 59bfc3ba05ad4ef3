import { SLOT } from "../../contract/instance.ts";
import type { LogLine } from "../../contract/workload.ts";
import type { InstanceRecord } from "./kept.ts";

/** What builds wrote. It is read from their hosts while they run, and kept here when they go from there. */

/** Of one build: so many of its newest lines. */
export const BUILD_LINES = 1_000;

/** The builds whose job is to go from its host, and of which nothing is kept yet. */
export const leavingBuilds = (sql: SqlStorage, { state, builds }: InstanceRecord) =>
  builds.flatMap(({ id, generation }) => {
    const place = state.leaving.find((one) => one.slot === SLOT.build && one.generation === generation);
    return place === undefined || buildLog(sql, id) !== null ? [] : [{ id, ...place }];
  });

/** Call it inside `commit`. */
export function keepBuildLog(sql: SqlStorage, buildId: string, lines: readonly LogLine[]): void {
  sql.exec("INSERT OR REPLACE INTO build_log VALUES (?, ?)", buildId, JSON.stringify(lines));
  sql.exec("DELETE FROM build_log WHERE build_id NOT IN (SELECT id FROM build)");
}

/** LogLine[], JSON; null: nothing is kept of it. */
export const buildLog = (sql: SqlStorage, buildId: string): string | null =>
  sql.exec<{ lines: string }>("SELECT lines FROM build_log WHERE build_id = ?", buildId).toArray()[0]?.lines ?? null;
