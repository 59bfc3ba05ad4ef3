import type { ConfigProblem, ReflexConfig, ReflexTable } from "../../contract/reflexdb-config.ts";
import { type ConfigProblems, inOrder, type Path, type ReadConfig, readConfig } from "../../contract/reflexdb-yaml.ts";
import type { SourceColumn, SourceFinding, SourceSchema, SourceTable } from "../../contract/source-schema.ts";
import { nearest } from "../../contract/suggestion.ts";
import { checkRowFilter } from "../../query/check.ts";
import { parseFilter } from "../../query/parser.ts";
import { QueryProblem } from "../../query/problem.ts";
import type { Relation, Shape, ShapeColumn, ShapeTable } from "../shape/shape.ts";
import { type Derived, derivedRelations } from "./relations.ts";

export type Composed = { shape: Shape; findings: SourceFinding[] } | { problems: ConfigProblem[] };

/**
 * What an engine is to be compiled from.
 * @param yaml the text of `reflexdb.yaml`; null: there is none
 * @param minSyncInterval what it may not go below
 */
export function composeShape(schema: SourceSchema, yaml: string | null, minSyncInterval = 1): Composed {
  const read = yaml === null ? null : readConfig(yaml);
  if (read !== null && read.config === null) return { problems: inOrder(read.problems.all) };
  return new Composer(schema, read).compose(minSyncInterval);
}

const NAME = /^[\p{L}_][\p{L}\p{N}_]*$/u;

class Composer {
  readonly #schema: SourceSchema;
  readonly #config: ReflexConfig;
  readonly #problems: ConfigProblems | null;
  readonly #unreadable: ReadonlySet<number>;
  readonly #findings: SourceFinding[];
  /** Of each table that is kept, what the file says and where. */
  readonly #said = new Map<string, { table: ReflexTable; path: Path }>();

  constructor(schema: SourceSchema, read: ReadConfig | null) {
    this.#schema = schema;
    this.#config = read?.config ?? { version: 1 };
    this.#problems = read?.problems ?? null;
    this.#unreadable = read?.unreadable ?? new Set();
    this.#findings = [...schema.findings];
  }

  compose(minSyncInterval: number): Composed {
    const kept = this.#keptTables();
    const names = new Map(kept.map((table) => [table.name, this.#nameOf(table)]));
    this.#tellSameNames(kept, names);
    const visible = new Map(kept.map((table) => [table.name, this.#visible(table)]));
    const fields = new Map(
      kept.map((table) => [table.name, this.#fieldNames(table, visible.get(table.name) ?? new Set())]),
    );
    const { relations, findings } = derivedRelations(kept, ({ name }) => ({
      name: names.get(name) ?? name,
      fields: new Set(fields.get(name)?.values()),
    }));
    this.#findings.push(...findings);
    const chosen = new Map(kept.map((table) => [table.name, this.#chosen(table, relations.get(table.name) ?? [])]));
    const all = [...chosen.values()].flat();
    const columns = new Map(
      kept.map((table) => [table.name, this.#columns(table, fields.get(table.name) ?? new Map(), all)]),
    );
    const tables = kept.map((table) =>
      this.#table(table, names.get(table.name) ?? table.name, columns, chosen.get(table.name) ?? [], kept),
    );
    const { sync, cdc_reconnect_mode, where, where_columns } = this.#config;
    if (where !== undefined && where_columns === undefined)
      this.#tell("required", ["where"], "where needs where_columns: it is for the tables that have all of them");
    if (sync?.interval !== undefined && sync.interval < minSyncInterval)
      this.#tell("too_short", ["sync", "interval"], `the connection allows no less than ${minSyncInterval}`);
    const shape: Shape = {
      ...{ source: this.#schema.kind, schema: this.#schema.name, tables },
      known: this.#schema.tables.map(({ name, columns }) => ({ table: name, columns: columns.map((one) => one.name) })),
      sync: {
        interval: sync?.interval ?? null,
        reconnect: cdc_reconnect_mode ?? "full",
        safetyNet: sync?.safety_net ?? null,
      },
    };
    for (const table of tables) this.#checkWhere(table);
    const problems = this.#problems?.all ?? [];
    return problems.length > 0 ? { problems: inOrder(problems) } : { shape, findings: this.#findings };
  }

  #keptTables(): SourceTable[] {
    const { tables } = this.#config;
    if (tables === undefined)
      return this.#schema.tables.filter(({ columns }) => columns.some(({ type }) => type !== null));
    const known = this.#schema.tables.map(({ name }) => name);
    for (const [i, table] of tables.entries()) {
      if (this.#unreadable.has(i)) continue;
      const path = ["tables", i];
      if (!known.includes(table.name))
        this.#tell(
          "unknown_table",
          [...path, "name"],
          `the source has no table '${table.name}'`,
          nearest(table.name, known),
        );
      else if (this.#said.has(table.name))
        this.#tell("duplicate_table", [...path, "name"], `'${table.name}' is listed twice`);
      else this.#said.set(table.name, { table, path });
    }
    return this.#schema.tables.filter(({ name }) => this.#said.has(name));
  }

  #nameOf({ name }: SourceTable): string {
    return this.#said.get(name)?.table.alias ?? this.#usable(name, name, null);
  }

  /** A name that a query can have without quotes. */
  #usable(name: string, table: string, column: string | null): string {
    if (NAME.test(name)) return name;
    const usable = name.replace(/[^\p{L}\p{N}_]/gu, "_").replace(/^(?=\p{N})/u, "_");
    const message = `'${name}' is called '${usable}' in queries; an alias would give it another name`;
    this.#findings.push({ severity: "info", code: "name_changed", table, column, message });
    return usable;
  }

  #tellSameNames(kept: readonly SourceTable[], names: ReadonlyMap<string, string>): void {
    const seen = new Set<string>();
    for (const { name } of kept) {
      const shown = names.get(name) ?? name;
      const said = this.#said.get(name);
      if (seen.has(shown))
        this.#tell(
          "duplicate_alias",
          [...(said?.path ?? []), said?.table.alias ? "alias" : "name"],
          `two tables are called '${shown}'`,
        );
      seen.add(shown);
    }
  }

  /** Source names of the columns that queries see. */
  #visible(table: SourceTable): Set<string> {
    const usable = table.columns.filter(({ type }) => type !== null).map(({ name }) => name);
    const said = this.#said.get(table.name);
    const { columns } = said?.table ?? {};
    const all = table.columns.map(({ name }) => name);
    const tellUnknown = (name: string, path: Path) => {
      if (!all.includes(name))
        this.#tell("unknown_column", path, `${table.name} has no column '${name}'`, nearest(name, all));
    };
    for (const key of ["field_aliases", "field_notes"] as const)
      for (const name of Object.keys(said?.table[key] ?? {})) tellUnknown(name, [...(said?.path ?? []), key, name]);
    if (columns === undefined) return new Set(usable);
    const path = [...(said?.path ?? []), "columns"];
    for (const [i, name] of columns.entries()) {
      tellUnknown(name, [...path, i]);
      if (all.includes(name) && !usable.includes(name)) {
        const { declared } = table.columns.find((each) => each.name === name) as SourceColumn;
        this.#tell("unsupported_type", [...path, i], `${table.name}.${name} is ${declared}, which has no mapping`);
      }
    }
    for (const name of table.primaryKey)
      if (!columns.includes(name))
        this.#tell("primary_key_left_out", path, `${table.name}: the primary key '${name}' must be among the columns`);
    return new Set(columns.filter((name) => usable.includes(name)));
  }

  /** By source name, how queries call each visible column. */
  #fieldNames(table: SourceTable, visible: ReadonlySet<string>): Map<string, string> {
    const said = this.#said.get(table.name);
    const aliases = said?.table.field_aliases ?? {};
    const fields = new Map<string, string>();
    for (const { name } of table.columns) {
      if (!visible.has(name)) continue;
      const shown = aliases[name] ?? this.#usable(name, table.name, name);
      if ([...fields.values()].includes(shown))
        this.#tell(
          "duplicate_alias",
          [...(said?.path ?? []), "field_aliases", name],
          `two columns of ${table.name} are called '${shown}'`,
        );
      fields.set(name, shown);
    }
    return fields;
  }

  #chosen(table: SourceTable, derived: readonly Derived[]): Derived[] {
    const said = this.#said.get(table.name);
    if (said === undefined) return [...derived];
    const { relations, reverse_relations } = said.table;
    const names = (kind: "one" | "many") => derived.filter((each) => each.kind === kind).map(({ name }) => name);
    const tellUnknown = (list: readonly string[] | undefined, of: readonly string[], path: Path) => {
      for (const [i, name] of (list ?? []).entries())
        if (!of.includes(name))
          this.#tell(
            "unknown_relation",
            [...said.path, ...path, i],
            `${table.name} has no relation '${name}' here`,
            nearest(name, of),
          );
    };
    tellUnknown(relations?.include, names("one"), ["relations", "include"]);
    tellUnknown(relations?.exclude, names("one"), ["relations", "exclude"]);
    tellUnknown(reverse_relations?.exclude, names("many"), ["reverse_relations", "exclude"]);
    if (relations?.include && relations.exclude)
      this.#tell("include_and_exclude", [...said.path, "relations"], "include and exclude cannot both be there");
    return derived.filter(({ kind, name }) =>
      kind === "many"
        ? !reverse_relations?.exclude?.includes(name)
        : (relations?.include?.includes(name) ?? !relations?.exclude?.includes(name)),
    );
  }

  #where(table: SourceTable): { text: string; path: Path } | null {
    const said = this.#said.get(table.name);
    if (said?.table.where !== undefined) return { text: said.table.where, path: [...said.path, "where"] };
    const { where, where_columns = [] } = this.#config;
    const has = (name: string) => table.columns.some((column) => column.name === name && column.type !== null);
    return where !== undefined && where_columns.length > 0 && where_columns.every(has)
      ? { text: where, path: ["where"] }
      : null;
  }

  /** What an engine keeps of a table. Not all is to be seen: some is needed by a relation at either end, by the key, or by the filter. */
  #columns(table: SourceTable, fields: ReadonlyMap<string, string>, chosen: readonly Derived[]): ShapeColumn[] {
    const needed = new Set([...fields.keys(), ...table.primaryKey, ...namesIn(this.#where(table)?.text ?? "")]);
    for (const { from, to, columns, references } of chosen) {
      if (from === table) for (const column of columns) needed.add(column);
      if (to === table) for (const column of references) needed.add(column);
    }
    const notes = this.#said.get(table.name)?.table.field_notes ?? {};
    return table.columns.flatMap(({ name, type, declared, nullable }) => {
      if (type === null || !needed.has(name)) return [];
      return [{ name: fields.get(name) ?? null, source: name, declared, type, nullable, note: notes[name] ?? null }];
    });
  }

  #table(
    table: SourceTable,
    name: string,
    columns: ReadonlyMap<string, ShapeColumn[]>,
    chosen: readonly Derived[],
    kept: readonly SourceTable[],
  ): ShapeTable {
    const placeIn = (of: string) => (column: string) =>
      (columns.get(of) ?? []).findIndex(({ source }) => source === column);
    const own = placeIn(table.name);
    const relations = chosen.map(
      (each): Relation => ({
        ...{ name: each.name, kind: each.kind, table: kept.indexOf(each.to) },
        ...{ columns: each.columns.map(own), references: each.references.map(placeIn(each.to.name)) },
      }),
    );
    const hasOrder = (at: number) => at >= 0 && columns.get(table.name)?.[at]?.type.kind !== "json";
    const indexes = table.indexes.map((list) => list.map(own)).filter((list) => list.every(hasOrder));
    const key = table.primaryKey.map(own);
    const isKeyed = !key.includes(-1);
    return {
      ...{
        name,
        source: table.name,
        columns: columns.get(table.name) ?? [],
        key: isKeyed ? key : [],
        relations,
        indexes,
      },
      where: this.#where(table)?.text ?? null,
      cascadesTo: kept.flatMap((child, at) =>
        child.foreignKeys.some((each) => each.table === table.name && each.cascades) ? [at] : [],
      ),
      wholeTable: isKeyed ? table.wholeTable : "its primary key has a type without a mapping",
    };
  }

  #checkWhere(table: ShapeTable): void {
    if (table.where === null) return;
    const source = this.#schema.tables.find(({ name }) => name === table.source);
    const path = source === undefined ? [] : (this.#where(source)?.path ?? []);
    try {
      checkRowFilter(table, parseFilter(table.where, true));
    } catch (error) {
      if (!(error instanceof QueryProblem)) throw error;
      const where = error.at === null ? "" : ` (at character ${error.at + 1})`;
      this.#tell(error.code, path, `${error.message}${where}`, error.nearest);
      table.where = null;
    }
  }

  #tell(code: string, path: Path, message: string, near: readonly string[] = []): void {
    this.#problems?.add(code, path, message, { near });
  }
}

/** Every word of a filter: those that are columns are kept for it. */
const namesIn = (where: string): string[] =>
  [...where.matchAll(/[\p{L}_][\p{L}\p{N}_]*|`([^`]+)`/gu)].map(([word, quoted]) => quoted ?? word);
