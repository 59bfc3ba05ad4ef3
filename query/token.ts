import { type At, QueryProblem } from "./problem.ts";

export type Token =
  | { kind: "name"; text: string /** Written in backquotes: never a keyword. */; quoted: boolean; at: At }
  | { kind: "string"; text: string; at: At }
  | { kind: "number"; text: string; at: At }
  | { kind: "symbol"; text: string; at: At }
  | { kind: "end"; text: ""; at: At };

/** The words of the language, and what is between them. */
export const PIECE: RegExp =
  /(\s+)|([\p{L}_][\p{L}\p{N}_]*)|`([^`\n]+)`|(-?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)|("(?:[^"\\\n\r]|\\.)*")|(\.\.\.|<=|>=|!=|<>|[{}(),:.*=<>])/uy;

const SQL_STRING = /'((?:[^'\\]|''|\\.)*)'/uy;

/** Cuts a query into its words. @param sql strings may also be in single quotes, as SQL has them */
export function tokens(text: string, sql = false): Token[] {
  const found: Token[] = [];
  for (let at = 0; at < text.length; at = PIECE.lastIndex) {
    at = usualTokens(text, at, found);
    if (at === text.length) break;
    if (sql && text[at] === "'") {
      SQL_STRING.lastIndex = at;
      const inside = SQL_STRING.exec(text)?.[1];
      if (inside === undefined) throw new QueryProblem("parse_error", "this string has no end", { at });
      found.push({ kind: "string", text: inside.replaceAll("''", "'"), at });
      PIECE.lastIndex = SQL_STRING.lastIndex;
      continue;
    }
    PIECE.lastIndex = at;
    const match = PIECE.exec(text);
    if (match === null) throw new QueryProblem("parse_error", unreadable(text, at), { at });
    const [, space, name, quoted, number, string, symbol] = match;
    if (space !== undefined) continue;
    if (name !== undefined) found.push({ kind: "name", text: name, quoted: false, at });
    else if (quoted !== undefined) found.push({ kind: "name", text: quoted, quoted: true, at });
    else if (number !== undefined) found.push({ kind: "number", text: number, at });
    else if (string !== undefined) found.push({ kind: "string", text: unquote(string, at), at });
    else found.push({ kind: "symbol", text: symbol === "<>" ? "!=" : (symbol ?? ""), at });
  }
  found.push({ kind: "end", text: "", at: text.length });
  return found;
}

/**
 * Most of a query is names, whole numbers, strings without escapes and single symbols, all of ASCII: these are told by their first character, which
 * takes a fraction of the pattern's time. Where something else begins it ends, and says where.
 */
function usualTokens(text: string, from: number, found: Token[]): number {
  for (let at = from; ; ) {
    const kind = at < text.length ? (KINDS[text.charCodeAt(at)] ?? OTHER) : OTHER;
    if (kind === SPACE) {
      at++;
      continue;
    }
    if (kind === SYMBOL) {
      found.push({ kind: "symbol", text: text[at] as string, at });
      at++;
      continue;
    }
    if (kind === QUOTE) {
      let end = at + 1;
      while (end < text.length && !ENDS_STRING.has(text.charCodeAt(end))) end++;
      if (text[end] !== '"') return at;
      found.push({ kind: "string", text: text.slice(at + 1, end), at });
      at = end + 1;
      continue;
    }
    if (kind === OTHER) return at;
    let end = at + 1;
    while (end < text.length && isWithin(kind, KINDS[text.charCodeAt(end)] ?? OTHER)) end++;
    const next = text.charCodeAt(end);
    // It may go on with what is not told here: other letters, a fraction or an exponent.
    if (next > 127 || (kind === DIGIT && (next === 46 || KINDS[next] === LETTER))) return at;
    const word = text.slice(at, end);
    found.push(kind === LETTER ? { kind: "name", text: word, quoted: false, at } : { kind: "number", text: word, at });
    at = end;
  }
}

const [OTHER, SPACE, SYMBOL, QUOTE, LETTER, DIGIT] = [0, 1, 2, 3, 4, 5];
const KINDS: readonly number[] = Array.from({ length: 128 }, (_, code) => {
  const character = String.fromCharCode(code);
  if (/\s/.test(character)) return SPACE;
  if (/[{}(),:*=]/.test(character)) return SYMBOL;
  if (character === '"') return QUOTE;
  return /[A-Za-z_]/.test(character) ? LETTER : /\d/.test(character) ? DIGIT : OTHER;
});
const isWithin = (word: number, kind: number): boolean => kind === DIGIT || (kind === LETTER && word === LETTER);
/** A quote, a backslash, and the ends of a line. */
const ENDS_STRING: ReadonlySet<number> = new Set([34, 92, 10, 13]);

function unreadable(text: string, at: At): string {
  if (text[at] === '"') return "this string has no end on its line";
  if (text[at] === "'") return `strings are in double quotes: "…"`;
  return `nothing begins with '${String.fromCodePoint(text.codePointAt(at) as number)}'`;
}

function unquote(quoted: string, at: At): string {
  if (!quoted.includes("\\")) return quoted.slice(1, -1);
  try {
    return JSON.parse(quoted) as string;
  } catch {
    throw new QueryProblem("parse_error", "a string has the escapes of JSON, and this has another", { at });
  }
}
