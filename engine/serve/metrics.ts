import type { EngineHealth } from "../../contract/engine.ts";

export type Counts = { queries: number; problems: Map<string, number>; seconds: number; plans: number };

/** Prometheus' text. */
export function metricsText(health: EngineHealth, counts: Counts): string {
  const lines: string[] = [];
  const add = (
    name: string,
    type: "gauge" | "counter",
    help: string,
    samples: readonly (readonly [labels: string, value: number])[],
  ) => {
    lines.push(`# HELP lamplighter_engine_${name} ${help}`, `# TYPE lamplighter_engine_${name} ${type}`);
    for (const [labels, value] of samples) lines.push(`lamplighter_engine_${name}${labels} ${value}`);
  };
  const { replication, memory } = health;
  add("up", "gauge", "Whether queries are answered.", [["", health.state === "serving" ? 1 : 0]]);
  add("queries_total", "counter", "Queries that were answered with rows.", [["", counts.queries]]);
  add("query_seconds_total", "counter", "Time in queries.", [["", counts.seconds]]);
  add(
    "problems_total",
    "counter",
    "Queries that were answered with an error.",
    [...counts.problems].map(([code, value]) => [`{code="${code}"}`, value] as const),
  );
  add("plans_compiled_total", "counter", "Queries that had to be compiled.", [["", counts.plans]]);
  add(
    "rows",
    "gauge",
    "Rows in memory.",
    Object.entries(health.rows).map(([table, rows]) => [`{table=${JSON.stringify(table)}}`, rows] as const),
  );
  add("memory_bytes", "gauge", "Memory in use.", [["", memory.used_mb * 1024 * 1024]]);
  add("memory_limit_bytes", "gauge", "Memory that there is.", [["", memory.limit_mb * 1024 * 1024]]);
  add("replication_live", "gauge", "Whether changes of the source are followed.", [
    ["", replication.state === "live" ? 1 : 0],
  ]);
  if (replication.age_ms !== null)
    add("snapshot_age_seconds", "gauge", "How long ago all that the source had was here.", [
      ["", replication.age_ms / 1000],
    ]);
  add("transactions_total", "counter", "Transactions of the source that were applied.", [
    ["", replication.transactions],
  ]);
  add("resyncs_total", "counter", "Times that everything was read again as the log could not go on.", [
    ["", replication.resyncs],
  ]);
  add("schema_drift", "gauge", "Differences between the source's schema and the one this was built from.", [
    ["", health.drift.length],
  ]);
  return `${lines.join("\n")}\n`;
}
