import { z } from "zod";
import { InstanceFailure } from "./instance-failure.ts";
import { timestamp } from "./timestamp.ts";

export const BUILD_STATUSES = ["queued", "in_progress", "succeeded", "failed"] as const;
export const BuildStatus = z.enum(BUILD_STATUSES);
export type BuildStatus = z.infer<typeof BuildStatus>;

/** One build of an instance as its object keeps it. It exists from the moment at which it is queued. */
export const Build = z.object({
  id: z.string(),
  status: BuildStatus,
  /** The text of reflexdb.yaml that it is made of. */
  config: z.string().nullable(),
  artifact: z.object({ hash: z.string(), bytes: z.int() }).nullable(),
  /** The artifact is kept: it can be deployed. */
  deployable: z.boolean(),
  /** Where it was built. */
  host_id: z.string().nullable(),
  generation: z.int().nullable(),
  schema_hash: z.string().nullable(),
  /** Hash of its QuerySchema, which is kept as long as the artifact; none: it was built before there was one. */
  query_schema: z.string().nullish(),
  tables: z.int().nullable(),
  warnings: z.array(z.string()),
  failure: InstanceFailure.nullable(),
  created_at: z.int(),
  started_at: z.int().nullable(),
  finished_at: z.int().nullable(),
});
export type Build = z.infer<typeof Build>;

const time = z.iso.datetime();

/** A build as the API answers it, newest first in lists. */
export const BuildView = z.object({
  id: z.string(),
  instance_id: z.string(),
  status: BuildStatus,
  deployable: z.boolean().describe("Its artifact is kept, so that redeploy can name it"),
  artifact_hash: z.string().nullable(),
  artifact_bytes: z.int().nullable(),
  schema_hash: z.string().nullable(),
  tables: z.int().nullable(),
  warnings: z.array(z.string()),
  error: InstanceFailure.omit({ at: true }).nullable(),
  created_at: time,
  started_at: time.nullable(),
  finished_at: time.nullable(),
  duration_seconds: z.number().nullable(),
});
export type BuildView = z.infer<typeof BuildView>;

export const BuildList = z.object({
  builds: z.array(BuildView),
  active_build_id: z.string().nullable().describe("The one that is queued or under way"),
});

export function buildView(instance_id: string, build: Build): BuildView {
  const { id, status, deployable, artifact, schema_hash, tables, warnings, failure } = build;
  const { created_at, started_at, finished_at } = build;
  return {
    id,
    instance_id,
    status,
    deployable,
    artifact_hash: artifact?.hash ?? null,
    artifact_bytes: artifact?.bytes ?? null,
    schema_hash,
    tables,
    warnings,
    error: failure && {
      code: failure.code,
      category: failure.category,
      message: failure.message,
      retryable: failure.retryable,
    },
    created_at: timestamp(created_at),
    started_at: timestamp(started_at),
    finished_at: timestamp(finished_at),
    duration_seconds: started_at === null || finished_at === null ? null : (finished_at - started_at) / 1000,
  };
}
