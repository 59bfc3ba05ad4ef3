/** What can be wrong with a source, by category; `retry`: it may go away by itself. */
export const SOURCE_ERRORS = {
  dns_failed: { category: "network", retry: true },
  connect_timeout: { category: "network", retry: true },
  connect_refused: { category: "network", retry: true },
  tls_failed: { category: "network", retry: true },
  auth_failed: { category: "auth", retry: false },
  host_not_allowed: { category: "auth", retry: false },
  account_locked: { category: "auth", retry: false },
  schema_missing: { category: "scope", retry: false },
  schema_denied: { category: "scope", retry: false },
  select_denied: { category: "scope", retry: false },
  binlog_off: { category: "cdc", retry: false },
  binlog_format: { category: "cdc", retry: false },
  row_image: { category: "cdc", retry: false },
  repl_grant_missing: { category: "cdc", retry: false },
  server_id_conflict: { category: "cdc", retry: true },
  wal_level: { category: "cdc", retry: false },
  publication_missing: { category: "cdc", retry: false },
  slot_limit: { category: "cdc", retry: false },
  too_many_connections: { category: "capacity", retry: true },
  introspection_failed: { category: "build", retry: false },
  config_invalid: { category: "build", retry: false },
  unsupported_type: { category: "build", retry: false },
  compile_failed: { category: "build", retry: false },
  oom: { category: "deploy", retry: false },
  initial_load_failed: { category: "deploy", retry: true },
  verification_failed: { category: "deploy", retry: false },
  stream_disconnected: { category: "runtime", retry: true },
  log_purged: { category: "runtime", retry: true },
  schema_drift: { category: "runtime", retry: false },
  apply_failed: { category: "runtime", retry: true },
} as const;
export type SourceErrorCode = keyof typeof SOURCE_ERRORS;

/** Why an engine ended: whether the same would come of it however often it was started again. Of `oom` that says nothing: memory grows and shrinks. */
export const isFinal = (code: string): boolean =>
  code === "image_missing" ||
  (code !== "oom" && Object.hasOwn(SOURCE_ERRORS, code) && !SOURCE_ERRORS[code as SourceErrorCode].retry);
