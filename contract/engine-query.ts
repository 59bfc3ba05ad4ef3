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
