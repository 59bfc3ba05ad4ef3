import { SLOT } from "../../contract/instance.ts";
import type { EngineVitals, Report, ReportBody, SourceTest } from "../../contract/instance-report.ts";
import { type InstanceSize, rowsBytes, sizeFor } from "../../contract/instance-size.ts";
import { note } from "../note.ts";
import { become, type Draft, fail, leave, rowsText, runnerAt } from "./draft.ts";
import { engineFailed } from "./engine.ts";
import { type Loaded, launch, takeOver, tested } from "./operation.ts";
import { giveUpRelease, released, releasedByItself } from "./release.ts";

/** What the programs of an instance say of themselves. */

export type Told = Pick<Report, "generation" | "operation" | "body"> & { slot: number };

/** Whether anybody waits for it: it is of a workload that should be there, and of the present revision of its operation. */
export function isAwaited(draft: Awaiting, told: Told): boolean {
  // The last word of an engine that goes.
  if (told.body.kind === "released" && draft.leaving.some((one) => isSame(one, told))) return true;
  const runner = runnerAt(draft, told.slot, told.generation);
  if (runner === null || runner.phase === "placing" || runner.phase === "waiting") return false;
  // An engine that serves was started for an operation that is over.
  if (draft.serving?.runner === runner) return true;
  if (draft.clearing !== null) return draft.clearing.id === told.operation.id;
  return draft.operation?.id === told.operation.id && draft.operation.revision === told.operation.revision;
}

type Awaiting = Pick<Draft, "operation" | "job" | "serving" | "candidate" | "leaving" | "clearing">;
type Of = { slot: number; generation: number };
const isSame = (one: Of, other: Of): boolean => one.slot === other.slot && one.generation === other.generation;

export function onReport(draft: Draft, told: Told): void {
  if (!isAwaited(draft, told)) return;
  const { body } = told;
  const isJob = draft.job?.slot === told.slot;
  const isRelease = told.slot === SLOT.release;
  const isServing = draft.serving?.runner.slot === told.slot;
  switch (body.kind) {
    case "progress":
      if (!isServing && draft.operation) draft.operation = { ...draft.operation, message: progressText(body) };
      return;
    case "tested":
      if (isJob && draft.status === "testing_connection") onTested(draft, body.test);
      return;
    case "artifact":
      // Kept beside the state; `built` says what it is.
      return;
    case "built":
      if (isJob && draft.status === "building") onBuilt(draft, body);
      return;
    case "released":
      if (isJob && isRelease) released(draft, body.left);
      else if (!isJob) releasedByItself(draft, told, body.left);
      return;
    case "loaded":
      onLoaded(draft, body, isServing, isJob);
      return;
    case "failed":
      if (isJob && isRelease) giveUpRelease(draft, body.message);
      else if (isJob) fail(draft, body.code, body.message);
      else engineFailed(draft, told, body);
      return;
    case "vitals":
      if (isServing) onVitals(draft, body.vitals);
      return;
    case "drift":
      if (isServing) onDrift(draft, body);
      return;
  }
}

const progressText = ({ message, done, total }: Extract<ReportBody, { kind: "progress" }>): string =>
  done != null && total != null ? `${message} (${done} of ${total})` : message;

function onTested(draft: Draft, test: SourceTest): void {
  for (const { severity, code, message, fix } of test.findings)
    note(draft, severity === "error" ? "warning" : "info", "engine", "source_finding", message, { code, fix });
  if (!test.ok) {
    fail(draft, test.error?.code ?? "other", test.error?.message ?? "the source cannot be read");
    return;
  }
  const { sync_mode, size } = draft.facts.spec.settings;
  warnOfSize(draft, size, test.estimated_bytes);
  if ((sync_mode === "binlog" || sync_mode === "logical") && !test.replication.ready) {
    const finding = test.findings.find(({ severity }) => severity === "error");
    const why = finding?.message ?? `the source is not ready for ${sync_mode}`;
    fail(draft, finding?.code ?? "other", `${why}; mend it, or take sync_mode auto or poll`);
    return;
  }
  tested(draft, test.replication.mode === "logical");
}

/** Said before the build: to see it by the engine's end costs the whole source, read once. */
function warnOfSize(draft: Draft, size: InstanceSize, bytes: number | null): void {
  const fitting = bytes === null ? size : sizeFor(bytes);
  if (bytes === null || (fitting !== null && rowsBytes(fitting) <= rowsBytes(size))) return;
  const advice = fitting === null ? "" : `resize it to ${fitting}, or `;
  const message = `the schema has about ${megabytes(bytes)} MB, and an engine of size ${size} has ${megabytes(rowsBytes(size))} MB for its rows, which are there twice while they are read anew: ${advice}leave out tables and columns in reflexdb.yaml`;
  note(draft, "warning", "engine", "source_finding", message, { code: "size_exceeds_instance", fix: null });
}
const megabytes = (bytes: number): number => Math.ceil(bytes / 1e6);

function onBuilt(draft: Draft, { result }: Extract<ReportBody, { kind: "built" }>): void {
  const { job, operation } = draft;
  if (job === null || job.phase === "placing" || !operation?.build_id) return;
  if (!result.ok) {
    fail(draft, result.code, [result.message, ...result.violations.map(violationText)].join("\n"));
    return;
  }
  const { artifact, schema_hash, query_schema = null, tables, warnings } = result;
  const { build_id: id } = operation;
  draft.builds.push({
    ...{ type: "succeeded", id, host_id: job.host_id, artifact },
    ...{ schema_hash, query_schema, tables, warnings },
  });
  note(
    draft,
    "info",
    "builder",
    "build_finished",
    `an engine for ${tables} ${tables === 1 ? "table" : "tables"} was built`,
    {
      build_id: id,
      status: "succeeded",
      artifact_hash: artifact.hash,
      schema_hash,
    },
  );
  leave(draft, job);
  draft.job = null;
  become(draft, "deploying");
  launch(draft, id);
}

const violationText = ({ message, line, column }: { message: string; line: number | null; column: number | null }) =>
  line === null ? message : `${line}:${column ?? 1} ${message}`;

function onLoaded(draft: Draft, loaded: Loaded, isServing: boolean, isJob: boolean): void {
  if (isJob) return;
  if (!isServing) {
    takeOver(draft, loaded);
    return;
  }
  const { rows, tables } = loaded;
  if (draft.serving === null || draft.serving.loaded !== null) return;
  draft.serving = { ...draft.serving, loaded: { rows, tables, at: draft.facts.now }, trouble: null };
  note(draft, "info", "engine", "engine_recovered", `serves again, ${rowsText({ rows, tables })}`);
}

/** A source that sleeps has nothing to keep up with. */
const KEEPS_UP: readonly EngineVitals["replication"][] = ["live", "polling", "asleep"];

/** Only what changes is kept in the state: how it keeps up with its source. */
function onVitals(draft: Draft, { replication, message = "" }: EngineVitals): void {
  const before = draft.replication;
  if (before === replication) return;
  draft.replication = replication;
  const data = { old_state: before, new_state: replication };
  if (replication === "reconnecting")
    note(
      draft,
      "warning",
      "engine",
      "replication_degraded",
      message || "the source is not reached; it tries again",
      data,
    );
  if (replication === "drifted")
    note(
      draft,
      "warning",
      "engine",
      "replication_degraded",
      message || "the source's schema is no longer what was built: rebuild",
      data,
    );
  if (replication === "resyncing")
    note(
      draft,
      "warning",
      "engine",
      "replication_resyncing",
      message || "a gap in the stream: tables are loaded anew",
      data,
    );
  // Without a reason it was asked for.
  if (replication === "polling" && message !== "")
    note(
      draft,
      "warning",
      "engine",
      "replication_polling",
      `every table is read again each interval, because changes cannot be followed: ${message}`,
      data,
    );
  const recovered = before === "reconnecting" || before === "resyncing" || before === "drifted";
  if (KEEPS_UP.includes(replication) && recovered)
    note(draft, "info", "engine", "replication_recovered", message || "keeps up with its source again", data);
  if (KEEPS_UP.includes(replication) && draft.serving?.trouble) draft.serving = { ...draft.serving, trouble: null };
}

function onDrift(draft: Draft, { schema_hash, changes }: Extract<ReportBody, { kind: "drift" }>): void {
  if (changes.length === 0) {
    if (draft.drift !== null)
      note(draft, "info", "engine", "schema_fits", "the source's schema is what was built again");
    draft.drift = null;
    return;
  }
  if (draft.drift?.schema_hash === schema_hash) return;
  draft.drift = { schema_hash, changes, at: draft.facts.now };
  note(
    draft,
    "warning",
    "engine",
    "schema_drift",
    `the source's schema is no longer what was built: ${changes.join("; ")}`,
    {
      schema_hash,
      changes,
    },
  );
}
