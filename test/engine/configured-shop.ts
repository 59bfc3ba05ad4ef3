// The shop as an engine with a `reflexdb.yaml` has it: other names, some columns and relations left out, some rows.
import { type Relation, TABLES, type Table } from "./shop.ts";

const CUSTOMERS = "age IS NULL OR age < 25";
const PRICED = "price IS NULL OR price > -1.5";

export const CONFIG = `version: 1
where: "${PRICED}"
where_columns: [price]
tables:
  - name: customers
    alias: people
    columns: [id, name, age, active, score, joined, big]
    where: "${CUSTOMERS}"
    field_aliases: { name: title, big: huge }
    relations: { exclude: [referrer] }
  - name: orders
    alias: purchases
    columns: [code, total, placed, note]
    field_aliases: { code: number }
  - name: items
`;

const configured = (
  source: string,
  name: string,
  columns: Record<string, string>,
  relations: Relation[],
  rows?: string,
): Table => {
  const table = TABLES.find((each) => each.name === source) as Table;
  const seen = table.columns.filter((column) => column.name in columns);
  return {
    ...{ name, source, key: table.key, relations },
    columns: seen.map((column) => ({ ...column, name: columns[column.name] as string, source: column.name })),
    ...(rows === undefined ? {} : { rows }),
  };
};
const same = (...names: string[]): Record<string, string> => Object.fromEntries(names.map((name) => [name, name]));

/** What CONFIG makes of it. */
export const CONFIGURED: readonly Table[] = [
  configured(
    "customers",
    "people",
    { ...same("id", "age", "active", "score", "joined"), name: "title", big: "huge" },
    [
      { name: "people", table: "people", kind: "many", on: [["id", "referrer_id"]] },
      { name: "purchases", table: "purchases", kind: "many", on: [["id", "customer_id"]] },
    ],
    CUSTOMERS,
  ),
  configured("orders", "purchases", { ...same("total", "placed", "note"), code: "number" }, [
    { name: "customer", table: "people", kind: "one", on: [["customer_id", "id"]] },
    { name: "items", table: "items", kind: "many", on: [["code", "order_code"]] },
  ]),
  configured(
    "items",
    "items",
    same("order_code", "line", "sku", "count", "price"),
    [{ name: "purchases_by_order_code", table: "purchases", kind: "one", on: [["order_code", "code"]] }],
    PRICED,
  ),
];
