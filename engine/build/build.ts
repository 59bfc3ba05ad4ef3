import type { SourceConnection } from "../../contract/engine.ts";
import { type ConfigProblem, problemText } from "../../contract/reflexdb-config.ts";
import type { SourceFinding, SourceSchema } from "../../contract/source-schema.ts";
import { composeShape } from "../config/compose.ts";
import { mysqlSchema } from "../schema/mysql.ts";
import { postgresSchema } from "../schema/postgres.ts";
import { connectMysql, connectPostgres } from "../source/connect.ts";
import { SourceFailure, sourceFailure } from "../source/failure.ts";
import { type Artifact, buildEngine } from "./bundle.ts";

/** The schema of a source as it is now. */
export async function introspect(source: SourceConnection): Promise<SourceSchema> {
  if (source.kind === "mysql") {
    const connection = await connectMysql(source);
    try {
      return await mysqlSchema(connection, source.schema);
    } catch (error) {
      throw sourceFailure(error, "introspection_failed");
    } finally {
      connection.destroy();
    }
  }
  const client = await connectPostgres(source);
  try {
    return await postgresSchema(client, source.schema);
  } catch (error) {
    throw sourceFailure(error, "introspection_failed");
  } finally {
    client.end().catch(() => {});
  }
}

/** What is wrong with `reflexdb.yaml`. */
export class ConfigInvalid extends SourceFailure {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super("config_invalid", problems.map((each) => `${each.line}:${each.column} ${problemText(each)}`).join("\n"));
    this.problems = problems;
  }
}

export type Built = Artifact & { findings: SourceFinding[] };

/** A build from beginning to end. @param log each step, as it is done */
export async function buildFromSource(
  source: SourceConnection,
  yaml: string | null,
  folder: string,
  log: (line: string) => void = () => {},
  minSyncInterval = 1,
): Promise<Built> {
  log(`reading the schema ${source.schema} at ${source.host}:${source.port}`);
  const schema = await introspect(source);
  log(`${schema.version}: ${schema.tables.length} tables`);
  const composed = composeShape(schema, yaml, minSyncInterval);
  if ("problems" in composed) throw new ConfigInvalid(composed.problems);
  for (const { severity, message } of composed.findings) log(`${severity}: ${message}`);
  const [error] = composed.findings.filter(({ severity }) => severity === "error");
  if (error !== undefined) throw new SourceFailure("introspection_failed", error.message);
  try {
    const artifact = await buildEngine(composed.shape, folder, composed.findings);
    log(`built ${artifact.id}, ${Math.ceil(artifact.bytes / 1024)} KiB`);
    return { ...artifact, findings: composed.findings };
  } catch (thrown) {
    throw new SourceFailure("compile_failed", (thrown as Error).message, thrown);
  }
}
