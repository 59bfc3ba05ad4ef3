import { expect, test } from "vitest";
import type { EngineKey } from "../../contract/engine.ts";
import type { QuerySchema } from "../../contract/query-schema.ts";
import { Keys, keyText } from "../../engine/serve/keys.ts";
import { QueryProblem } from "../../query/problem.ts";

const SECRET = "the secret of these keys";
const SCHEMA: QuerySchema = {
  tables: [{ name: "people", columns: [{ name: "age", type: { kind: "integer" } }], key: [], relations: [] }],
};
const key = (id: string, rows: Record<string, string>): EngineKey => ({
  ...{ id, rows, tables: null, expires_at: null, rate: null },
});

test("a key whose filter does not fit this build opens nothing, and the others are as good as before", () => {
  const keys = new Keys(SCHEMA, {
    secret: SECRET,
    keys: [
      key("good", { people: "age > 5" }),
      // Of a table that is called otherwise now: without its filter all rows would be open under that name.
      key("renamed", { users: "age > 5" }),
      key("column", { people: "years > 5" }),
      key("typed", { people: 'age > "5"' }),
      key("torn", { people: "age >" }),
    ],
  });
  const answer = (id: string): string => {
    try {
      return [...keys.check(`Bearer ${keyText(SECRET, id)}`).scope.rows.keys()].join();
    } catch (error) {
      return error instanceof QueryProblem ? error.code : "thrown";
    }
  };
  expect(["good", "renamed", "column", "typed", "torn", "nobody"].map(answer)).toEqual([
    "people",
    ...["key_unusable", "key_unusable", "key_unusable", "key_unusable", "unauthenticated"],
  ]);
});
