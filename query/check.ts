import { QUERY_LIMITS } from "../contract/engine-query.ts";
import type { QueryColumn, QuerySchema, QueryTable, Relation } from "../contract/query-schema.ts";
import type { ColumnType } from "../contract/source-schema.ts";
import { nearest } from "../contract/suggestion.ts";
import { LikePattern } from "./like.ts";
import { cellOf, isScaled } from "./literal.ts";
import { type Check, every, type Field, type Hop, type List, type Plan } from "./plan.ts";
import { QueryProblem } from "./problem.ts";
import type { Expression, Item, Literal, LiteralValue, Name, Query, Selection } from "./syntax.ts";
import { NO_ARGUMENTS } from "./syntax.ts";

/** What the holder of a key may see. */
export type Scope = {
  /** Names of tables; null: all. */
  tables: ReadonlySet<string> | null;
  /** Per table, a filter that its rows must meet. */
  rows: ReadonlyMap<string, Expression>;
};
export const EVERYTHING: Scope = { tables: null, rows: new Map() };

/** How a parameter comes from the literals of a query. */
export type Binder = (literals: readonly LiteralValue[]) => unknown;

/** Looks up every name of a query. */
export function checkQuery(schema: QuerySchema, query: Query, scope: Scope): { plan: Plan; binders: Binder[] } {
  const checker = new Checker(schema, scope);
  return { plan: checker.plan(query), binders: checker.binders };
}

/** Looks up every name of a key's filter, which sees all rows. */
export function checkFilter(schema: QuerySchema, table: number, filter: Expression): void {
  new Checker(schema, EVERYTHING).constant(table, filter);
}

/** A filter over the columns of one table alone, hidden ones too, by their source names. Its values are constants. */
export function checkRowFilter(
  { columns, ...table }: Omit<QueryTable, "columns"> & { columns: (QueryColumn & { source: string })[] },
  filter: Expression,
): { check: Check; parameters: unknown[] } {
  const bySource = columns.map((column) => ({ ...column, name: column.source }));
  const checker = new Checker({ tables: [{ ...table, columns: bySource, relations: [] }] }, EVERYTHING);
  const check = checker.constant(0, filter);
  return { check, parameters: checker.binders.map((bind) => bind([])) };
}

class Checker {
  readonly binders: Binder[] = [];
  readonly #schema: QuerySchema;
  readonly #scope: Scope;
  #isConstant = false;
  #conditions = 0;
  #hops = 0;

  constructor(schema: QuerySchema, scope: Scope) {
    this.#schema = schema;
    this.#scope = scope;
  }

  plan({ selections, batch }: Query): Plan {
    const seen = new Set<string>();
    const lists = selections.map((selection) => {
      const name = (selection.alias ?? selection.name).text;
      if (seen.has(name)) throw duplicate(selection.alias ?? selection.name);
      seen.add(name);
      return { name, list: this.#root(selection) };
    });
    return { lists, batch, hops: this.#hops };
  }

  constant(table: number, filter: Expression): Check {
    const before = this.#isConstant;
    this.#isConstant = true;
    const check = this.#check(table, filter);
    this.#isConstant = before;
    return check;
  }

  #root(selection: Selection): List {
    const { name } = selection;
    const known = this.#schema.tables.map((table) => table.name);
    const place = known.indexOf(name.text);
    if (place < 0) {
      const near = nearest(
        name.text,
        known.filter((each) => this.#permits(each)),
      );
      throw new QueryProblem("unknown_table", `there is no table '${name.text}'`, { at: name.at, nearest: near });
    }
    if (!this.#permits(name.text))
      throw new QueryProblem("table_not_permitted", `this key is not for the table '${name.text}'`, { at: name.at });
    return this.#list(place, null, selection, 1);
  }

  #permits(table: string): boolean {
    return this.#scope.tables?.has(table) ?? true;
  }

  #list(place: number, via: Hop | null, selection: Pick<Selection, "args" | "items" | "at">, depth: number): List {
    if (depth > QUERY_LIMITS.depth)
      throw new QueryProblem("depth_exceeded", `no deeper than ${QUERY_LIMITS.depth} levels`, { at: selection.at });
    const { args } = selection;
    const table = tableAt(this.#schema, place);
    const isRoot = via === null;
    if (via?.kind === "one") {
      const clause = args.limit ?? args.offset ?? args.after ?? args.order[0]?.path[0];
      if (clause)
        throw new QueryProblem("parse_error", "this relation is one row: it has no order and no limit", {
          at: clause.at,
        });
    }
    if (args.after !== null && !isRoot)
      throw new QueryProblem("parse_error", "after: is for tables at the root", { at: args.after.at });
    if (args.after !== null && table.key.length === 0)
      throw new QueryProblem("invalid_cursor", `'${table.name}' has no primary key to go on from`, {
        at: args.after.at,
      });
    const where = args.where === null ? null : this.#check(place, args.where);
    const order = args.order.map(({ path, descending }) => {
      const [name, further] = path;
      if (further !== undefined)
        throw new QueryProblem("unknown_field", "rows are ordered by fields of their own", { at: further.at });
      const column = this.#column(place, name as Name);
      if (columnAt(table, column).type.kind === "json")
        throw new QueryProblem("type_mismatch", "JSON has no order", { at: (name as Name).at });
      return { column, descending };
    });
    const most = isRoot ? QUERY_LIMITS.rootRowsMost : QUERY_LIMITS.nestedRows;
    return {
      ...{ table: place, via, where: every(where, this.#rows(place)), order },
      limit: args.limit === null ? null : this.#count(args.limit, "limit", most),
      offset: args.offset === null ? null : this.#count(args.offset, "offset", Number.MAX_SAFE_INTEGER),
      after: args.after === null ? null : this.#bind(args.after, (literal) => literal),
      fields: this.#fields(place, selection.items, depth),
    };
  }

  /** What the key says about the rows of a table. What it says itself sees all rows. */
  #rows(place: number): Check | null {
    if (this.#isConstant) return null;
    const filter = this.#scope.rows.get(tableAt(this.#schema, place).name);
    return filter === undefined ? null : this.constant(place, filter);
  }

  #fields(place: number, items: readonly Item[], depth: number): Field[] {
    const table = tableAt(this.#schema, place);
    const fields = new Map<string, Field>();
    const named = new Set<string>();
    for (const item of items) {
      if (item.kind === "all" || item.kind === "related") continue;
      const name = item.alias ?? item.name;
      if (named.has(name.text)) throw duplicate(name);
      named.add(name.text);
    }
    // What a wildcard would bring is left to whoever names it.
    const isFree = (name: string) => !named.has(name) && !fields.has(name);
    for (const item of items) {
      if (item.kind === "field" || item.kind === "nested") {
        const { text } = item.alias ?? item.name;
        fields.set(text, { name: text, ...this.#field(place, item, depth) });
        continue;
      }
      for (const [column, { name }] of table.columns.entries())
        if (name !== null && isFree(name)) fields.set(name, { name, kind: "column", column });
      if (item.kind !== "related") continue;
      for (const relation of table.relations) {
        if (!isFree(relation.name) || !this.#permits(tableAt(this.#schema, relation.table).name)) continue;
        const inside: Item[] = [{ kind: "all", at: item.at }];
        const selection = { args: NO_ARGUMENTS, items: inside, at: item.at };
        const list = this.#list(relation.table, hopOf(place, relation), selection, depth + 1);
        fields.set(relation.name, { name: relation.name, kind: "list", list });
      }
    }
    return [...fields.values()];
  }

  #field(place: number, item: Item & { kind: "field" | "nested" }, depth: number) {
    const { name } = item;
    const table = tableAt(this.#schema, place);
    if (item.kind === "nested") {
      const hop = this.#hop(place, name, "a relation");
      return { kind: "list" as const, list: this.#list(hop.table, hop, item, depth + 1) };
    }
    if (table.relations.some((each) => each.name === name.text) && !this.#columns(table).includes(name.text))
      throw new QueryProblem("parse_error", `'${name.text}' is a relation: say which of its fields, { … }`, {
        at: name.at,
      });
    return { kind: "column" as const, column: this.#column(place, name) };
  }

  #columns({ columns }: QueryTable): (string | null)[] {
    return columns.map(({ name }) => name);
  }

  #column(place: number, name: Name): number {
    const table = tableAt(this.#schema, place);
    const column = this.#columns(table).indexOf(name.text);
    if (column < 0) throw this.#unknown(table, name, "field");
    return column;
  }

  #hop(place: number, name: Name, wanted: string): Hop {
    const table = tableAt(this.#schema, place);
    const relation = table.relations.find((each) => each.name === name.text);
    if (relation === undefined) {
      if (this.#columns(table).includes(name.text))
        throw new QueryProblem("unknown_field", `'${name.text}' is a field of '${table.name}', not ${wanted}`, {
          at: name.at,
        });
      throw this.#unknown(table, name, "relation");
    }
    const target = tableAt(this.#schema, relation.table);
    if (!this.#permits(target.name))
      throw new QueryProblem("table_not_permitted", `this key is not for the table '${target.name}'`, { at: name.at });
    return hopOf(place, relation);
  }

  #unknown(table: QueryTable, name: Name, what: string): QueryProblem {
    const known = [
      ...this.#columns(table).filter((each) => each !== null),
      ...table.relations.map((each) => each.name),
    ];
    const word = name.text.toLowerCase();
    // Of two relations to one table each is called by its column too: `posts_by_editor`.
    const longer = known.filter((each) => each.toLowerCase().startsWith(`${word}_`));
    const near = [...new Set([...nearest(name.text, known), ...longer])];
    return new QueryProblem("unknown_field", `'${table.name}' has no ${what} '${name.text}'`, {
      at: name.at,
      nearest: near,
    });
  }

  #check(place: number, expression: Expression): Check {
    if (++this.#conditions > QUERY_LIMITS.conditions)
      throw new QueryProblem("too_many_conditions", `at most ${QUERY_LIMITS.conditions} conditions`, {
        at: expression.at,
      });
    switch (expression.kind) {
      case "and":
      case "or":
        return { kind: expression.kind, parts: expression.parts.map((part) => this.#check(place, part)) };
      case "not":
        return { kind: "not", part: this.#check(place, expression.part) };
      case "some":
        return this.#through(place, expression.path, (last) => this.#check(last, expression.part));
      default: {
        const { path } = expression;
        const name = path.at(-1) as Name;
        return this.#through(place, path.slice(0, -1), (last) => {
          const part = this.#condition(last, name, expression);
          return "not" in expression && expression.not ? { kind: "not", part } : part;
        });
      }
    }
  }

  #through(place: number, path: readonly Name[], last: (table: number) => Check): Check {
    const [first, ...rest] = path;
    if (first === undefined) return last(place);
    if (path.length > QUERY_LIMITS.depth)
      throw new QueryProblem("depth_exceeded", `no path longer than ${QUERY_LIMITS.depth} relations`, { at: first.at });
    const hop = this.#hop(place, first, "a relation");
    this.#hops++;
    return { kind: "some", hop, part: every(this.#through(hop.table, rest, last), this.#rows(hop.table)) };
  }

  #condition(place: number, name: Name, expression: Expression): Check {
    const column = this.#column(place, name);
    const { type } = columnAt(tableAt(this.#schema, place), column);
    const cell = (literal: LiteralValue) => cellOf(type, name.text, literal);
    const { kind } = type;
    const hasNoOrder = kind === "bytes" || kind === "set" || kind === "json";
    const compare = (operator: "=" | "!=" | "<" | "<=" | ">" | ">=", literal: Literal): Check => {
      if (hasNoOrder && operator !== "=" && operator !== "!=")
        throw new QueryProblem("type_mismatch", `${name.text} has no order: only = and != apply to it`, {
          at: expression.at,
        });
      return { kind: "compare", column, operator, value: this.#bind(literal, cell) };
    };
    switch (expression.kind) {
      case "compare":
        return compare(expression.operator, expression.value);
      case "between":
        return { kind: "and", parts: [compare(">=", expression.low), compare("<=", expression.high)] };
      case "in": {
        const { values } = expression;
        return { kind: "in", column, values: this.#bindAll(values, cell, type) };
      }
      case "like":
        if (kind !== "text" && kind !== "enum")
          throw new QueryProblem("type_mismatch", `${name.text} is not text: LIKE does not apply to it`, {
            at: expression.at,
          });
        return {
          ...{ kind: "like", column },
          pattern: this.#bind(expression.pattern, ({ text }) => new LikePattern(text, expression.insensitive)),
        };
      case "null":
        return { kind: "null", column };
      default:
        throw new Error(`${expression.kind} is not a condition on a column`);
    }
  }

  #bind(literal: Literal, convert: (literal: LiteralValue) => unknown): number {
    // A value that does not fit is told now, and again for each later query with the same plan.
    const value = convert(literal);
    const isConstant = this.#isConstant;
    this.binders.push((literals) => (isConstant ? value : convert(literals[literal.place] as LiteralValue)));
    return this.binders.length - 1;
  }

  #bindAll(values: readonly Literal[], cell: (literal: LiteralValue) => unknown, type: ColumnType): number {
    const isConstant = this.#isConstant;
    const several = (literals: readonly LiteralValue[]) => {
      const cells = literals.map(cell);
      const simple = type.kind !== "bigint" && (isScaled(type) || type.kind !== "decimal");
      return simple ? new Set(cells) : cells;
    };
    const constant = several(values);
    this.binders.push((literals) =>
      isConstant ? constant : several(values.map(({ place }) => literals[place] as LiteralValue)),
    );
    return this.binders.length - 1;
  }

  #count(literal: Literal, clause: string, most: number): number {
    return this.#bind(literal, ({ text, at }) => {
      const count = Number(text);
      if (!Number.isSafeInteger(count) || count < 0)
        throw new QueryProblem("parse_error", `${clause}: takes a whole number from 0`, { at });
      if (count > most) throw new QueryProblem("limit_exceeded", `${clause}: is at most ${most} here`, { at });
      return count;
    });
  }
}

const tableAt = (schema: QuerySchema, place: number): QueryTable => schema.tables[place] as QueryTable;
const columnAt = (table: QueryTable, place: number): QueryColumn => table.columns[place] as QueryColumn;

const duplicate = ({ text, at }: Name): QueryProblem =>
  new QueryProblem("duplicate_field", `'${text}' is there twice: give one an alias, other:${text}`, { at });

const hopOf = (from: number, { kind, table, columns, references, name }: Relation): Hop => ({
  ...{ kind, from, table, columns, references, name },
});
