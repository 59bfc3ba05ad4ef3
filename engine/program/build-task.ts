import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { ReportBody } from "../../contract/instance-report.ts";
import { problemText } from "../../contract/reflexdb-config.ts";
import { runBuilder } from "../main.ts";
import { querySchemaOf, type Shape } from "../shape/shape.ts";
import { artifactParts, tooLarge } from "./artifact.ts";
import { type Given, sourceOf, type TaskOf } from "./environment.ts";
import type { Reports } from "./reports.ts";

type Built = Extract<ReportBody, { kind: "built" }>["result"];

/** Builds, and says each step, the parts of what was built, and then what became of it. */
export async function build(given: Given, task: TaskOf<"build">, reports: Reports): Promise<void> {
  const log = (message: string) => {
    console.log(message);
    reports.send({ kind: "progress", message: message.slice(0, 4000) }).catch(() => undefined);
  };
  const out = `${process.cwd()}/builds`;
  const { config, min_sync_interval: minSyncInterval = 1 } = task;
  const request = { source: sourceOf(given, task.schema), config, minSyncInterval, out };
  const answer = await runBuilder("build", request, log);
  if (!answer.ok || answer.build === undefined) {
    const { code, message, problems } = answer.ok
      ? { code: "compile_failed", message: "nothing was built", problems: [] }
      : answer;
    const violations = problems
      .slice(0, 1000)
      .map((problem) => ({ message: problemText(problem), line: problem.line, column: problem.column }));
    // Each of them is said in its place.
    const text = violations.length > 0 ? "reflexdb.yaml does not fit" : message.slice(0, 4000);
    await reports.send({ kind: "built", result: { ok: false, code, message: text, violations } });
    return;
  }
  const { id: hash, path, bytes } = answer.build;
  const refused = tooLarge(bytes);
  if (refused !== null) {
    log(refused);
    await reports.send({
      kind: "built",
      result: { ok: false, code: "artifact_too_large", message: refused, violations: [] },
    });
    return;
  }
  const about = JSON.parse(await readFile(path.replace(/mjs$/, "json"), "utf8")) as { shape: Shape };
  for (const part of artifactParts(hash, await readFile(path, "utf8"))) await reports.send(part);
  const names = JSON.stringify(querySchemaOf(about.shape));
  const query_schema = createHash("sha256").update(names).digest("hex");
  for (const part of artifactParts(query_schema, names)) await reports.send(part);
  const warnings = answer.findings.filter(({ severity }) => severity === "warning").map(({ message }) => message);
  const result: Built = {
    ...{ ok: true, artifact: { hash, bytes }, warnings: warnings.slice(0, 1000).map((text) => text.slice(0, 4000)) },
    schema_hash: createHash("sha256").update(JSON.stringify(about.shape)).digest("hex"),
    query_schema,
    tables: about.shape.tables.length,
  };
  await reports.send({ kind: "built", result });
}
