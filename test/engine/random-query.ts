// Random queries, each as an engine takes it and as SQL says the same.
import { type Column, type Dialect, type Random, type Relation, sqlOf, TABLES, type Table, value } from "./shop.ts";

export type List = {
  tables: readonly Table[];
  table: Table;
  via: Relation | null;
  fields: Column[];
  nested: { relation: Relation; list: List }[];
  where: Condition | null;
  order: { column: Column; descending: boolean }[];
  limit: number | null;
  offset: number | null;
};

/** A condition in both languages; `sql` is told what the table is called. */
export type Condition = { text: string; sql: (alias: string) => string };

let aliases = 0;

export function randomList(
  random: Random,
  dialect: Dialect,
  tables: readonly Table[],
  table: Table = random.pick(tables),
  via: Relation | null = null,
  depth = 0,
): List {
  const isOne = via?.kind === "one";
  const nested = table.relations
    .filter(() => depth < 3 && random.chance(0.3))
    .map((relation) => ({
      relation,
      list: randomList(random, dialect, tables, tableNamed(tables, relation.table), relation, depth + 1),
    }));
  const fields = table.columns.filter(() => random.chance(0.4));
  if (fields.length + nested.length === 0) fields.push(random.pick(table.columns));
  return {
    ...{ tables, table, via, fields, nested },
    where: random.chance(depth === 0 ? 0.8 : 0.3) ? condition(random, dialect, tables, table, 3) : null,
    order:
      isOne || random.chance(0.5)
        ? []
        : [random.pick(table.columns), random.pick(table.columns)]
            .slice(random.int(2))
            .map((column) => ({ column, descending: random.chance(0.5) })),
    limit: !isOne && random.chance(0.4) ? random.int(20) : null,
    offset: !isOne && random.chance(0.2) ? random.int(5) : null,
  };
}

const tableNamed = (tables: readonly Table[], name: string): Table =>
  tables.find((table) => table.name === name) as Table;
/** As its source calls it. */
const sourceOf = ({ name, source = name }: { name: string; source?: string }): string => source;
/** The rows that an engine has. */
const rowsOf = (table: Table): string =>
  table.rows === undefined ? sourceOf(table) : `(SELECT * FROM ${sourceOf(table)} WHERE ${table.rows})`;

export function textOf(list: List, name: string = list.table.name): string {
  const clauses = [
    ...(list.order.length > 0
      ? [
          `order: ${list.order.map(({ column, descending }) => `${column.name} ${descending ? "desc" : "asc"}`).join(" ")}`,
        ]
      : []),
    ...(list.limit === null ? [] : [`limit: ${list.limit}`]),
    ...(list.offset === null ? [] : [`offset: ${list.offset}`]),
  ];
  const args = [...(list.where === null ? [] : [list.where.text]), ...clauses].join(", ");
  const items = [
    ...list.fields.map((field) => field.name),
    ...list.nested.map(({ relation, list: inner }) => textOf(inner, relation.name)),
  ];
  return `${name}${args === "" ? "" : `(${args})`} { ${items.join(" ")} }`;
}

/** What the source itself answers, as JSON would have it. */
export async function answerOf(
  list: List,
  dialect: Dialect,
  ask: (sql: string) => Promise<Record<string, unknown>[]>,
  above: Record<string, unknown> | null = null,
): Promise<unknown> {
  const { table, via } = list;
  const join =
    via === null || above === null
      ? []
      : via.on.map(
          ([own, other]) =>
            `t.${other} = ${sqlOf(dialect, above[own] as string | null, kindOf(above[FROM] as string, own))}`,
        );
  const where = [...join, ...(list.where === null ? [] : [list.where.sql("t")])]
    .map((each) => `(${each})`)
    .join(" AND ");
  const nulls = (descending: boolean) => (dialect === "mysql" ? "" : descending ? " NULLS LAST" : " NULLS FIRST");
  const order = [
    ...list.order.map(
      ({ column, descending }) => `t.${sourceOf(column)}${descending ? " DESC" : ""}${nulls(descending)}`,
    ),
    ...table.key.map((key) => `t.${key}${list.order.at(-1)?.descending ? " DESC" : ""}`),
  ];
  const most = list.limit ?? (via === null ? 100 : 1_000_000);
  const rows = await ask(
    `SELECT * FROM ${rowsOf(table)} t ${where === "" ? "" : `WHERE ${where}`} ORDER BY ${order.join(", ")} LIMIT ${most} OFFSET ${list.offset ?? 0}`,
  );
  const answered: Record<string, unknown>[] = [];
  for (const row of rows) {
    const answer: Record<string, unknown> = {};
    for (const column of list.fields) answer[column.name] = shown(row[sourceOf(column)], column);
    for (const { relation, list: inner } of list.nested)
      answer[relation.name] = await answerOf(inner, dialect, ask, { ...row, [FROM]: sourceOf(table) });
    answered.push(answer);
  }
  return via?.kind === "one" ? (answered[0] ?? null) : answered;
}

const FROM = "from table";
/** Also of a column that queries do not see. */
const kindOf = (table: string, column: string): Column["kind"] =>
  tableNamed(TABLES, table).columns.find(({ name }) => name === column)?.kind as Column["kind"];

function shown(raw: unknown, { kind }: Column): unknown {
  if (raw === null) return null;
  const text = String(raw);
  switch (kind) {
    case "integer":
    case "float":
      return Number(text);
    case "bigint":
      return Number.isSafeInteger(Number(text)) ? Number(text) : text;
    case "boolean":
      return text === "1" || text === "t" || text === "true";
    case "moment":
      return text
        .replace(" ", "T")
        .replace(/\.000000$/, "")
        .replace(/(\.\d{3})000$/, "$1");
    case "decimal":
    case "date":
    case "text":
      return text;
  }
}

function condition(random: Random, dialect: Dialect, tables: readonly Table[], table: Table, depth: number): Condition {
  const roll = random.next();
  if (depth > 0 && roll < 0.3) {
    const operator = random.pick(["AND", "OR"]);
    const [a, b] = [
      condition(random, dialect, tables, table, depth - 1),
      condition(random, dialect, tables, table, depth - 1),
    ];
    return { text: `(${a.text} ${operator} ${b.text})`, sql: (t) => `(${a.sql(t)} ${operator} ${b.sql(t)})` };
  }
  if (depth > 0 && roll < 0.4) {
    const inner = condition(random, dialect, tables, table, depth - 1);
    return { text: `NOT (${inner.text})`, sql: (t) => `NOT (${inner.sql(t)})` };
  }
  if (depth > 0 && roll < 0.6) {
    const relation = random.pick(table.relations);
    const target = tableNamed(tables, relation.table);
    const isPath = random.chance(0.5);
    const inner = isPath
      ? leaf(random, dialect, target, `${relation.name}.`)
      : condition(random, dialect, tables, target, depth - 1);
    return {
      text: isPath ? inner.text : `${relation.name}(${inner.text})`,
      sql: (t) => {
        const u = `x${aliases++}`;
        const on = relation.on.map(([own, other]) => `${u}.${other} = ${t}.${own}`);
        return `EXISTS (SELECT 1 FROM ${rowsOf(target)} ${u} WHERE ${[...on, `(${inner.sql(u)})`].join(" AND ")})`;
      },
    };
  }
  return leaf(random, dialect, table, "");
}

function leaf(random: Random, dialect: Dialect, table: Table, prefix: string): Condition {
  const column = random.pick(table.columns);
  const name = `${prefix}${column.name}`;
  const own = () => value(random, column);
  const roll = random.next();
  const not = random.chance(0.3) ? "NOT " : "";
  if (roll < 0.1) return { text: `${name} IS ${not}NULL`, sql: (t) => `${t}.${sourceOf(column)} IS ${not}NULL` };
  if (roll < 0.25) {
    const values = Array.from({ length: 1 + random.int(4) }, own);
    const [text, sql] = [
      values.map((each) => textLiteral(each, column)),
      values.map((each) => sqlOf(dialect, each, column.kind)),
    ];
    return {
      text: `${name} ${not}IN (${text.join(", ")})`,
      sql: (t) => `${t}.${sourceOf(column)} ${not}IN (${sql.join(", ")})`,
    };
  }
  if (roll < 0.35 && column.kind !== "boolean") {
    const [low, high] = [own(), own()];
    const range = `BETWEEN ${sqlOf(dialect, low, column.kind)} AND ${sqlOf(dialect, high, column.kind)}`;
    return {
      text: `${name} ${not}BETWEEN ${textLiteral(low, column)} AND ${textLiteral(high, column)}`,
      sql: (t) => `${t}.${sourceOf(column)} ${not}${range}`,
    };
  }
  if (roll < 0.55 && column.kind === "text") {
    const pattern = random.pick([
      "%e%",
      "_sh",
      "C%",
      "%r",
      "c_dar",
      "%",
      "%\\%",
      "fir\\_tree",
      "%d%r%",
      "__",
      "",
      "%q%",
    ]);
    const insensitive = random.chance(0.4);
    const literal = sqlOf(dialect, pattern, "text");
    const sql = (t: string) => {
      if (!insensitive) return `${t}.${sourceOf(column)} LIKE ${literal}`;
      return dialect === "mysql"
        ? `LOWER(${t}.${sourceOf(column)}) LIKE LOWER(${literal})`
        : `${t}.${sourceOf(column)} ILIKE ${literal}`;
    };
    return { text: `${name} ${insensitive ? "ILIKE" : "LIKE"} ${JSON.stringify(pattern)}`, sql };
  }
  const operator = random.pick(column.kind === "boolean" ? ["=", "!="] : ["=", "=", "!=", "<", "<=", ">", ">="]);
  const one = own();
  return {
    text: `${name} ${operator} ${textLiteral(one, column)}`,
    sql: (t) => `${t}.${sourceOf(column)} ${operator} ${sqlOf(dialect, one, column.kind)}`,
  };
}

function textLiteral(value: string | number | boolean, { kind }: Column): string {
  if (typeof value !== "string" || kind === "bigint" || kind === "decimal") return String(value);
  return JSON.stringify(kind === "moment" ? value.replace(" ", "T") : value);
}
