import type { Cell } from "../../query/cell.ts";

export * from "../../query/cell.ts";

/** A row on its way into a table. `undefined`: as it was. */
export type Cells = (Cell | undefined)[];

export class NullInside extends Error {}

/** The source said that a column has no nulls, and it has one. */
export function nullInside(place: number): never {
  throw new NullInside(`column ${place} was declared without nulls and has one`);
}

/** An integer of up to 64 bits. The double is near it where it is beyond 2^53; then `big` has it exactly. */
export function wide(big: Map<number, bigint>, values: Float64Array, row: number): number | bigint {
  return big.size === 0 ? (values[row] as number) : (big.get(row) ?? (values[row] as number));
}

export function storeWide(big: Map<number, bigint>, values: Float64Array, row: number, value: number | bigint): void {
  values[row] = Number(value);
  if (typeof value === "bigint") big.set(row, value);
  else if (big.size > 0) big.delete(row);
}

/** Of two rows whose doubles are the same. */
export function compareWide(big: Map<number, bigint>, values: Float64Array, a: number, b: number): number {
  if (big.size === 0) return 0;
  const x = wide(big, values, a);
  const y = wide(big, values, b);
  return x < y ? -1 : x > y ? 1 : 0;
}

export function floatFromText(text: string): number {
  return text === "Infinity" ? Infinity : text === "-Infinity" ? -Infinity : +text;
}

/** PostgreSQL says t and f, MySQL a number. */
export const booleanFromText = (text: string): number => (text === "t" || (text !== "f" && text !== "0") ? 1 : 0);

/** `\x…` of PostgreSQL. MySQL's bytes are base64 before they come here. */
export const bytesFromText = (text: string): string =>
  text.startsWith("\\x") ? Buffer.from(text.slice(2), "hex").toString("base64") : text;

/** Of two decimals as text, by what they are worth: 1.5 equals 1.50. NaN is above all, as in PostgreSQL. */
export function compareDecimal(a: string, b: string): number {
  if (a === b) return 0;
  const [x, y] = [rank(a), rank(b)];
  if (x !== y || x !== 0) return x - y;
  const [minusA, minusB] = [a.startsWith("-"), b.startsWith("-")];
  const order = compareDigits(minusA ? a.slice(1) : a, minusB ? b.slice(1) : b);
  if (minusA !== minusB) return isZero(a) && isZero(b) ? 0 : minusA ? -1 : 1;
  return minusA ? -order : order;
}

const isZero = (text: string): boolean => /^-?[0.]+$/.test(text);
const rank = (text: string): number => (text === "NaN" ? 2 : text === "Infinity" ? 1 : text === "-Infinity" ? -1 : 0);

function compareDigits(a: string, b: string): number {
  const [wholeA = "", restA = ""] = a.replace(/^0+/, "").split(".");
  const [wholeB = "", restB = ""] = b.replace(/^0+/, "").split(".");
  if (wholeA.length !== wholeB.length) return wholeA.length - wholeB.length;
  if (wholeA !== wholeB) return wholeA < wholeB ? -1 : 1;
  const width = Math.max(restA.length, restB.length);
  const [x, y] = [restA.padEnd(width, "0"), restB.padEnd(width, "0")];
  return x < y ? -1 : x > y ? 1 : 0;
}

/** Keeps one copy of texts that come often, while there are few of them. */
export class Interner {
  static readonly MOST = 1024;
  #known: Map<string, string> | null = new Map();

  take(text: string): string {
    const known = this.#known;
    if (known === null || text.length > 64) return text;
    const kept = known.get(text);
    if (kept !== undefined) return kept;
    if (known.size >= Interner.MOST) this.#known = null;
    else known.set(text, text);
    return text;
  }
}
