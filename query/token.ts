import { type At, QueryProblem } from "./problem.ts";

export type Token =
  | { kind: "name"; text: string /** Written in backquotes: never a keyword. */; quoted: boolean; at: At }
  | { kind: "string"; text: string; at: At }
  | { kind: "number"; text: string; at: At }
  | { kind: "symbol"; text: string; at: At }
  | { kind: "end"; text: ""; at: At };

const PIECE =
  /(\s+)|([\p{L}_][\p{L}\p{N}_]*)|`([^`\n]+)`|(-?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)|("(?:[^"\\\n\r]|\\.)*")|(\.\.\.|<=|>=|!=|<>|[{}(),:.*=<>])/uy;

const SQL_STRING = /'((?:[^'\\]|''|\\.)*)'/uy;

/** Cuts a query into its words. @param sql strings may also be in single quotes, as SQL has them */
export function tokens(text: string, sql = false): Token[] {
  const found: Token[] = [];
  for (let at = 0; at < text.length; at = PIECE.lastIndex) {
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
