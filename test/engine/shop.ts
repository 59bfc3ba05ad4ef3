// A schema and rows for it, the same in MariaDB and PostgreSQL: what random queries and writes are about.
import type { random as seeded } from "../random.ts";

export type Random = ReturnType<typeof seeded>;

export type Dialect = "mysql" | "postgres";
export type Kind = "integer" | "bigint" | "text" | "boolean" | "decimal" | "float" | "moment" | "date";
/** `source`: what its source calls it, where that is not what queries do. */
export type Column = { name: string; kind: Kind; nullable: boolean; source?: string };
export type Relation = {
  name: string;
  table: string;
  kind: "one" | "many" /** Own columns, and those there, as the source calls them. */;
  on: [string, string][];
};
export type Table = {
  name: string;
  source?: string;
  /** Which of its rows an engine has, in SQL; all when absent. */
  rows?: string;
  /** As the source calls them. */
  key: string[];
  columns: Column[];
  relations: Relation[];
};

const column = (name: string, kind: Kind, nullable = true): Column => ({ name, kind, nullable });

export const TABLES: readonly Table[] = [
  {
    name: "customers",
    key: ["id"],
    columns: [
      ...[
        column("id", "integer", false),
        column("name", "text", false),
        column("city", "text"),
        column("age", "integer"),
      ],
      ...[
        column("active", "boolean"),
        column("credit", "decimal"),
        column("score", "float"),
        column("joined", "moment"),
      ],
      ...[column("born", "date"), column("big", "bigint"), column("referrer_id", "integer")],
    ],
    relations: [
      { name: "referrer", table: "customers", kind: "one", on: [["referrer_id", "id"]] },
      { name: "customers", table: "customers", kind: "many", on: [["id", "referrer_id"]] },
      { name: "orders", table: "orders", kind: "many", on: [["id", "customer_id"]] },
    ],
  },
  {
    name: "orders",
    key: ["code"],
    columns: [
      ...[column("code", "text", false), column("customer_id", "integer"), column("total", "decimal", false)],
      ...[column("paid", "boolean", false), column("placed", "moment"), column("note", "text")],
    ],
    relations: [
      { name: "customer", table: "customers", kind: "one", on: [["customer_id", "id"]] },
      { name: "items", table: "items", kind: "many", on: [["code", "order_code"]] },
    ],
  },
  {
    name: "items",
    key: ["order_code", "line"],
    columns: [
      ...[column("order_code", "text", false), column("line", "integer", false), column("sku", "text")],
      ...[column("count", "integer"), column("price", "decimal")],
    ],
    relations: [{ name: "orders_by_order_code", table: "orders", kind: "one", on: [["order_code", "code"]] }],
  },
];

const TYPES: Record<Dialect, Record<Kind, string>> = {
  mysql: {
    ...{
      integer: "INT",
      bigint: "BIGINT",
      text: "VARCHAR(60)",
      boolean: "TINYINT(1)",
      decimal: "DECIMAL(12,3)",
      float: "DOUBLE",
    },
    ...{ moment: "DATETIME(6)", date: "DATE" },
  },
  postgres: {
    ...{
      integer: "integer",
      bigint: "bigint",
      text: "varchar(60)",
      boolean: "boolean",
      decimal: "numeric(12,3)",
      float: "double precision",
    },
    ...{ moment: "timestamp", date: "date" },
  },
};

export function definitions(dialect: Dialect): string[] {
  const statements = TABLES.map(({ name, key, columns }) => {
    const lines = columns.map(
      (each) => `${each.name} ${TYPES[dialect][each.kind]}${each.nullable ? " NULL" : " NOT NULL"}`,
    );
    const end = dialect === "mysql" ? " CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin" : "";
    return `CREATE TABLE ${name} (${[...lines, `PRIMARY KEY (${key.join(", ")})`].join(", ")})${end}`;
  });
  return [
    ...statements,
    "ALTER TABLE customers ADD CONSTRAINT c1 FOREIGN KEY (referrer_id) REFERENCES customers (id) ON DELETE SET NULL",
    "ALTER TABLE orders ADD CONSTRAINT o1 FOREIGN KEY (customer_id) REFERENCES customers (id) ON DELETE SET NULL",
    `ALTER TABLE items ADD CONSTRAINT i1 FOREIGN KEY (order_code) REFERENCES orders (code) ON DELETE CASCADE`,
    "CREATE INDEX by_city ON customers (city)",
    "CREATE INDEX by_paid ON orders (paid, total)",
  ];
}

const between = (random: Random, low: number, high: number): number => low + random.int(high - low + 1);

const WORDS = ["ash", "birch", "Cedar", "cedar", "élan", "fir_tree", "50%", "a\\b", "", "Zed", "日本", "o'x", 'q"q'];

export function value(random: Random, { kind }: Column): string | number | boolean {
  switch (kind) {
    case "integer":
      return between(random, -5, 30);
    case "bigint":
      return random.chance(0.3)
        ? `${random.chance(0.5) ? "-" : ""}90071992547409${between(random, 10, 99)}`
        : between(random, -5, 5);
    case "text":
      return random.pick(WORDS);
    case "boolean":
      return random.chance(0.5);
    case "decimal":
      return (between(random, -2000, 2000) / 1000).toFixed(3);
    case "float":
      return between(random, -20, 20) / 8;
    case "moment":
      return `2024-0${between(random, 1, 3)}-1${random.int(10)} 1${random.int(3)}:00:00${random.chance(0.3) ? ".250001" : ""}`;
    case "date":
      return `19${between(random, 10, 99)}-02-${between(random, 10, 28)}`;
  }
}

export function sqlOf(dialect: Dialect, value: string | number | boolean | null, kind: Kind): string {
  if (value === null) return "NULL";
  if (typeof value === "boolean") return value ? "TRUE" : "FALSE";
  if (typeof value === "number" || kind === "bigint" || kind === "decimal") return String(value);
  return dialect === "mysql"
    ? `'${value.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`
    : `'${value.replaceAll("'", "''")}'`;
}
