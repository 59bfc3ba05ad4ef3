import { Cron } from "croner";
import type { ScheduleFault } from "../../contract/schedule-check.ts";

/**
 * When a cron expression fires. A job at one fixed time of day fires once a day whatever the clocks do: in the hour that is left out in spring,
 * right after it; in the hour that comes twice in autumn, the first time. Others (every 15 minutes) simply follow the clock.
 */

/** Missed times are counted up to this many. */
const COUNTED = 100;

/** What has come due after `done_until`, and what is next. */
export type Look = {
  /** The latest time that has come; null when none has. */
  due: number | null;
  /** The first, and how many there are before `due`; `more` when nobody counted any further. */
  first: number | null;
  missed: number;
  more: boolean;
  next: number;
};

const cronOf = (expression: string, timeZone: string): Cron =>
  new Cron(expression, { timezone: timeZone, mode: "5-or-6-parts", paused: true });

/** What is wrong with an expression in a time zone, or null. */
export function faultOf(expression: string, timeZone: string): ScheduleFault | null {
  if (!isTimeZone(timeZone))
    return {
      path: "time_zone",
      message: `expected a name such as "UTC" or "Europe/Berlin", got ${JSON.stringify(timeZone.slice(0, 100))}`,
    };
  // `?` stands for the moment at which the expression is read, and a date is no cron expression: both would not mean the same twice.
  const isCron = /^(@\w+|\S+(\s+\S+){4,5})$/.test(expression.trim()) && !expression.includes("?");
  try {
    if (!isCron) throw new Error("expected five or six fields, or @hourly, @daily, @weekly, @monthly or @yearly");
    if (cronOf(expression, timeZone).nextRun(new Date(0)) === null) throw new Error("no such time will ever come");
    return null;
  } catch (error) {
    return { path: "cron", message: (error as Error).message.replace(/^Cron\w+: /, "").slice(0, 200) };
  }
}

/** IANA names only: what Intl also takes, an offset, knows no summer time. */
function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** The next times after a moment, at most so many. Throws where `faultOf` finds a fault. */
export function nextTimes(expression: string, timeZone: string, after: number, count: number): number[] {
  return cronOf(expression, timeZone)
    .nextRuns(count, new Date(after))
    .map((date) => date.getTime());
}

/** What has come between two moments, and what comes after the second. After a clock that was set back nothing has. */
export function lookAt(expression: string, timeZone: string, doneUntil: number, now: number): Look {
  const cron = cronOf(expression, timeZone);
  const after = (moment: number): number => cron.nextRun(new Date(moment))?.getTime() ?? Number.MAX_SAFE_INTEGER;
  const first = after(doneUntil);
  if (first > now) return { due: null, first: null, missed: 0, more: false, next: first };
  let due = first;
  let missed = 0;
  for (let next = after(due); next <= now; next = after(due)) {
    due = next;
    missed++;
    if (missed === COUNTED) return { first, missed, more: true, ...latest(after, due, now) };
  }
  return { due, first, missed, more: false, next: after(due) };
}

/** The latest time up to now by halving: there may be millions between. `known` is one of them. */
function latest(after: (moment: number) => number, known: number, now: number): { due: number; next: number } {
  let [due, bound] = [known, now];
  for (;;) {
    const next = after(due);
    if (next > now) return { due, next };
    due = next;
    const middle = Math.floor((due + bound) / 2);
    const beyond = after(middle);
    if (beyond <= now) due = beyond;
    else bound = middle;
  }
}
