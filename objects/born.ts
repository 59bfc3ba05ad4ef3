/**
 * Whether an object has ever been made. An object that is only asked about writes nothing, so that a look at a mistyped id leaves no storage
 * behind; `migrate` is what brings it into being, and `deleteAll` ends it.
 */
export const isBorn = (sql: SqlStorage): boolean =>
  sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migration'").toArray().length > 0;
