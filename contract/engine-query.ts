/** The language of `POST /query` is described in docs/design/engine.md. Here is what its callers see besides rows. */

/** What one query may cost. Each is answered with an error that names it, never by leaving something out. */
export const QUERY_LIMITS = {
  bodyBytes: 64 * 1024,
  /** Levels of relations, in a selection and in a filter. */
  depth: 8,
  /** Rows of a table asked at the root, when the query says nothing and at most. */
  rootRows: 100,
  rootRowsMost: 1000,
  /** Rows in one list inside a row. */
  nestedRows: 100,
  /** Rows in one answer, all levels together. */
  rows: 100_000,
  /** An answer may be longer by what was written since it was last looked at: its last row. */
  answerBytes: 64 * 1024 * 1024,
  conditions: 200,
  inValues: 1000,
  milliseconds: 5000,
} as const;

/** Every error of an engine: its stable code and HTTP status. */
export const QUERY_PROBLEMS = {
  parse_error: 400,
  invalid_header: 400,
  unauthenticated: 401,
  table_not_permitted: 403,
  key_unusable: 403,
  not_found: 404,
  method_not_allowed: 405,
  body_too_large: 413,
  unknown_table: 422,
  unknown_field: 422,
  type_mismatch: 422,
  duplicate_field: 422,
  invalid_cursor: 422,
  depth_exceeded: 422,
  limit_exceeded: 422,
  nested_list_too_long: 422,
  answer_too_long: 422,
  too_many_conditions: 422,
  rate_limited: 429,
  internal: 500,
  loading: 503,
  paused: 503,
  no_engine: 503,
  stale: 503,
  position_not_reached: 503,
  timed_out: 504,
} as const;
export type QueryProblemCode = keyof typeof QUERY_PROBLEMS;

/** What its caller can do about each, where the control plane has no such code of its own. */
export const QUERY_HELP = {
  parse_error: "The query cannot be read. `line` and `column` say where, `detail` what was expected there.",
  invalid_header: "`max-staleness` is milliseconds, `min-position` a position as `X-Source-Position` had it.",
  table_not_permitted: "The key is not for this table. Make one that is (`lamplighter instance keys create`).",
  key_unusable:
    "The key's rows are limited by a filter that this build's schema has no place for. `lamplighter instance keys list` says what is wrong: revoke it, and make another.",
  unknown_table:
    "`nearest` has names that are near to it, `GET /schema` all. One that is new at the source comes with a rebuild.",
  unknown_field:
    "`nearest` has names that are near to it, `GET /schema` all. One that is new at the source comes with a rebuild.",
  type_mismatch: "The value is not of the field's type: `detail` names both.",
  duplicate_field: "Give one of the two another name: `alias: name`.",
  invalid_cursor: "Send `after` exactly as `X-Next-Cursor` had it, with the same order; or begin without it.",
  depth_exceeded: "Ask for fewer levels at once: 8 at most, in what is selected and in conditions.",
  limit_exceeded: "A list has 1,000 rows at most; go on with `after`. Of several lists at once, ask for fewer.",
  nested_list_too_long: "A list inside a row has more than 100: say how many are wanted, with `limit`.",
  answer_too_long: "Ask for fewer rows or fields at once, and go on with `after`.",
  too_many_conditions: "200 conditions at most, 1,000 values in one `IN`: ask in parts.",
  rate_limited: "The key has a rate: wait for the time in `Retry-After`.",
  loading: "The engine reads its rows: wait for the time in `Retry-After`. `progress` says how far it is.",
  paused:
    "The instance is paused: by its schedule until then (`Retry-After`), otherwise until it is resumed (`lamplighter instance resume`).",
  no_engine: "No engine serves: `lamplighter instance inspect` says why, and what can be done.",
  stale: "What is here is older than `max-staleness` allows, and did not become newer within 2 s.",
  position_not_reached: "What is here is from before `min-position`, and did not come to it within 2 s.",
  timed_out: "It took longer than 5 s: ask for less, or by fields that have an index.",
} as const satisfies Partial<Record<QueryProblemCode, string>>;

export const FRESHNESS_HEADERS = {
  age: "x-snapshot-age-ms",
  snapshot: "x-snapshot-id",
  position: "x-source-position",
  replication: "x-replication",
  /** Of a query with one table at its root: whether there are rows after the last one, and the cursor to go on from. */
  more: "x-has-more",
  cursor: "x-next-cursor",
  /** Requests: an answer not older than so many ms, and not from before a position of the source. */
  maxStaleness: "max-staleness",
  minPosition: "min-position",
} as const;
