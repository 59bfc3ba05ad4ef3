import { QUERY_LIMITS } from "../../contract/engine-query.ts";
import { QueryProblem } from "../../query/problem.ts";
import type { LiteralValue } from "../../query/syntax.ts";
import type { Cell } from "../store/cell.ts";

/** Rows that are looked at between two looks at the clock. */
const FUEL = 4096;

/** What one query has used up so far, and what it leaves behind. Generated code calls it `X`. */
export class Spent {
  fuel: number = FUEL;
  rows = 0;
  more = false;
  last = -1;
  /** Something of what was looked at ahead, so that the look is not left out for its uselessness. */
  seen = 0;
  readonly #deadline: number;
  readonly #readCursor: (literal: LiteralValue) => (Cell | undefined)[];

  constructor(milliseconds: number, readCursor: (literal: LiteralValue) => Cell[]) {
    this.#deadline = performance.now() + milliseconds;
    this.#readCursor = readCursor;
  }

  refuel(): void {
    this.fuel = FUEL;
    if (performance.now() > this.#deadline)
      throw new QueryProblem(
        "timed_out",
        `no query runs longer than ${QUERY_LIMITS.milliseconds} ms: filter by a key or a relation`,
      );
  }

  tooManyRows(): never {
    throw new QueryProblem(
      "answer_too_long",
      `an answer has at most ${QUERY_LIMITS.rows} rows, all levels together: ask for fewer with limit:`,
    );
  }

  tooLong(relation: string): never {
    throw new QueryProblem(
      "nested_list_too_long",
      `some row has more than ${QUERY_LIMITS.nestedRows} in '${relation}': say how many you want, ${relation}(limit: ${QUERY_LIMITS.nestedRows})`,
    );
  }

  readCursor(literal: LiteralValue): (Cell | undefined)[] {
    return this.#readCursor(literal);
  }
}
