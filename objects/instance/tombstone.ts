import { entomb } from "../tombstone.ts";

const TABLES = ["instance", "vitals", "build", "artifact", "key_secret", "api_key", "route", "route_leaving"];

/** Forgets an instance that was deleted, but for the answers to its requests. Call it inside `commit`. */
export const bury = (sql: SqlStorage, now: number): void => entomb(sql, TABLES, now);
