/**
 * Cells are values on their way into a table: numbers for integers, decimals of up to 15 digits (without their point), days, microseconds and
 * booleans; bigints for integers beyond 2^53; strings for all else. These functions read them from the text that MySQL and PostgreSQL print.
 */
export type Cell = number | bigint | string | null;
export const DAY_US = 86_400_000_000;

/** MySQL's 0000-00-00, before every other day. */
export const ZERO_DAY: number = -2_147_483_647;
export const ZERO_MOMENT: number = -8e20;
const DAY_INFINITY = 2_147_483_647;

export function wideFromText(text: string): number | bigint {
  const value = +text;
  return Number.isSafeInteger(value) ? value : BigInt(text);
}

/** Days since 1970-01-01. @see https://howardhinnant.github.io/date_algorithms.html */
export function dayOf(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  return (
    era * 146_097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719_468
  );
}

export function dateFromText(text: string): number {
  if (text.length === 10 && text.charCodeAt(4) === 45) {
    const [year, month, day] = [digits(text, 0, 4), digits(text, 5, 2), digits(text, 8, 2)];
    return month === 0 || day === 0 ? ZERO_DAY : dayOf(year, month, day);
  }
  if (text === "infinity") return DAY_INFINITY;
  if (text === "-infinity") return ZERO_DAY;
  const match = /^(\d{4,})-(\d\d)-(\d\d)( BC)?$/.exec(text);
  if (match === null) throw new Error("this is not a date");
  const year = Number(match[1]);
  return dayOf(match[4] === undefined ? year : 1 - year, Number(match[2]), Number(match[3]));
}

/** Microseconds since 1970-01-01 00:00. Whatever zone is at the end must be UTC. */
export function dateTimeFromText(text: string): number {
  if (text.charCodeAt(4) === 45 && text.charCodeAt(13) === 58 && !text.endsWith("C")) {
    const [month, day] = [digits(text, 5, 2), digits(text, 8, 2)];
    if (month === 0 || day === 0) return ZERO_MOMENT;
    const seconds = digits(text, 11, 2) * 3600 + digits(text, 14, 2) * 60 + digits(text, 17, 2);
    return (dayOf(digits(text, 0, 4), month, day) * 86_400 + seconds) * 1e6 + fraction(text, 19);
  }
  if (text === "infinity") return Infinity;
  if (text === "-infinity") return -Infinity;
  const match = /^(\d{4,}-\d\d-\d\d) (\d\d):(\d\d):(\d\d)(\.\d+)?(?:\+00)?( BC)?$/.exec(text);
  if (match === null) throw new Error("this is not a moment");
  const seconds = Number(match[2]) * 3600 + Number(match[3]) * 60 + Number(match[4]);
  const micro = Math.round(Number(match[5] ?? 0) * 1e6);
  return (dateFromText(`${match[1]}${match[6] ?? ""}`) * 86_400 + seconds) * 1e6 + micro;
}

/** Microseconds; MySQL's go from -838:59:59 to 838:59:59. */
export function timeFromText(text: string): number {
  const match = /^(-?)(\d+):(\d\d):(\d\d)(\.\d+)?$/.exec(text);
  if (match === null) throw new Error("this is not a time of day");
  const seconds = Number(match[2]) * 3600 + Number(match[3]) * 60 + Number(match[4]);
  const value = seconds * 1e6 + Math.round(Number(match[5] ?? 0) * 1e6);
  return match[1] === "-" ? -value : value;
}

function digits(text: string, from: number, count: number): number {
  let value = 0;
  for (let i = from; i < from + count; i++) value = value * 10 + text.charCodeAt(i) - 48;
  return value;
}

/** What follows the seconds, in microseconds: `.123`, and perhaps a zone. */
function fraction(text: string, at: number): number {
  if (text.charCodeAt(at) !== 46) return 0;
  let value = 0;
  let unit = 100_000;
  for (let i = at + 1; i < text.length && unit >= 1; i++, unit /= 10) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) break;
    value += digit * unit;
  }
  return value;
}
