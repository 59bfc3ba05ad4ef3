// Wrong passwords: who is slowed down, how much, and who never is.
import { expect, test } from "vitest";
import { Throttle } from "../../gateway/throttle.ts";

function at() {
  const clock = { now: 1_000_000 };
  return { clock, throttle: new Throttle(() => clock.now) };
}
const times = (n: number, one: (i: number) => number) => Array.from({ length: n }, (_, i) => one(i));

test("one address: a burst is answered at once, then in line, at most 5 s late; it recovers by one a second", () => {
  const { clock, throttle } = at();
  expect(times(20, () => throttle.failed("a", "r")).every((wait) => wait === 0)).toBe(true);
  expect(times(7, () => throttle.failed("a", "r"))).toEqual([1000, 2000, 3000, 4000, 5000, 5000, 5000]);
  clock.now += 10_000;
  expect(times(6, () => throttle.failed("a", "r"))).toEqual([0, 0, 0, 0, 0, 1000]);
  clock.now += 3_600_000;
  expect(throttle.failed("a", "r")).toBe(0);
});

test("other addresses are not slowed down by one that guesses, nor by one that guesses for many roles", () => {
  const { throttle } = at();
  times(1_000, (i) => throttle.failed("a", `r${i}`));
  expect(throttle.failed("a", "another")).toBe(5000);
  expect(throttle.failed("b", "r1")).toBe(0);
});

test("one role, guessed from many addresses: slow for all of them after a hundred, four a second", () => {
  const { clock, throttle } = at();
  const waits = times(104, (i) => throttle.failed(`10.0.${i >> 8}.${i & 255}`, "r"));
  expect(waits.slice(98)).toEqual([0, 0, 250, 500, 750, 1000]);
  expect(throttle.failed("elsewhere", "other")).toBe(0);
  clock.now += 60_000;
  expect(throttle.failed("elsewhere", "r")).toBe(0);
});

test("what is remembered has a limit, and names made up by a stranger do not forgive an address", () => {
  const { throttle } = at();
  times(25, () => throttle.failed("a", "r"));
  times(20_000, (i) => throttle.failed("b", `made-up-${i}`));
  expect(throttle.failed("a", "r")).toBe(5000);
});
