import type { QuerySchema } from "../contract/query-schema.ts";
import { nearest } from "../contract/suggestion.ts";
import { checkFilter } from "./check.ts";
import { parseFilter } from "./parser.ts";
import { QueryProblem } from "./problem.ts";
import type { Expression } from "./syntax.ts";

/** What is wrong with the filter of one table. */
export type FilterProblem = { table: string; filter: string; problem: QueryProblem };

/**
 * The filters of a key, by table, and all that is wrong with them. A key of which something is wrong must open nothing: the rows that a filter
 * was to hide are there, under whatever name.
 * @param schema null: nothing is known of it, and only how filters are written is looked at
 */
export function rowFilters(
  schema: QuerySchema | null,
  rows: Readonly<Record<string, string>>,
): { filters: Map<string, Expression>; problems: FilterProblem[] } {
  const filters = new Map<string, Expression>();
  const problems: FilterProblem[] = [];
  const known = schema?.tables.map(({ name }) => name) ?? [];
  for (const [table, filter] of Object.entries(rows)) {
    const tell = (problem: QueryProblem) => problems.push({ table, filter, problem });
    const place = known.indexOf(table);
    if (schema !== null && place < 0) tell(noTable(table, known));
    const parsed = tried(() => parseFilter(filter));
    if (parsed instanceof QueryProblem) tell(parsed);
    else {
      filters.set(table, parsed);
      if (schema !== null && place >= 0) for (const problem of filterProblems(schema, place, parsed)) tell(problem);
    }
  }
  return { filters, problems };
}

const noTable = (table: string, known: readonly string[]): QueryProblem =>
  new QueryProblem("unknown_table", `there is no table '${table}'`, { nearest: nearest(table, known) });

/** Each condition by itself, so that all is told at once; then the whole, of which there may be too much. */
function filterProblems(schema: QuerySchema, place: number, filter: Expression): QueryProblem[] {
  const found = conditionsOf(filter).map((each) => tried(() => checkFilter(schema, place, each)));
  const problems = found.filter((each) => each instanceof QueryProblem);
  const whole = problems.length > 0 ? null : tried(() => checkFilter(schema, place, filter));
  return whole instanceof QueryProblem ? [whole] : problems;
}

function conditionsOf(expression: Expression): Expression[] {
  if (expression.kind === "and" || expression.kind === "or") return expression.parts.flatMap(conditionsOf);
  return expression.kind === "not" ? conditionsOf(expression.part) : [expression];
}

function tried<T>(work: () => T): T | QueryProblem {
  try {
    return work();
  } catch (error) {
    if (error instanceof QueryProblem) return error;
    throw error;
  }
}
