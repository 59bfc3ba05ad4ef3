import { FULL_PART } from "../../contract/frame.ts";
import type { Probing } from "../../contract/health.ts";
import type { Exit, Observation, Workload, WorkloadSpec } from "../../contract/workload.ts";
import { portsOf } from "./admission.ts";

/** The table of what should run on a host and what was seen of it. One function writes it, and keeps the host's sums in step. */
export type WorkloadRow = {
  id: string;
  generation: number;
  owner: string;
  want: "running" | "gone";
  /** Null until its owner says, which means all. */
  probing: Probing | null;
  spec: WorkloadSpec | null;
  observation: Observation | null;
  unsent: boolean;
  untold: boolean;
};

type Stored = {
  id: string;
  generation: number;
  owner: string;
  want: "running" | "gone";
  probing: Probing | null;
  spec: string | null;
  observation: string | null;
  unsent: number;
  untold: number;
};

const COLUMNS = "id, generation, owner, want, probing, spec, observation, unsent, untold";

export const one = (sql: SqlStorage, id: string): WorkloadRow | null => rows(sql, "WHERE id = ?", id)[0] ?? null;
export const allOf = (sql: SqlStorage, owner: string): WorkloadRow[] => rows(sql, "WHERE owner = ?", owner);
export const untoldOf = (sql: SqlStorage, owner: string): WorkloadRow[] =>
  rows(sql, "WHERE owner = ? AND untold = 1", owner);

/** So much of what is stored goes into one frame, and one row more: with files in them, workloads may be large. */
const PART_BYTES = 8_000_000;
const part = (where: string): string =>
  `WHERE id IN (SELECT id FROM (SELECT id, sum(length(spec)) OVER (ORDER BY id) - length(spec) AS before
     FROM (SELECT id, ifnull(spec, '') AS spec FROM workload WHERE ${where} ORDER BY id LIMIT ?)) WHERE before < ${PART_BYTES}) ORDER BY id`;

/** As many of the rows that were not sent as go into one frame. */
export const unsent = (sql: SqlStorage): WorkloadRow[] => rows(sql, part("unsent = 1"), FULL_PART);
export const page = (sql: SqlStorage, afterId: string): WorkloadRow[] => rows(sql, part("id > ?"), afterId, FULL_PART);
export const isLast = (sql: SqlStorage, id: string): boolean =>
  sql.exec("SELECT 1 FROM workload WHERE id > ? LIMIT 1", id).toArray().length === 0;
export const owners = (sql: SqlStorage): string[] =>
  sql
    .exec<{ owner: string }>("SELECT DISTINCT owner FROM workload")
    .toArray()
    .map(({ owner }) => owner);

/** What was last seen running here. */
export const runningIds = (sql: SqlStorage): string[] =>
  sql
    .exec<{ id: string }>("SELECT id FROM workload WHERE want = 'running' AND observation ->> 'phase' = 'running'")
    .toArray()
    .map(({ id }) => id);

export const holderOf = (sql: SqlStorage, port: string, exceptId: string): string | null =>
  sql
    .exec<{ id: string }>("SELECT id FROM workload WHERE ports LIKE ? AND id <> ? LIMIT 1", `% ${port} %`, exceptId)
    .toArray()[0]?.id ?? null;

function rows(sql: SqlStorage, where: string, ...bindings: (string | number)[]): WorkloadRow[] {
  return sql
    .exec<Stored>(`SELECT ${COLUMNS} FROM workload ${where}`, ...bindings)
    .toArray()
    .map((row) => ({
      ...row,
      spec: row.spec === null ? null : (JSON.parse(row.spec) as WorkloadSpec),
      observation: row.observation === null ? null : (JSON.parse(row.observation) as Observation),
      unsent: row.unsent === 1,
      untold: row.untold === 1,
    }));
}

/** Writes a row, or with null removes it, and keeps the host's sums in step. Call it inside `commit`. */
export function put(sql: SqlStorage, id: string, row: WorkloadRow | null, now: number): void {
  const before = one(sql, id);
  const was = before ? held(before) : NOTHING;
  const is = row ? held(row) : NOTHING;
  // What its health checks came to is of this generation only, and for as long as it should run.
  if (before && (row?.want !== "running" || row.generation !== before.generation))
    sql.exec("DELETE FROM health WHERE workload = ?", id);
  if (row === null) sql.exec("DELETE FROM workload WHERE id = ?", id);
  else {
    sql.exec(
      "INSERT OR REPLACE INTO workload (id, generation, owner, want, probing, spec, observation, memory, cpu, ports, unsent, untold, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      id,
      row.generation,
      row.owner,
      row.want,
      row.probing,
      row.spec === null ? null : JSON.stringify(row.spec),
      row.observation === null ? null : JSON.stringify(row.observation),
      is.memory,
      is.cpu,
      is.ports,
      row.unsent ? 1 : 0,
      row.untold ? 1 : 0,
      now,
    );
  }
  if (was.memory !== is.memory || was.cpu !== is.cpu || was.count !== is.count) {
    sql.exec(
      "UPDATE host SET memory_reserved = memory_reserved + ?, cpu_reserved = cpu_reserved + ?, workloads = workloads + ?",
      is.memory - was.memory,
      is.cpu - was.cpu,
      is.count - was.count,
    );
  }
}

const NOTHING = { memory: 0, cpu: 0, ports: "", count: 0 };

/** What a row holds of the host. What has exited, or never came up, holds nothing but its place in the count; what is gone holds nothing. */
function held(row: WorkloadRow): typeof NOTHING {
  const phase = row.observation?.phase;
  if (row.spec === null || phase === "gone") return NOTHING;
  if (phase === "exited" || phase === "failed") return { ...NOTHING, count: 1 };
  const ports = portsOf(row.spec);
  return {
    memory: row.spec.memory_reserved_bytes,
    cpu: row.spec.cpu_reserved_millis,
    ports: ports.length > 0 ? ` ${ports.join(" ")} ` : "",
    count: 1,
  };
}

/** What the agent is sent about a row. A row without a spec is one that must be gone and never came; there is nothing to send. */
export const commandOf = ({ id, generation, owner, want, probing, spec }: WorkloadRow): Workload[] =>
  spec === null ? [] : [{ id, generation, owner, want, ...(probing === null ? {} : { probing }), spec }];

/** A generation goes through these upwards only. */
const COURSE: Record<Observation["phase"], number> = {
  preparing: 0,
  running: 1,
  exited: 2,
  failed: 2,
  stopping: 3,
  gone: 4,
};

/** Whether an observation tells something new about a row; older ones, repeats and those of other generations do not. */
export function isNews(row: WorkloadRow, seen: Observation): boolean {
  if (seen.generation !== row.generation) return false;
  const known = row.observation;
  if (known === null) return true;
  // An end is dated when it came, which may be before the moment at which the agent last saw it run.
  if (known.phase === "gone" || (seen.at < known.at && COURSE[seen.phase] <= COURSE[known.phase])) return false;
  return (
    JSON.stringify({ ...seen, at: 0, ...sameExit(seen) }) !== JSON.stringify({ ...known, at: 0, ...sameExit(known) })
  );
}

/** An exit that is told twice may be told with another time, e.g. by an agent that saw it only after its own restart. */
const sameExit = (seen: Observation): { exit?: Exit } =>
  seen.phase === "exited" ? { exit: { ...seen.exit, at: 0 } } : {};
