import type { SourceConnection } from "../../contract/engine.ts";
import type { BuilderAnswer, ConnectionTest } from "../../contract/engine-build.ts";
import type { Finding, SourceTest } from "../../contract/instance-report.ts";
import type { SourceKind } from "../../contract/source-schema.ts";
import { runBuilder } from "../main.ts";
import type { TaskOf } from "./environment.ts";

const STREAM = { mysql: "binlog", postgres: "logical" } as const;
/** Longer ones are not taken in reports. */
const LONGEST = 4000;

/** Whether a source can be read, and whether `reflexdb.yaml` fits it: a build that would fail takes nobody's turn. */
export async function testSource(
  source: SourceConnection,
  {
    schema,
    config,
    min_sync_interval: minSyncInterval = 1,
  }: Pick<TaskOf<"test">, "schema" | "config" | "min_sync_interval">,
): Promise<SourceTest> {
  const test = sourceTestOf(
    await runBuilder("test", { source, config: null, minSyncInterval }, console.log),
    source.kind,
    schema !== null,
  );
  if (!test.ok || config === null) return test;
  const checked = await runBuilder("check", { source, config, minSyncInterval }, console.log);
  if (checked.ok) return test;
  return { ...test, ok: false, error: { code: checked.code, message: checked.message.slice(0, LONGEST) } };
}

/**
 * What a test found, as it is reported.
 * @param isOfSchema whether one schema was asked about; otherwise what it says of tables is of no interest
 */
export function sourceTestOf(answer: BuilderAnswer, kind: SourceKind, isOfSchema: boolean): SourceTest {
  const best = STREAM[kind];
  if (!answer.ok || answer.test === undefined) {
    const error = answer.ok
      ? { code: "introspection_failed", message: "the source was not tested" }
      : { code: answer.code, message: answer.message.slice(0, LONGEST) };
    return {
      ...{ ok: false, error, server_version: null, latency_ms: null, estimated_bytes: null, schemas: [] },
      ...{ replication: { mode: best, ready: false }, findings: [] },
    };
  }
  const { test } = answer;
  const ofTables = isOfSchema ? answer.findings : [];
  const stops = ofTables.find(({ severity }) => severity === "error");
  return {
    ok: stops === undefined,
    error: stops === undefined ? null : { code: failureCode(stops.code), message: stops.message },
    server_version: test.version.slice(0, 200),
    latency_ms: test.latency_ms,
    estimated_bytes: isOfSchema ? test.bytes : null,
    schemas: test.schemas,
    replication: { mode: best, ready: test.replication.findings.length === 0 },
    findings: [...test.replication.findings.map(replicationFinding), ...ofTables.flatMap(tableFinding)],
  };
}

/** Why changes cannot be followed, with the statement that mends it, which is what the message ends with. */
function replicationFinding({ code, message }: ConnectionTest["replication"]["findings"][number]): Finding {
  const [fix = null] = /\b(GRANT|ALTER|CREATE|SET) [\s\S]*?(?=, then |$)/.exec(message) ?? [];
  const why = fix === message ? "the user may not read the changes of the source" : message;
  return { code, severity: "error", message: `${why}; until then every table is read again each interval`, fix };
}

function tableFinding({ severity, code, message, fix }: BuilderFinding): Finding[] {
  return severity === "info" ? [] : [{ code, severity, message: message.slice(0, LONGEST), fix: fix ?? null }];
}
type BuilderFinding = Extract<BuilderAnswer, { ok: true }>["findings"][number];

/** A schema without tables cannot be built from either. */
const failureCode = (code: string): string => (code === "no_tables" ? "introspection_failed" : code);
