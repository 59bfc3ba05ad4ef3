import { isAnnounced } from "../announce.ts";
import { entomb } from "../tombstone.ts";

/** Forgets a deployment of which nothing is left, but for the fact that it was. Call it inside `commit`. */
export function bury(sql: SqlStorage, now: number): void {
  // Its letter is tried again, and announces the rest.
  if (!isAnnounced(sql)) throw new Error("webhooks have not been told of all of it");
  entomb(sql, ["deployment", "health_result"], now);
}

/** The letters that go out before it is forgotten; what a purge says itself is not among them. */
export const lastWords = (sql: SqlStorage): Set<string> =>
  new Set([
    "announce",
    ...sql
      .exec<{ key: string }>("SELECT key FROM outbox WHERE key NOT IN ('purge', 'index', 'release')")
      .toArray()
      .map(({ key }) => key),
  ]);
