import type { KeyCreate } from "../../contract/instance-key.ts";
import type { Violation } from "../../contract/problem.ts";
import type { QuerySchema } from "../../contract/query-schema.ts";
import { nearest } from "../../contract/suggestion.ts";
import { type FilterProblem, rowFilters } from "../../query/key-filter.ts";
import { lineAndColumn } from "../../query/problem.ts";

/**
 * What of a key does not fit.
 * @param schema null: nothing was built yet, or it is not kept
 * @param known names of tables where there is no schema; none: nothing is known of them
 */
export function keyViolations(
  { tables, rows }: Pick<KeyCreate, "tables" | "rows">,
  schema: QuerySchema | null,
  known: readonly string[],
): Violation[] {
  const names = schema?.tables.map(({ name }) => name) ?? known;
  const unknown = (name: string, property_path: string): Violation[] =>
    names.length === 0 || names.includes(name)
      ? []
      : [
          violation(property_path, "unknown_table", `the engine has no table '${name}'`, {
            nearest: nearest(name, names),
          }),
        ];
  return [
    ...(tables ?? []).flatMap((name, i) => unknown(name, `tables[${i}]`)),
    ...Object.keys(rows).flatMap((name) => unknown(name, `rows.${name}`)),
    ...rowFilters(schema, rows)
      .problems.filter(({ problem }) => problem.code !== "unknown_table")
      .map(filterViolation),
  ];
}

function filterViolation({ table, filter, problem }: FilterProblem): Violation {
  const at = problem.at === null ? {} : lineAndColumn(filter, problem.at);
  return violation(`rows.${table}`, problem.code, problem.message, { ...at, nearest: problem.nearest });
}

function violation(
  property_path: string,
  code: string,
  text: string,
  { nearest: near = [], ...at }: { line?: number; column?: number; nearest?: readonly string[] },
): Violation {
  const place = at.line === undefined ? "" : `${at.line}:${at.column} `;
  const meant = near[0] === undefined ? "" : `; did you mean '${near[0]}'?`;
  const message = `${place}${text}${meant}`;
  return {
    property_path,
    message,
    code: `instance.key.${code}`,
    ...at,
    ...(near.length > 0 ? { nearest: [...near] } : {}),
  };
}
