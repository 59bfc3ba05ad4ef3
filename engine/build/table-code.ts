import type { ShapeTable } from "../shape/shape.ts";
import { ColumnCode } from "../store/column-code.ts";
import type { IndexPlan } from "./indexes.ts";

export const codesOf = (table: ShapeTable): ColumnCode[] =>
  table.columns.map(({ type, nullable }, place) => new ColumnCode(place, type, nullable));

/**
 * The class of one table. An index `i<n>` orders rows by its columns and then by the primary key; `q<n>` compares by its columns alone.
 * @param keeps an expression: whether `row` of `this` is one of those that are kept; null for all
 */
export function tableClass(
  name: string,
  table: ShapeTable,
  indexes: readonly IndexPlan[],
  keeps: string | null,
): string {
  const columns = codesOf(table);
  const at = (place: number): ColumnCode => columns[place] as ColumnCode;
  const typed = columns.filter(({ storage }) => storage !== "Array");
  const lists = columns.filter(({ storage }) => storage === "Array");
  const interned = columns.filter(({ isText }) => isText);
  const compare = (places: readonly number[]) =>
    places.map((place) => at(place).compare("this", "a", "b")).join(" || ") || "a - b";
  const tail = (plan: IndexPlan) => table.key.filter((place) => !plan.columns.includes(place));
  const lines = (each: (column: ColumnCode) => string, of: readonly ColumnCode[] = columns) =>
    of.map(each).join("\n    ");
  const secondary = indexes.map((_, i) => i).slice(1);
  const keyed = table.key.length > 0;
  // Without a key rows are told apart by their place, so that every order is whole.
  const order = (plan: IndexPlan, i: number) =>
    i === 0 ? compare(plan.columns) : `${compare([...plan.columns, ...tail(plan)])}${keyed ? "" : " || a - b"}`;

  return `
export class ${name} {
  constructor() {
    this.size = 64;
    this.end = 2;
    this.live = 0;
    this.free = [];
    ${lines((c) => `this.c${c.place} = new ${c.storage}(64);`, typed)}
    ${lines((c) => `this.c${c.place} = [null, null];`, lists)}
    ${lines(
      (c) => `this.n${c.place} = new Uint8Array(64);`,
      columns.filter(({ isFlagged }) => isFlagged),
    )}
    ${lines(
      (c) => `this.b${c.place} = new Map();`,
      columns.filter(({ isWide }) => isWide),
    )}
    ${lines((c) => `this.p${c.place} = true; this.s${c.place} = new Interner();`, interned)}
    ${indexes.map((plan, i) => `this.q${i} = (a, b) => ${compare(plan.columns)};`).join("\n    ")}
    ${indexes.map((plan, i) => `this.i${i} = new OrderedRows((a, b) => ${order(plan, i)});`).join("\n    ")}
  }

  grow() {
    const size = Math.ceil(this.size * 1.5);
    ${lines((c) => `{ const next = new ${c.storage}(size); next.set(this.c${c.place}); this.c${c.place} = next; }`, typed)}
    ${lines(
      (c) => `{ const next = new Uint8Array(size); next.set(this.n${c.place}); this.n${c.place} = next; }`,
      columns.filter(({ isFlagged }) => isFlagged),
    )}
    this.size = size;
  }

  take() {
    const row = this.free.pop();
    if (row !== undefined) return row;
    if (this.end === this.size) this.grow();
    return this.end++;
  }

  read(texts) {
    return [
      ${columns.map((c) => `texts[${c.place}] == null ? texts[${c.place}] : ${c.fromText(`texts[${c.place}]`)}`).join(",\n      ")}
    ];
  }

  write(row, v) {
    ${lines((c) =>
      c.isText
        ? `{ let value = v[${c.place}]; if (value !== null) value = this.s${c.place}.take(value); ${c.set("this", "row", "value")} }`
        : `{ const value = v[${c.place}]; ${c.set("this", "row", "value")} }`,
    )}
  }

  keeps(row) {
    return ${keeps ?? "true"};
  }

  append(v) {
    const row = this.take();
    this.write(row, v);
    ${keeps === null ? "" : "if (!this.keeps(row)) { this.forget(row); return; }"}
    this.live++;
  }

  finish() {
    const rows = new Int32Array(this.live);
    const free = new Set(this.free);
    let count = 0;
    for (let row = 2; row < this.end; row++) if (!free.has(row)) rows[count++] = row;
    ${indexes.map((_, i) => `this.i${i}.build(${i === indexes.length - 1 ? "rows" : "rows.slice()"});`).join("\n    ")}
  }

  forget(row) {
    ${lines((c) => `this.c${c.place}[row] = null;`, lists)}
    ${lines(
      (c) => `this.b${c.place}.delete(row);`,
      columns.filter(({ isWide }) => isWide),
    )}
    this.free.push(row);
  }

  drop(row) {
    ${indexes.map((_, i) => `this.i${i}.remove(row);`).join(" ")}
    this.forget(row);
    this.live--;
  }

  seekKey(v) {
    ${table.key.map((place) => `{ const value = v[${place}]; ${at(place).set("this", "0", "value")} }`).join("\n    ")}
    return ${keyed ? "this.i0.find(0, this.q0)" : "-1"};
  }

  put(v) {
    let row = this.seekKey(v);
    if (row >= 0) {
      ${lines((c) => `if (v[${c.place}] === undefined) v[${c.place}] = this.cell${c.place}(row);`)}
    }
    this.write(0, v);
    if (!this.keeps(0)) {
      if (row >= 0) this.drop(row);
      return;
    }
    if (row < 0) {
      row = this.take();
      this.write(row, v);
      ${indexes.map((_, i) => `this.i${i}.insert(row);`).join(" ")}
      this.live++;
      return;
    }
    ${secondary.map((i) => `const x${i} = this.q${i}(row, 0) !== 0; if (x${i}) this.i${i}.remove(row);`).join("\n    ")}
    this.write(row, v);
    ${secondary.map((i) => `if (x${i}) this.i${i}.insert(row);`).join("\n    ")}
  }

  remove(v) {
    const row = this.seekKey(v);
    if (row < 0) return false;
    this.drop(row);
    return true;
  }

  ${columns.map((c) => `cell${c.place}(row) { return ${c.isNull("this", "row")} ? null : ${c.value("this", "row")}; }`).join("\n  ")}

  cellsOf(v) {
    const row = this.seekKey(v);
    return row < 0 ? null : [${columns.map((c) => `this.cell${c.place}(row)`).join(", ")}];
  }

  bytes() {
    let bytes = this.free.length * 8 ${indexes.map((_, i) => `+ this.i${i}.bytes()`).join(" ")};
    ${lines((c) => `bytes += this.c${c.place}.byteLength ${c.isFlagged ? `+ this.n${c.place}.byteLength` : ""} ${c.isWide ? `+ this.b${c.place}.size * 48` : ""};`, typed)}
    ${lines((c) => `bytes += this.c${c.place}.length * 8;`, lists)}
    return bytes;
  }

  dump() {
    return { end: this.end, live: this.live, free: this.free${columns
      .map(
        (c) =>
          `, c${c.place}: ${c.storage === "Array" ? `this.c${c.place}` : `this.c${c.place}.slice(0, this.end)`}${c.isFlagged ? `, n${c.place}: this.n${c.place}.slice(0, this.end)` : ""}${c.isWide ? `, b${c.place}: this.b${c.place}` : ""}${c.isText ? `, p${c.place}: this.p${c.place}` : ""}`,
      )
      .join("")} };
  }

  restore(dump) {
    this.end = dump.end;
    this.live = dump.live;
    this.free = dump.free;
    this.size = Math.max(64, dump.end);
    ${lines((c) => `this.c${c.place} = new ${c.storage}(this.size); this.c${c.place}.set(dump.c${c.place});`, typed)}
    ${lines((c) => `this.c${c.place} = dump.c${c.place};`, lists)}
    ${lines(
      (c) => `this.n${c.place} = new Uint8Array(this.size); this.n${c.place}.set(dump.n${c.place});`,
      columns.filter(({ isFlagged }) => isFlagged),
    )}
    ${lines(
      (c) => `this.b${c.place} = dump.b${c.place};`,
      columns.filter(({ isWide }) => isWide),
    )}
    ${lines((c) => `this.p${c.place} = dump.p${c.place};`, interned)}
    this.finish();
  }
}
`;
}
