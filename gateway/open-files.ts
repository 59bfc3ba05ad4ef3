import { readFileSync } from "node:fs";

/** What is open beside clients and backends: the program itself, leases, lookups, cancel requests, and those who are just told that there is no room. */
const OWN = 64;

/** How many connections, to clients and to PostgreSQL, the file descriptors of this process are enough for; infinite where that cannot be known. */
export function connectionsByOpenFiles(): number {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return soft === undefined ? Number.POSITIVE_INFINITY : Math.max(2, Number(soft) - OWN);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
