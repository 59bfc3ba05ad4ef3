import { type Tally, takeTallies } from "./tally.ts";

/** How many resources of one sort there are. `status` is the resource's own; `runtime` is a deployment's, else empty. */
export type Count = {
  kind: string;
  namespace: string | null;
  status: string;
  type: string;
  runtime: string;
  count: number;
};

/** A deployment that has something running, as far as figures about it need to know it. */
export type Measured = {
  id: string;
  name: string;
  namespace: string;
  runtime: string;
  restarts: number;
};

export type Census = { counts: Count[]; deployments: Measured[]; tallies: Tally[] };

/** Statuses in which nothing of a deployment runs: it has no figures of its own. */
const AT_REST = JSON.stringify(["deleted", "completed"]);

export function takeCensus(sql: SqlStorage): Census {
  const counts = sql
    .exec<Count>(
      `SELECT kind, namespace, status, type, CASE kind WHEN 'deployment' THEN body ->> 'runtime' ELSE '' END AS runtime, count(*) AS count
       FROM entry WHERE gone_at IS NULL GROUP BY 1, 2, 3, 4, 5`,
    )
    .toArray();
  const deployments = sql
    .exec<Measured>(
      `SELECT id, name, namespace, body ->> 'runtime' AS runtime, body ->> 'restart_count' AS restarts
       FROM entry WHERE kind = 'deployment' AND gone_at IS NULL AND status NOT IN (SELECT value FROM json_each(?)) ORDER BY id`,
      AT_REST,
    )
    .toArray();
  return { counts, deployments, tallies: takeTallies(sql) };
}
