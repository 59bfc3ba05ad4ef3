import type { Build } from "../../contract/build.ts";
import type { ReportBody } from "../../contract/instance-report.ts";
import type { BuildChange } from "./draft.ts";

/** The builds of an instance: the newest are kept as a history, and the artifacts of the newest successful ones so that they can be deployed again. */

type ArtifactPart = Extract<ReportBody, { kind: "artifact" }>;

const KEPT = 50;
const DEPLOYABLE = 10;

export type BuildHistory = {
  /** Newest first. */
  builds: Build[];
  /** The newest that can be deployed. */
  image: string | null;
};

export function history(sql: SqlStorage): BuildHistory {
  const builds = sql
    .exec<{ body: string }>("SELECT body FROM build ORDER BY number DESC")
    .toArray()
    .map(({ body }) => JSON.parse(body) as Build);
  return { builds, image: builds.find(({ deployable }) => deployable)?.id ?? null };
}

/** Whether all parts of an artifact are here. */
export const isKept = (sql: SqlStorage, hash: string): boolean =>
  sql
    .exec<{ whole: number }>(
      "SELECT count(*) > 0 AND count(*) = max(parts) AS whole FROM artifact WHERE hash = ?",
      hash,
    )
    .one().whole === 1;

export function keepPart(sql: SqlStorage, { hash, part, parts, text }: ArtifactPart): void {
  sql.exec("DELETE FROM artifact WHERE hash = ? AND parts <> ?", hash, parts);
  sql.exec("INSERT OR REPLACE INTO artifact VALUES (?, ?, ?, ?)", hash, part, parts, text);
}

/** The whole text, read as it is taken: it may be larger than what one answer of an object may be. Null when it is not kept. */
export function artifactText(sql: SqlStorage, hash: string): ReadableStream<Uint8Array> | null {
  if (!isKept(sql, hash)) return null;
  const encoder = new TextEncoder();
  let part = 0;
  return new ReadableStream({
    type: "bytes",
    pull(controller) {
      const [row] = sql
        .exec<{ text: string; parts: number }>(
          "SELECT text, parts FROM artifact WHERE hash = ? AND part = ?",
          hash,
          part++,
        )
        .toArray();
      if (row === undefined) throw new Error("the artifact is kept no more");
      controller.enqueue(encoder.encode(row.text));
      if (part === row.parts) controller.close();
    },
  });
}

/** The same as one text, of what is never large. */
export const keptText = (sql: SqlStorage, hash: string): string | null =>
  isKept(sql, hash)
    ? sql
        .exec<{ text: string }>("SELECT text FROM artifact WHERE hash = ? ORDER BY part", hash)
        .toArray()
        .map(({ text }) => text)
        .join("")
    : null;

/** Writes what became of builds. `inUse`: what is deployed or being rolled out, whose artifacts stay whatever is newer. Call it inside `commit`. */
export function changeBuilds(
  sql: SqlStorage,
  changes: readonly BuildChange[],
  { now, config, inUse, purge }: { now: number; config: string | null; inUse: readonly string[]; purge: boolean },
): void {
  for (const change of changes) {
    const { id } = change;
    const before = sql.exec<{ body: string }>("SELECT body FROM build WHERE id = ?", id).toArray()[0];
    const build: Build = before ? (JSON.parse(before.body) as Build) : queued(id, config, now);
    put(sql, applied(build, change, now));
  }
  if (changes.length > 0 || purge) prune(sql, inUse, purge);
}

const queued = (id: string, config: string | null, now: number): Build => ({
  id,
  status: "queued",
  config,
  artifact: null,
  deployable: false,
  host_id: null,
  generation: null,
  schema_hash: null,
  query_schema: null,
  tables: null,
  warnings: [],
  failure: null,
  created_at: now,
  started_at: null,
  finished_at: null,
});

function applied(build: Build, change: BuildChange, now: number): Build {
  switch (change.type) {
    case "queued":
      return build;
    case "started":
      return { ...build, status: "in_progress", started_at: now, generation: change.generation };
    case "succeeded": {
      const { host_id, artifact, schema_hash, query_schema, tables, warnings } = change;
      const { hash, bytes } = artifact;
      const made = {
        artifact: { hash, bytes },
        deployable: true,
        host_id,
        schema_hash,
        query_schema,
        tables,
        warnings,
      };
      return { ...build, ...made, status: "succeeded", finished_at: now };
    }
    case "ended":
      return { ...build, status: change.status, failure: change.failure, finished_at: now };
  }
}

function put(sql: SqlStorage, build: Build): void {
  sql.exec(
    "INSERT INTO build (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
    build.id,
    JSON.stringify(build),
  );
}

function prune(sql: SqlStorage, inUse: readonly string[], purge: boolean): void {
  const { builds } = history(sql);
  let deployable = 0;
  for (const [i, build] of builds.entries()) {
    if (i >= KEPT && !inUse.includes(build.id)) sql.exec("DELETE FROM build WHERE id = ?", build.id);
    else if (build.deployable && (purge || (++deployable > DEPLOYABLE && !inUse.includes(build.id))))
      put(sql, { ...build, deployable: false });
  }
  const kept = history(sql).builds.filter(({ deployable }) => deployable);
  const hashes = kept.flatMap(({ artifact, query_schema }) => [artifact?.hash, query_schema]);
  sql.exec(
    "DELETE FROM artifact WHERE hash NOT IN (SELECT value FROM json_each(?))",
    JSON.stringify(hashes.filter(Boolean)),
  );
}
