// What a cron expression means: clocks that change, days that do not exist, and how much was missed.
import { describe, expect, test } from "vitest";
import { faultOf, lookAt, nextTimes } from "../../objects/schedule/times.ts";
import { random } from "../random.ts";

const at = (text: string) => Date.parse(text);
const next = (cron: string, zone: string, after: string, count: number) =>
  nextTimes(cron, zone, at(after), count).map((ms) => new Date(ms).toISOString().slice(0, 16));

describe("times", () => {
  test.each([
    [
      "a fixed time in the hour that is left out fires right after it",
      "30 2 * * *",
      "Europe/Berlin",
      "2026-03-28T12:00Z",
      ["2026-03-29T01:00", "2026-03-30T00:30"],
    ],
    [
      "every half hour follows the clock over the gap",
      "*/30 * * * *",
      "Europe/Berlin",
      "2026-03-29T00:20Z",
      ["2026-03-29T00:30", "2026-03-29T01:00", "2026-03-29T01:30"],
    ],
    [
      "a fixed time in the hour that comes twice fires once",
      "30 2 * * *",
      "Europe/Berlin",
      "2026-10-24T12:00Z",
      ["2026-10-25T00:30", "2026-10-26T01:30"],
    ],
    [
      "every half hour fires in both of them",
      "*/30 * * * *",
      "Europe/Berlin",
      "2026-10-25T00:00Z",
      ["2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30"],
    ],
    [
      "a gap of half an hour",
      "10 2 * * *",
      "Australia/Lord_Howe",
      "2026-10-03T12:00Z",
      ["2026-10-03T15:30", "2026-10-04T15:10"],
    ],
    [
      "a midnight that does not exist",
      "0 0 * * *",
      "America/Havana",
      "2026-03-07T12:00Z",
      ["2026-03-08T05:00", "2026-03-09T04:00"],
    ],
    ["a day that a country has left out", "0 0 30 * *", "Pacific/Apia", "2011-12-01T00:00Z", ["2012-01-29T10:00"]],
    ["29 February", "0 0 29 2 *", "UTC", "2026-01-01T00:00Z", ["2028-02-29T00:00", "2032-02-29T00:00"]],
    ["the last day of the month", "0 0 L * *", "UTC", "2026-01-31T00:00Z", ["2026-02-28T00:00", "2026-03-31T00:00"]],
    ["@daily", "@daily", "Asia/Kolkata", "2026-01-01T00:00Z", ["2026-01-01T18:30", "2026-01-02T18:30"]],
    ["a time that is now is over", "0 12 * * *", "UTC", "2026-01-01T12:00Z", ["2026-01-02T12:00"]],
  ])("%s", (_what, cron, zone, after, expected) => {
    expect(next(cron, zone, after, expected.length)).toEqual(expected);
  });

  test.each([
    ["0 0 30 2 *", "UTC", "cron", "no such time will ever come"],
    ["61 * * * *", "UTC", "cron", "Invalid value for minute: 61"],
    ["* * * *", "UTC", "cron", "expected five or six fields"],
    ["", "UTC", "cron", "expected five or six fields"],
    ["0 0 0 * * * 2030", "UTC", "cron", "expected five or six fields"],
    ["2030-01-01T00:00:00", "UTC", "cron", "expected five or six fields"],
    ["? * * * *", "UTC", "cron", "expected five or six fields"],
    ["@reboot", "UTC", "cron", "@reboot is not supported"],
    ["@sometimes", "UTC", "cron", ""],
    ["@daily", "Europe/Berlni", "time_zone", 'got "Europe/Berlni"'],
    ["@daily", "+02:00", "time_zone", 'got "+02:00"'],
  ])("%j in %j is refused", (cron, zone, path, message) => {
    const fault = faultOf(cron, zone);
    expect(fault).toMatchObject({ path });
    expect(fault?.message).toContain(message);
  });
});

describe("what has come due", () => {
  const since = at("2026-06-01T00:00:00Z");
  test("nothing, before the time; also on a clock that was set back by a year", () => {
    for (const now of [since, since + 59_999, since - 365 * 86_400_000])
      expect(lookAt("* * * * *", "UTC", since, now)).toEqual({
        due: null,
        first: null,
        missed: 0,
        more: false,
        next: since + 60_000,
      });
  });
  test("the time itself, to the millisecond", () => {
    expect(lookAt("* * * * *", "UTC", since, since + 60_000)).toMatchObject({ due: since + 60_000, missed: 0 });
  });
  test("after a day of being off: the latest, and how many are before it", () => {
    expect(lookAt("0 * * * *", "UTC", since, since + 86_400_000 + 5)).toEqual({
      due: since + 86_400_000,
      first: since + 3_600_000,
      missed: 23,
      more: false,
      next: since + 25 * 3_600_000,
    });
  });
  test("after years of being off: the latest all the same, without counting them all", () => {
    const now = at("2031-08-09T10:11:12.345Z");
    const began = performance.now();
    expect(lookAt("* * * * * *", "UTC", since, now)).toMatchObject({
      due: at("2031-08-09T10:11:12Z"),
      missed: 100,
      more: true,
    });
    expect(lookAt("* * 3 * * *", "Europe/Berlin", since, now)).toMatchObject({
      due: at("2031-08-09T01:59:59Z"),
      more: true,
    });
    expect(performance.now() - began).toBeLessThan(5_000);
  });
  test("is the same as going through all of them", () => {
    const rnd = random(7);
    for (let i = 0; i < 100; i++) {
      const cron = rnd.pick(["*/7 * * * *", "15 2 * * *", "0 */5 * * 1", "*/20 * * * * *", "0 0 L * *"]);
      const zone = rnd.pick(["UTC", "Europe/Berlin", "America/New_York"]);
      const from = since + rnd.int(300 * 86_400_000);
      const now = from + rnd.int(rnd.pick([60_000, 3_600_000, 5_900_000]));
      let times: number[] = [];
      for (let count = 4; (times.at(-1) ?? 0) <= now; count *= 2) times = nextTimes(cron, zone, from, count);
      const all = times.filter((time) => time <= now);
      const look = lookAt(cron, zone, from, now);
      expect(look.due).toBe(all.at(-1) ?? null);
      expect(look.first).toBe(all[0] ?? null);
      expect(look.missed).toBe(Math.min(100, Math.max(0, all.length - 1)));
      expect(look.next).toBe(nextTimes(cron, zone, now, 1)[0]);
    }
  });
});
