import type { ColumnType } from "../contract/source-schema.ts";
import { type Cell, dateFromText, dateTimeFromText, timeFromText, wideFromText } from "./cell.ts";
import { QueryProblem } from "./problem.ts";
import type { LiteralValue } from "./syntax.ts";

const DATE = /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$/;
const MOMENT =
  /^(\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))(?:[T ]([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?)?$/;
/** As it is printed: no bit is set beyond the last byte. */
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$/;
const TIME = /^-?\d{2,3}:[0-5]\d(:[0-5]\d(\.\d{1,6})?)?$/;

/** A decimal of as many digits as a double has exactly: its number is kept without the point. */
export const isScaled = (type: ColumnType): boolean =>
  type.kind === "decimal" && type.precision !== null && type.precision <= 15 && type.scale !== null;

/** The cell that a column's values are compared with. */
export function cellOf(type: ColumnType, name: string, literal: LiteralValue): NonNullable<Cell> {
  const wrong = (wanted: string): QueryProblem =>
    new QueryProblem("type_mismatch", `${name} is compared with ${wanted}, not with ${shown(literal)}`, {
      at: literal.at,
    });
  switch (type.kind) {
    case "integer":
    case "bigint":
      if (literal.kind !== "number") throw wrong("a number");
      return /^-?\d+$/.test(literal.text) ? wideFromText(literal.text) : Number(literal.text);
    case "float":
      if (literal.kind !== "number") throw wrong("a number");
      return Number(literal.text);
    case "decimal": {
      if (literal.kind === "boolean" || !/^-?(\d+(\.\d+)?|\.\d+)([eE][+-]?\d+)?$/.test(literal.text))
        throw wrong("a number");
      return isScaled(type) ? scaled(literal.text, type.scale ?? 0) : plain(literal.text);
    }
    case "boolean":
      if (literal.kind === "boolean") return literal.text === "true" ? 1 : 0;
      if (literal.kind === "number" && (literal.text === "0" || literal.text === "1")) return Number(literal.text);
      throw wrong("true or false");
    case "text":
    case "enum":
    case "set":
      if (literal.kind !== "string") throw wrong("a string");
      return literal.text;
    case "bytes":
      if (literal.kind !== "string" || !BASE64.test(literal.text)) throw wrong("a string of base64");
      return literal.text;
    case "date":
      if (literal.kind !== "string" || !DATE.test(literal.text)) throw wrong("a date such as 2026-01-31");
      return dateFromText(literal.text);
    case "datetime": {
      const moment = literal.kind === "string" ? momentOf(literal.text, type.zoned) : null;
      if (moment === null) throw wrong(`a moment such as 2026-01-31T12:00:00${type.zoned ? "Z" : ""}`);
      return moment;
    }
    case "time":
      if (literal.kind !== "string" || !TIME.test(literal.text)) throw wrong("a time such as 12:00:00");
      return timeFromText(literal.text.split(":").length === 2 ? `${literal.text}:00` : literal.text);
    case "json":
      throw new QueryProblem("type_mismatch", `${name} is JSON: only IS NULL and IS NOT NULL apply to it`, {
        at: literal.at,
      });
  }
}

const shown = ({ kind, text }: LiteralValue): string => (kind === "string" ? JSON.stringify(text) : text);

/** With the point moved, which a double's own reader does without loss. */
function scaled(text: string, scale: number): number {
  const [digits = "", exponent = "0"] = text.toLowerCase().split("e");
  return Number(`${digits}e${Number(exponent) + scale}`);
}

/** Without an exponent. */
function plain(text: string): string {
  const [digits = "", exponent] = text.toLowerCase().split("e");
  const dotted = digits.replace(/^(-?)\./, "$10.");
  if (exponent === undefined) return dotted;
  const by = Math.max(-400, Math.min(400, Number(exponent)));
  const minus = dotted.startsWith("-") ? "-" : "";
  const [whole = "", rest = ""] = dotted.replace("-", "").split(".");
  const padded = by < 0 ? whole.padStart(whole.length - by, "0") : whole;
  const all = padded + rest.padEnd(Math.max(0, by), "0");
  const point = padded.length + by;
  return `${minus}${all.slice(0, point)}${point < all.length ? `.${all.slice(point)}` : ""}`;
}

/** A zone is only for what is a moment; without one it is UTC. */
function momentOf(text: string, zoned: boolean): number | null {
  const match = MOMENT.exec(text);
  if (match === null) return null;
  const [, date, hours = "00", minutes = "00", seconds = "00", rest = "", zone] = match;
  if (zone !== undefined && !zoned) return null;
  const local = dateTimeFromText(`${date} ${hours}:${minutes}:${seconds}${rest}`);
  if (zone === undefined || zone === "Z") return local;
  const offset = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(-2));
  return local - (zone.startsWith("-") ? -offset : offset) * 60_000_000;
}
