import { QUERY_LIMITS } from "../contract/engine-query.ts";
import { type At, QueryProblem } from "./problem.ts";
import type { Arguments, Expression, Item, Literal, LiteralValue, Name, Operator, Query, Selection } from "./syntax.ts";
import { type Token, tokens } from "./token.ts";

/** `places`: which of the tokens the literals are, in order. */
export type Parsed = { query: Query; places: number[] };

/** What a query says. */
export function parseQuery(text: string): Parsed {
  return parseTokens(tokens(text));
}

export function parseTokens(all: readonly Token[]): Parsed {
  const parser = new Parser(all);
  const query = parser.query();
  return { query, places: parser.places };
}

export function literalOf({ kind, text, at }: Token): LiteralValue {
  if (kind === "string" || kind === "number") return { kind, text, at };
  return { kind: "boolean", text: text.toLowerCase(), at };
}

/** A filter alone, as `reflexdb.yaml` (there as SQL) and the rows of a key have it. */
export function parseFilter(text: string, sql = false): Expression {
  const parser = new Parser(tokens(text, sql));
  const expression = parser.expression();
  parser.end();
  return expression;
}

/** How a query looks without its literals: what plans are kept by. */
export function planKey(all: readonly Token[]): string {
  let key = "";
  for (const token of all) {
    if (token.kind === "string") key += '"';
    else if (token.kind === "number") key += "0";
    else key += token.kind === "name" && token.quoted ? `\`${token.text}\`` : token.text;
    key += " ";
  }
  return key;
}

const OPERATORS: readonly string[] = ["=", "!=", "<", "<=", ">", ">="];
const CLAUSES = ["order", "limit", "offset", "after"];

class Parser {
  readonly all: readonly Token[];
  readonly places: number[] = [];
  #at = 0;
  #depth = 0;

  constructor(all: readonly Token[]) {
    this.all = all;
  }

  query(): Query {
    const selections: Selection[] = [];
    const batch = this.#take("{");
    do selections.push(this.#selection(this.#name("a table")));
    while (batch && !this.#take("}"));
    this.end();
    return { batch, selections };
  }

  end(): void {
    if (this.#next.kind !== "end") throw this.#unexpected("the end");
  }

  expression(): Expression {
    return this.#any();
  }

  /** @param first the name, or the alias before it, already read */
  #selection(first: Name): Selection {
    const [alias, name] = this.#take(":") ? [first, this.#name("a table or relation")] : [null, first];
    const args = this.#arguments();
    return { name, alias, args, items: this.#items(), at: name.at };
  }

  #items(): Item[] {
    this.#expect("{");
    if (++this.#depth > 4 * QUERY_LIMITS.depth)
      throw new QueryProblem("depth_exceeded", `no deeper than ${QUERY_LIMITS.depth} levels`, { at: this.#next.at });
    const items: Item[] = [];
    for (;;) {
      const { at } = this.#next;
      if (this.#take("}")) break;
      if (this.#take("*")) items.push({ kind: "all", at });
      else if (this.#take("...")) items.push({ kind: "related", at });
      else items.push(this.#item(this.#name("a field, a relation, *, ... or }")));
      // Commas between fields are allowed, and mean nothing.
      this.#take(",");
    }
    if (items.length === 0)
      throw new QueryProblem("parse_error", "a selection names at least one field", { at: this.#before.at });
    this.#depth--;
    return items;
  }

  #item(first: Name): Item {
    const [alias, name] = this.#take(":") ? [first, this.#name("a field or relation")] : [null, first];
    if (!this.#is("(") && !this.#is("{")) return { kind: "field", name, alias };
    const args = this.#arguments();
    return { kind: "nested", name, alias, args, items: this.#items(), at: name.at };
  }

  #arguments(): Arguments {
    const args: Arguments = { where: null, order: [], limit: null, offset: null, after: null };
    if (!this.#take("(") || this.#take(")")) return args;
    if (!this.#isClause()) args.where = this.#any();
    else this.#clause(args);
    while (this.#take(",")) this.#clause(args);
    if (!this.#take(")")) throw this.#unexpected(args.where === null ? ", or )" : "AND, OR, a comma or )");
    return args;
  }

  #isClause(): boolean {
    const [word, colon] = [this.#next, this.all[this.#at + 1]];
    return word.kind === "name" && colon?.kind === "symbol" && colon.text === ":";
  }

  #clause(args: Arguments): void {
    const word = this.#name("order:, limit:, offset: or after:");
    if (!CLAUSES.includes(word.text))
      throw new QueryProblem("parse_error", `expected order:, limit:, offset: or after:, found '${word.text}'`, {
        at: word.at,
      });
    this.#expect(":");
    const clause = word.text as "order" | "limit" | "offset" | "after";
    const again = clause === "order" ? args.order.length > 0 : args[clause] !== null;
    if (again) throw new QueryProblem("parse_error", `${clause}: is there twice`, { at: word.at });
    if (clause !== "order") {
      args[clause] = this.#literal();
      const wanted = clause === "after" ? "string" : "number";
      const { kind, at } = args[clause] as Literal;
      if (kind !== wanted) throw new QueryProblem("parse_error", `${clause}: takes a ${wanted}`, { at });
      return;
    }
    do {
      const path = this.#path();
      const descending = this.#keyword("DESC");
      if (!descending) this.#keyword("ASC");
      args.order.push({ path, descending });
    } while (this.#next.kind === "name");
  }

  #any(): Expression {
    const first = this.#every();
    const parts = [first];
    while (this.#keyword("OR")) parts.push(this.#every());
    return parts.length === 1 ? first : { kind: "or", parts, at: first.at };
  }

  #every(): Expression {
    const first = this.#unary();
    const parts = [first];
    while (this.#keyword("AND")) parts.push(this.#unary());
    return parts.length === 1 ? first : { kind: "and", parts, at: first.at };
  }

  #unary(): Expression {
    const { at } = this.#next;
    // NOT may be repeated as often as a body is long.
    if (++this.#depth > 100) throw new QueryProblem("depth_exceeded", "too many parentheses inside each other", { at });
    let expression: Expression;
    if (this.#keyword("NOT")) expression = { kind: "not", part: this.#unary(), at };
    else if (this.#take("(")) {
      expression = this.#any();
      this.#expect(")");
    } else expression = this.#condition();
    this.#depth--;
    return expression;
  }

  #condition(): Expression {
    const path = this.#path();
    const at = (path[0] as Name).at;
    if (this.#take("(")) {
      const part = this.#any();
      this.#expect(")");
      return { kind: "some", path, part, at };
    }
    if (this.#keyword("IS")) {
      const not = this.#keyword("NOT");
      if (!this.#keyword("NULL")) throw this.#unexpected("NULL");
      return { kind: "null", path, not, at };
    }
    const not = this.#keyword("NOT");
    if (this.#keyword("IN")) return { kind: "in", path, values: this.#values(), not, at };
    if (this.#keyword("BETWEEN")) {
      const low = this.#literal();
      if (!this.#keyword("AND")) throw this.#unexpected("AND");
      return { kind: "between", path, low, high: this.#literal(), not, at };
    }
    const insensitive = this.#keyword("ILIKE");
    if (insensitive || this.#keyword("LIKE")) {
      const pattern = this.#literal();
      if (pattern.kind !== "string") throw new QueryProblem("parse_error", "a pattern is a string", { at: pattern.at });
      return { kind: "like", path, pattern, insensitive, not, at };
    }
    const operator = this.#next;
    if (not || operator.kind !== "symbol" || !OPERATORS.includes(operator.text))
      throw this.#unexpected(
        not ? "IN, BETWEEN, LIKE or ILIKE" : "=, !=, <, <=, >, >=, IN, BETWEEN, LIKE, ILIKE or IS",
      );
    this.#at++;
    return { kind: "compare", path, operator: operator.text as Operator, value: this.#literal(), at };
  }

  #values(): Literal[] {
    this.#expect("(");
    const values: Literal[] = [];
    do values.push(this.#literal());
    while (this.#take(","));
    this.#expect(")");
    if (values.length > QUERY_LIMITS.inValues)
      throw new QueryProblem("limit_exceeded", `IN takes at most ${QUERY_LIMITS.inValues} values`, {
        at: this.#before.at,
      });
    return values;
  }

  #literal(): Literal {
    const token = this.#next;
    const word = token.kind === "name" && !token.quoted ? token.text.toLowerCase() : "";
    if (word === "null")
      throw new QueryProblem("parse_error", "nothing is equal to NULL: write IS NULL or IS NOT NULL", { at: token.at });
    const isLiteral = token.kind === "string" || token.kind === "number" || word === "true" || word === "false";
    if (!isLiteral) throw this.#unexpected('a value: "text", a number, true or false');
    this.places.push(this.#at++);
    return { ...literalOf(token), place: this.places.length - 1 };
  }

  #path(): Name[] {
    const path = [this.#name("a field")];
    while (this.#take(".")) path.push(this.#name("a field"));
    return path;
  }

  #name(wanted: string): Name {
    const { kind, text, at } = this.#next;
    if (kind !== "name") throw this.#unexpected(wanted);
    this.#at++;
    return { text, at };
  }

  #keyword(word: string): boolean {
    const token = this.#next;
    const is = token.kind === "name" && !token.quoted && token.text.toUpperCase() === word;
    if (is) this.#at++;
    return is;
  }

  #is(symbol: string): boolean {
    return this.#next.kind === "symbol" && this.#next.text === symbol;
  }

  #take(symbol: string): boolean {
    const is = this.#is(symbol);
    if (is) this.#at++;
    return is;
  }

  #expect(symbol: string): void {
    if (!this.#take(symbol)) throw this.#unexpected(symbol);
  }

  get #next(): Token {
    return this.all[this.#at] as Token;
  }

  get #before(): { at: At } {
    return this.all[Math.max(0, this.#at - 1)] as Token;
  }

  #unexpected(wanted: string): QueryProblem {
    const { kind, text, at } = this.#next;
    const found = kind === "end" ? "the query ends" : `found ${kind === "string" ? JSON.stringify(text) : `'${text}'`}`;
    return new QueryProblem("parse_error", `expected ${wanted}, ${found}`, { at });
  }
}
