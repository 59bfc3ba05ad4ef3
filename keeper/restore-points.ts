import type { RestorePoints } from "../contract/keeper.ts";
import { formatLsn } from "../postgres/lsn.ts";
import type { Database } from "./database.ts";
import { usableBases } from "./restore-plan.ts";

/** To which moments a database can be restored. */
export function restorePoints(database: Database): RestorePoints {
  const holdings = database.holdings();
  const bases = holdings === null ? [] : usableBases(holdings);
  const [oldest] = bases;
  const newest = bases.at(-1);
  if (holdings === null || oldest === undefined || newest === undefined)
    return { earliest: null, latest: null, bases: [] };
  return {
    earliest: { lsn: oldest.end_lsn, at: oldest.at },
    latest: { lsn: formatLsn(holdings.end), at: Math.max(database.status().heard_at ?? 0, newest.at) },
    bases,
  };
}
