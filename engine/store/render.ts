// Cells as JSON.
import { DAY_US, wide, ZERO_DAY, ZERO_MOMENT } from "./cell.ts";

// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON escapes them
const ESCAPED = /["\\\u0000-\u001f\ud800-\udfff]/;
const NOT_PLAIN = /[^ !#-[\]-~]/;

export const needsEscape = (text: string): boolean => ESCAPED.test(text);

/** ASCII that JSON does not escape. */
export const isPlain = (text: string): boolean => !NOT_PLAIN.test(text);

export function renderWide(big: Map<number, bigint>, values: Float64Array, row: number): string | number {
  const value = wide(big, values, row);
  return typeof value === "bigint" ? `"${value}"` : value;
}

/** JSON has no word for what is not finite: a string has. */
export const renderDouble = (value: number): string | number => (Number.isFinite(value) ? value : `"${value}"`);

/** The shortest that reads back as the same single. */
export function renderSingle(value: number): string | number {
  if (!Number.isFinite(value)) return `"${value}"`;
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return Number(value.toPrecision(9));
}

export function renderScaled(value: number, scale: number): string {
  if (scale === 0) return `"${value}"`;
  const minus = value < 0 ? "-" : "";
  const digits = String(Math.abs(value)).padStart(scale + 1, "0");
  return `"${minus}${digits.slice(0, -scale)}.${digits.slice(-scale)}"`;
}

export const renderSet = (text: string): string => (text === "" ? "[]" : JSON.stringify(text.split(",")));

const days = new Map<number, string>();

export const renderDate = (day: number): string => `"${dayText(day)}"`;

export function renderDateTime(micros: number, zoned: boolean): string {
  if (!Number.isFinite(micros)) return micros > 0 ? '"infinity"' : '"-infinity"';
  if (micros === ZERO_MOMENT) return '"0000-00-00T00:00:00"';
  const day = Math.floor(micros / DAY_US);
  return `"${dayText(day)}T${clock(micros - day * DAY_US)}${zoned ? "Z" : ""}"`;
}

export function renderTime(micros: number): string {
  return micros < 0 ? `"-${clock(-micros)}"` : `"${clock(micros)}"`;
}

function dayText(day: number): string {
  const known = days.get(day);
  if (known !== undefined) return known;
  if (days.size > 20_000) days.clear();
  const text = civil(day);
  days.set(day, text);
  return text;
}

/** The day as a calendar shows it. */
function civil(day: number): string {
  if (day === ZERO_DAY) return "0000-00-00";
  if (day === 2_147_483_647) return "infinity";
  const z = day + 719_468;
  const era = Math.floor(z / 146_097);
  const dayOfEra = z - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shifted = Math.floor((5 * dayOfYear + 2) / 153);
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const date = dayOfYear - Math.floor((153 * shifted + 2) / 5) + 1;
  // As ISO 8601 has them: years before 1 and after 9999 have a sign and six digits.
  const shown =
    year >= 0 && year <= 9999
      ? String(year).padStart(4, "0")
      : `${year < 0 ? "-" : "+"}${String(Math.abs(year)).padStart(6, "0")}`;
  return `${shown}-${two(month)}-${two(date)}`;
}

function clock(micros: number): string {
  const seconds = Math.floor(micros / 1e6);
  const rest = micros - seconds * 1e6;
  const whole = `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  if (rest === 0) return whole;
  const text = String(rest).padStart(6, "0");
  return `${whole}.${text.endsWith("000") ? text.slice(0, 3) : text}`;
}

const two = (value: number): string => (value < 10 ? `0${value}` : String(value));
