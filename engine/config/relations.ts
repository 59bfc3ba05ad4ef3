import type { ForeignKey, SourceFinding, SourceTable } from "../../contract/source-schema.ts";

/** A relation before the configuration has its say: what it would be called, and between which columns. */
export type Derived = {
  kind: "one" | "many";
  name: string;
  from: SourceTable;
  to: SourceTable;
  columns: readonly string[];
  references: readonly string[];
};

/** `author_id` is `author`. Of several columns, the name of the table that they lead to. */
const forwardName = ({ columns }: ForeignKey, target: string): string =>
  columns.length === 1 ? (columns[0] as string).replace(/_id$/, "") || target : target;

/**
 * All relations of a set of tables, by source name of the table. Where a name would stand for two things, the column has it before a relation,
 * and relations that clash among each other are called `<table>_by_<what it is from there>`.
 * @param nameOf how queries call a table, and which of its columns they see
 */
export function derivedRelations(
  tables: readonly SourceTable[],
  nameOf: (table: SourceTable) => { name: string; fields: ReadonlySet<string> },
): { relations: Map<string, Derived[]>; findings: SourceFinding[] } {
  const relations = new Map<string, Derived[]>(tables.map(({ name }) => [name, []]));
  const findings: SourceFinding[] = [];
  const bySource = new Map(tables.map((table) => [table.name, table]));
  const reverse = new Map<string, { derived: Derived; forward: string }[]>(tables.map(({ name }) => [name, []]));
  for (const from of tables) {
    const taken = nameOf(from).fields;
    const used = new Set<string>();
    for (const key of from.foreignKeys) {
      const to = bySource.get(key.table);
      if (to === undefined) continue;
      const wanted = forwardName(key, nameOf(to).name);
      const name = [wanted, `${nameOf(to).name}_by_${key.columns.join("_")}`].find(
        (each) => !taken.has(each) && !used.has(each),
      );
      const mismatch = mismatched(from, to, key);
      if (name === undefined || mismatch !== null) {
        const why = mismatch ?? `its name '${wanted}' is that of a column`;
        findings.push(
          finding("relation_left_out", from.name, `the relation of ${key.columns.join(", ")} is left out: ${why}`),
        );
        continue;
      }
      if (name !== wanted)
        findings.push(
          finding(
            "relation_renamed",
            from.name,
            `the relation '${wanted}' is called '${name}', as '${wanted}' is taken`,
          ),
        );
      used.add(name);
      relations.get(from.name)?.push({ kind: "one", name, from, to, columns: key.columns, references: key.references });
      const derived: Derived = {
        kind: "many",
        name: nameOf(from).name,
        from: to,
        to: from,
        columns: key.references,
        references: key.columns,
      };
      reverse.get(to.name)?.push({ derived, forward: wanted });
    }
  }
  for (const [table, list] of reverse) {
    const own = relations.get(table) ?? [];
    const taken = new Set([...nameOf(bySource.get(table) as SourceTable).fields, ...own.map(({ name }) => name)]);
    for (const { derived, forward } of list) {
      const clashes = taken.has(derived.name) || list.filter((each) => each.derived.to === derived.to).length > 1;
      const name = clashes ? `${derived.name}_by_${forward}` : derived.name;
      if (taken.has(name)) {
        findings.push(finding("relation_left_out", table, `the relation '${name}' is left out: the name is taken`));
        continue;
      }
      taken.add(name);
      own.push({ ...derived, name });
    }
    relations.set(table, own);
  }
  return { relations, findings };
}

const finding = (code: SourceFinding["code"], table: string, message: string): SourceFinding => ({
  ...{ severity: "warning", code, table, column: null },
  message: `${table}: ${message}`,
});

/** Both ends must be kept the same way, as the values of one are looked for among those of the other. */
function mismatched(from: SourceTable, to: SourceTable, { columns, references }: ForeignKey): string | null {
  for (const [i, name] of columns.entries()) {
    const own = from.columns.find((column) => column.name === name)?.type;
    const other = to.columns.find((column) => column.name === references[i])?.type;
    if (!own || !other) return `${name} is of a type without a mapping`;
    const isWhole = (kind: string) => kind === "integer" || kind === "bigint";
    const isText = (kind: string) => kind === "text" || kind === "enum";
    const same =
      (isWhole(own.kind) && isWhole(other.kind)) ||
      (isText(own.kind) && isText(other.kind)) ||
      JSON.stringify(own) === JSON.stringify(other);
    if (!same) return `${name} and ${references[i]} are of different types`;
  }
  return null;
}
