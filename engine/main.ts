// `node engine/main.ts test|check|build --request <file>`: contract/engine-build.ts says what goes in and comes out.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { type BuilderAnswer, BuilderRequest } from "../contract/engine-build.ts";
import { buildFromSource, ConfigInvalid, introspect } from "./build/build.ts";
import { composeShape } from "./config/compose.ts";
import { sourceFailure } from "./source/failure.ts";
import { testConnection } from "./source/test-connection.ts";

export const VERBS = ["test", "check", "build"] as const;
export type Verb = (typeof VERBS)[number];

/** Tests a source; or looks whether a configuration fits it; or builds an engine. It does not fail: the answer says what went wrong. */
export async function runBuilder(
  verb: Verb,
  request: BuilderRequest,
  log: (line: string) => void,
): Promise<BuilderAnswer> {
  const { source, config, minSyncInterval, out } = request;
  try {
    if (verb === "test") {
      const test = await testConnection(source, config);
      return { ok: true, test, findings: test.findings };
    }
    if (verb === "check") {
      const composed = composeShape(await introspect(source), config, minSyncInterval);
      if ("problems" in composed) throw new ConfigInvalid(composed.problems);
      return { ok: true, findings: composed.findings };
    }
    if (out === undefined) throw new Error("a build wants a folder for what it makes");
    const { id, path, bytes, findings } = await buildFromSource(source, config, out, log, minSyncInterval);
    return { ok: true, build: { id, path, bytes }, findings };
  } catch (error) {
    const { code, message } = sourceFailure(error, "introspection_failed");
    return { ok: false, code, message, problems: error instanceof ConfigInvalid ? [...error.problems] : [] };
  }
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { request: { type: "string" } } });
  const verb = VERBS.find((each) => each === positionals[0]);
  if (verb === undefined || values.request === undefined) {
    console.error(`usage: node engine/main.ts ${VERBS.join("|")} --request <file>`);
    process.exitCode = 2;
    return;
  }
  const request = BuilderRequest.parse(JSON.parse(readFileSync(values.request, "utf8")));
  const answer = await runBuilder(verb, request, (text) =>
    console.error(JSON.stringify({ at: new Date().toISOString(), text })),
  );
  console.log(JSON.stringify(answer));
  process.exitCode = answer.ok ? 0 : 1;
}

if (import.meta.main) await main();
