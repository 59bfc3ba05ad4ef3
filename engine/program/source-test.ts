import type { SourceConnection } from "../../contract/engine.ts";
import type { BuilderAnswer, ConnectionTest } from "../../contract/engine-build.ts";
import type { Finding, SourceTest } from "../../contract/instance-report.ts";
import type { SourceKind } from "../../contract/source-schema.ts";
import { runBuilder } from "../main.ts";
import type { TaskOf } from "./environment.ts";

const STREAM = { mysql: "binlog", postgres: "logical" } as const;
/** Longer ones are not taken in reports. */
const LONGEST = 4000;

/** What is wrong with one schema says nothing of the others; anything else is the same with all of them. */
const OF_ONE_SCHEMA: readonly string[] = ["schema_missing", "schema_denied"];

/** Whether a source can be read, each of the schemas asked about, and whether `reflexdb.yaml` fits it: a build that would fail takes nobody's turn. */
export async function testSource(
  source: SourceConnection,
  {
    schemas,
    config,
    min_sync_interval: minSyncInterval = 1,
  }: Pick<TaskOf<"test">, "schemas" | "config" | "min_sync_interval">,
): Promise<SourceTest> {
  const of = { source, config, minSyncInterval };
  if (schemas.length === 0)
    return sourceTestOf(await runBuilder("test", { ...of, config: null }, console.log), source.kind, false);
  const tests: SchemaTest[] = [];
  for (const schema of schemas) {
    const answer = await runBuilder("test", { ...of, source: { ...source, schema } }, console.log);
    tests.push({ schema, test: sourceTestOf(answer, source.kind, true) });
    if (!answer.ok && !OF_ONE_SCHEMA.includes(answer.code)) break;
  }
  const test = testOfAll(tests);
  const [schema] = schemas;
  if (!test.ok || config === null || schema === undefined) return test;
  const checked = await runBuilder("check", { ...of, source: { ...source, schema } }, console.log);
  if (checked.ok) return test;
  const error = { code: checked.code, message: checked.message.slice(0, LONGEST) };
  return { ...test, ok: false, error };
}

type SchemaTest = { schema: string; test: SourceTest };

/** As one: of several schemas, what is said of one begins with its name, and what is said of all is said once. */
export function testOfAll(tests: readonly SchemaTest[]): SourceTest {
  const [first] = tests;
  if (first === undefined) throw new Error("no schema was tested");
  if (tests.length === 1) return first.test;
  const named = (schema: string, message: string) => `${schema}: ${message}`.slice(0, LONGEST);
  const reached = tests.filter(({ test }) => test.server_version !== null);
  const isOfAll = ({ message }: Finding) =>
    reached.every(({ test }) => test.findings.some((finding) => finding.message === message));
  const findings: Finding[] = reached[0]?.test.findings.filter(isOfAll) ?? [];
  for (const { schema, test } of tests) {
    const own = test.findings.filter((finding) => !isOfAll(finding));
    const { error } = test;
    if (error !== null && !test.findings.some(({ message }) => message === error.message))
      own.unshift({ ...error, severity: "error", fix: null });
    findings.push(...own.map((finding) => ({ ...finding, message: named(schema, finding.message) })));
  }
  const failed = tests.find(({ test }) => !test.ok);
  const { error = null } = failed?.test ?? {};
  const bytes = reached.flatMap(({ test: { estimated_bytes } }) => estimated_bytes ?? []);
  const of = reached[0]?.test ?? first.test;
  return {
    ...of,
    ok: failed === undefined,
    error: failed === undefined || error === null ? null : { ...error, message: named(failed.schema, error.message) },
    estimated_bytes: bytes.length === 0 ? null : bytes.reduce((sum, each) => sum + each, 0),
    replication: {
      ...of.replication,
      ready: reached.length > 0 && reached.every(({ test }) => test.replication.ready),
    },
    findings,
  };
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
  const until = "; until then every table is read again each interval";
  // Half a statement mends nothing.
  const isWhole = fix === null || fix.length <= LONGEST;
  return { code, severity: "error", message: why.slice(0, LONGEST - until.length) + until, fix: isWhole ? fix : null };
}

function tableFinding({ severity, code, message, fix }: BuilderFinding): Finding[] {
  return severity === "info" ? [] : [{ code, severity, message: message.slice(0, LONGEST), fix: fix ?? null }];
}
type BuilderFinding = Extract<BuilderAnswer, { ok: true }>["findings"][number];

/** A schema without tables cannot be built from either. */
const failureCode = (code: string): string => (code === "no_tables" ? "introspection_failed" : code);
