import { TYPE } from "../postgres/wire/message.ts";

/** What PostgreSQL takes for `off` and `local`: commits that wait for no keeper. It takes any beginning of a word that is no other's. */
const WEAKER = /^(of|off|f|fa|fal|fals|false|n|no|0|local)$/i;
const IN_OPTIONS = /(?:^|\s)(?:-c\s*|--)synchronous[-_]commit=(\w+)/gi;
const IN_STATEMENT = /^\s*set\s+(?:(?:session|local)\s+)?"?synchronous_commit"?\s*(?:=|\bto\b)\s*'?(\w+)/i;

/** Whether a session begins with commits that do not wait for the keepers, by its startup packet. The last word counts, as in PostgreSQL. */
export function beginsWithOverride(settings: readonly (readonly [name: string, value: string])[]): boolean {
  const own = settings.findLast(([name]) => name.toLowerCase() === "synchronous_commit")?.[1];
  const options = settings.find(([name]) => name === "options")?.[1] ?? "";
  const value = own ?? [...options.matchAll(IN_OPTIONS)].at(-1)?.[1];
  return value !== undefined && WEAKER.test(value);
}

/**
 * Whether a chunk that begins with a message begins with a statement that sets them so. Asked of each chunk that is short, so nearly all are told by a
 * few of their bytes.
 */
export function setsOverride(chunk: Buffer): boolean {
  const type = chunk[0];
  if (type !== TYPE.query && type !== TYPE.parse) return false;
  // A statement's name comes before it.
  let at = type === TYPE.query ? 5 : chunk.indexOf(0, 5) + 1;
  while ((chunk[at] ?? LETTER_Z) <= SPACE) at++;
  if (!is(chunk[at], LETTER_S) || !is(chunk[at + 1], LETTER_E) || !is(chunk[at + 2], LETTER_T)) return false;
  const value = IN_STATEMENT.exec(chunk.toString("latin1", at))?.[1];
  return value !== undefined && WEAKER.test(value);
}

const [SPACE, LETTER_E, LETTER_S, LETTER_T, LETTER_Z] = [0x20, 0x65, 0x73, 0x74, 0x7a];
const is = (byte: number | undefined, letter: number): boolean => byte !== undefined && (byte | 0x20) === letter;
