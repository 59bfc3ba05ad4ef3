import { createHash } from "node:crypto";
import { QUERY_LIMITS } from "../../contract/engine-query.ts";
import { type Binder, checkQuery, type Scope } from "../../query/check.ts";
import { LikePattern } from "../../query/like.ts";
import { literalOf, parseTokens, planKey } from "../../query/parser.ts";
import type { List } from "../../query/plan.ts";
import type { LiteralValue } from "../../query/syntax.ts";
import { type Token, tokens } from "../../query/token.ts";
import type { Shape } from "../shape/shape.ts";
import type { Cell } from "../store/cell.ts";
import * as runtime from "../store/runtime.ts";
import type { Store, Table } from "../store/table.ts";
import * as answerBytes from "./answer-bytes.ts";
import { ShapeCode } from "./condition-code.ts";
import { readCursor, writeCursor } from "./cursor.ts";
import { cursorColumns } from "./find-code.ts";
import { FoundRows } from "./found-rows.ts";
import { queryCode } from "./query-code.ts";
import { Spent } from "./spent.ts";

/** `json` is UTF-8. */
export type Answer = { json: Buffer; more: boolean; cursor: string | null };

type Compiled = {
  run: (
    store: Store,
    parameters: readonly unknown[],
    spent: Spent,
    bytes: answerBytes.AnswerBytes,
    found: FoundRows,
  ) => void;
  binders: Binder[];
  /** Which tokens the literals are. */
  places: number[];
  /** The list that cursors are of; null when there are several. */
  root: List | null;
  cursorOf: string;
  cursorColumns: number[];
  readCursor: (literal: LiteralValue) => Cell[];
};

export const PLANS_KEPT = 1000;

/** Answers queries. Each is compiled once for all that differ in their literals only. */
export class Queries {
  readonly #shape: Shape;
  readonly #code: ShapeCode;
  /** The one that was used last is last. */
  readonly #plans = new Map<string, Compiled>();
  readonly #bytes = new answerBytes.AnswerBytes();
  readonly #found = new FoundRows();
  compiled = 0;

  constructor(shape: Shape) {
    this.#shape = shape;
    this.#code = new ShapeCode(shape);
  }

  /**
   * From beginning to end on the store as it is now: nothing else runs meanwhile.
   * @param scopeKey the same for keys that may see the same
   */
  run(store: Store, text: string, scope: Scope, scopeKey: string): Answer {
    const all = tokens(text);
    const compiled = this.#planOf(`${scopeKey} ${planKey(all)}`, all, scope);
    const { root } = compiled;
    const literals = compiled.places.map((place) => literalOf(all[place] as Token));
    const parameters = compiled.binders.map((bind) => bind(literals));
    const spent = new Spent(QUERY_LIMITS.milliseconds, compiled.readCursor);
    compiled.run(store, parameters, spent, this.#bytes.begin(), this.#found.begin());
    const json = this.#bytes.take();
    if (root === null || !spent.more || spent.last < 0 || this.#shape.tables[root.table]?.key.length === 0)
      return { json, more: root !== null && spent.more, cursor: null };
    const table = store[`t${root.table}`] as Table & Record<string, (row: number) => Cell>;
    const cells = compiled.cursorColumns.map((place) => (table[`cell${place}`] as (row: number) => Cell)(spent.last));
    return { json, more: true, cursor: writeCursor(compiled.cursorOf, cells) };
  }

  #planOf(key: string, all: readonly Token[], scope: Scope): Compiled {
    const kept = this.#plans.get(key);
    if (kept !== undefined) this.#plans.delete(key);
    const compiled = kept ?? this.#compile(all, scope);
    if (this.#plans.size >= PLANS_KEPT) this.#plans.delete(this.#plans.keys().next().value as string);
    this.#plans.set(key, compiled);
    return compiled;
  }

  /** The bytes of an answer have been sent: they may be written over. */
  sent(json: Buffer): void {
    this.#bytes.sent(json);
  }

  #compile(all: readonly Token[], scope: Scope): Compiled {
    const { query, places } = parseTokens(all);
    const { plan, binders } = checkQuery(this.#shape, query, scope);
    const code = queryCode(this.#code, plan);
    const named = { ...runtime, ...answerBytes, LikePattern };
    const run = new Function(...Object.keys(named), code)(...Object.values(named)) as Compiled["run"];
    this.compiled++;
    const root = plan.batch ? null : (plan.lists[0]?.list ?? null);
    const of = JSON.stringify([this.#shape.tables[root?.table ?? 0]?.name, root?.order]);
    const cursorOf = createHash("sha256").update(of).digest("base64url").slice(0, 12);
    const columns = root === null ? [] : cursorColumns(this.#code, root);
    const codes = columns.map((place) => this.#code.column(root?.table ?? 0, place));
    return {
      ...{ run, binders, places, root, cursorOf, cursorColumns: columns },
      readCursor: (literal) => readCursor(cursorOf, codes, literal),
    };
  }
}
