import type { Entry } from "../../contract/event.ts";
import type { InstanceState } from "../../contract/instance.ts";
import { QuerySchema } from "../../contract/query-schema.ts";
import { keptText } from "./build-history.ts";
import type { InstanceRecord } from "./kept.ts";
import { keyViolations } from "./key-check.ts";
import { keys, markKey } from "./keys.ts";

/** Whether keys fit the schema of what serves, whenever that becomes another. Engines look at it too, each by its own schema. */

/** What queries are looked up in: of the build that serves, else of the one that would be started. Null: nothing was built, or nothing of it is kept. */
export function presentSchema(
  sql: SqlStorage,
  { state, builds, image }: Pick<InstanceRecord, "state" | "builds" | "image">,
): QuerySchema | null {
  const id = state.serving?.build_id ?? state.deployed?.build_id ?? image;
  const hash = builds.find((build) => build.id === id)?.query_schema;
  const text = hash && keptText(sql, hash);
  return text ? QuerySchema.parse(JSON.parse(text)) : null;
}

/** Another build serves than before: what of its keys fits it no more, and what does again. Call it inside `commit`. */
export function recheckKeys(sql: SqlStorage, before: InstanceRecord | null, state: InstanceState): Entry[] {
  if (before === null || state.serving === null || state.deployed === null) return [];
  if (before.state.deployed?.build_id === state.deployed.build_id) return [];
  const schema = presentSchema(sql, { ...before, state });
  if (schema === null) return [];
  return keys(sql).flatMap((key) => {
    const found = keyViolations(key, schema, []);
    const problems = found.map(({ property_path, message }) => `${property_path}: ${message}`);
    const usable = found.every(({ property_path }) => !property_path.startsWith("rows."));
    if (JSON.stringify(problems) === JSON.stringify(key.problems ?? [])) return [];
    markKey(sql, key.id, { usable, problems });
    const data = { key_id: key.id, name: key.name, usable, problems };
    const says = (reason: string, level: Entry["level"], message: string): Entry[] => [
      { level, component: "scheduler", reason, message: `the key ${key.name} ${message}`, data },
    ];
    if (problems.length === 0) return says("key_fits", "info", "fits the schema of what serves again");
    const what = usable ? "names what there is not" : "opens nothing";
    return says("key_misfits", "warning", `${what} since another build serves: ${problems.join("; ")}`);
  });
}
