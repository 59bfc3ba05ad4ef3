// Random transactions on the shop, as batches of SQL that always succeed.
import { type Column, type Dialect, definitions, type Random, sqlOf, TABLES, type Table, value } from "./shop.ts";

const table = (name: string): Table => TABLES.find((each) => each.name === name) as Table;

export class Writer {
  readonly #random: Random;
  readonly #dialect: Dialect;
  #line = 0;
  written = 0;

  constructor(random: Random, dialect: Dialect) {
    this.#random = random;
    this.#dialect = dialect;
  }

  definitions(): string[] {
    return definitions(this.#dialect);
  }

  #sql(column: Column): string {
    const random = this.#random;
    if (column.nullable && random.chance(0.2)) return "NULL";
    if (column.name === "referrer_id" || column.name === "customer_id")
      return `(SELECT x.id FROM (SELECT id FROM customers WHERE id <= ${random.int(80)} ORDER BY id DESC LIMIT 1) x)`;
    return sqlOf(this.#dialect, value(random, column), column.kind);
  }

  #insert(of: Table, keys: Record<string, string>): string {
    const names = of.columns.map(({ name }) => name);
    const values = of.columns.map((column) => keys[column.name] ?? this.#sql(column));
    return `INSERT ${this.#dialect === "mysql" ? "IGNORE " : ""}INTO ${of.name} (${names.join(", ")}) VALUES (${values.join(", ")})${this.#dialect === "postgres" ? " ON CONFLICT DO NOTHING" : ""}`;
  }

  /** One statement. */
  statement(): string {
    const random = this.#random;
    this.written++;
    const id = 1 + random.int(80);
    const code = `'c${random.int(150)}'`;
    const roll = random.next();
    if (roll < 0.2) return this.#insert(table("customers"), { id: String(id) });
    if (roll < 0.4) return this.#insert(table("orders"), { code });
    if (roll < 0.6) {
      const orders = `(SELECT x.code FROM (SELECT code FROM orders WHERE code >= ${code} ORDER BY code LIMIT 1) x)`;
      const known = `SELECT ${this.#dialect === "mysql" ? "code" : "code"} FROM orders WHERE code >= ${code} ORDER BY code LIMIT 1`;
      const of = table("items");
      const values = of.columns.map((column) =>
        column.name === "order_code" ? "o.code" : column.name === "line" ? String(this.#line++ % 6) : this.#sql(column),
      );
      const ignore = this.#dialect === "mysql" ? "IGNORE " : "";
      void orders;
      return `INSERT ${ignore}INTO items (${of.columns.map(({ name }) => name).join(", ")}) SELECT ${values.join(", ")} FROM (${known}) o${this.#dialect === "postgres" ? " ON CONFLICT DO NOTHING" : ""}`;
    }
    if (roll < 0.9) {
      const of = random.pick(TABLES);
      const column = random.pick(of.columns.filter(({ name }) => !of.key.includes(name)));
      const where =
        of.name === "customers"
          ? `id = ${id}`
          : of.name === "orders"
            ? `code = ${code}`
            : `order_code = ${code} AND line < ${random.int(6)}`;
      const set = column.name.endsWith("_id") ? "NULL" : this.#sql(column);
      return `UPDATE ${of.name} SET ${column.name} = ${set} WHERE ${where}`;
    }
    if (roll < 0.93)
      return `UPDATE items SET line = line + 10 WHERE order_code = ${code} AND line < 3 AND NOT EXISTS (SELECT 1 FROM (SELECT * FROM items) y WHERE y.order_code = ${code} AND y.line >= 10)`;
    if (roll < 0.96) return `DELETE FROM items WHERE order_code = ${code}`;
    return random.chance(0.7) ? `DELETE FROM orders WHERE code = ${code}` : `DELETE FROM customers WHERE id = ${id}`;
  }

  /** Statements of one transaction, its end included. */
  transaction(): string[] {
    const random = this.#random;
    const statements = Array.from({ length: 1 + random.int(12) }, () => this.statement());
    return ["BEGIN", ...statements, random.chance(0.1) ? "ROLLBACK" : "COMMIT"];
  }
}
