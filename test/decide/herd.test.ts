import { expect, test } from "vitest";
import { Herd } from "../../objects/herd.ts";

const NOW = 1_000_000_000;
const LATE = NOW - 60_000;

test("an alarm in time never waits, however many ring", () => {
  const herd = new Herd();
  for (let i = 0; i < 5_000; i++) expect(herd.delay(NOW - 5_000, NOW, 0.5)).toBe(0);
});

test("of a herd the first go on at once, the others one after the other, and none waits longer than ten seconds", () => {
  const herd = new Herd();
  const delays = Array.from({ length: 1_000 }, () => herd.delay(LATE, NOW, 0.5));
  expect(delays.slice(0, 25)).toEqual(Array(25).fill(0));
  expect(delays[25]).toBeGreaterThan(0);
  const perTenth = Object.values(Object.groupBy(delays.slice(25), (ms) => Math.floor(ms / 100)));
  const busiest = Math.max(...perTenth.map((all) => all?.length ?? 0));
  expect(busiest).toBeLessThanOrEqual(13);
  expect(Math.max(...delays)).toBeLessThan(8_500);
});

test("a line that is too long is spread by chance", () => {
  const herd = new Herd();
  let seed = 1;
  const chance = () => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed / 2_147_483_647;
  };
  const delays = Array.from({ length: 20_000 }, () => herd.delay(LATE, NOW, chance()));
  expect(Math.max(...delays)).toBeLessThanOrEqual(9_000);
  const perSecond = Object.values(Object.groupBy(delays.slice(2_000), (d) => Math.floor((d - 1) / 1_000)));
  expect(perSecond).toHaveLength(9);
  for (const all of perSecond) expect(all?.length).toBeLessThan(2_400);
});

test("a late one by itself goes on at once, and so does one after the herd is through", () => {
  const herd = new Herd();
  expect(herd.delay(LATE, NOW, 0.5)).toBe(0);
  for (let i = 0; i < 1_000; i++) herd.delay(LATE, NOW, 0.5);
  expect(herd.delay(LATE, NOW + 10_000, 0.5)).toBe(0);
});

test("a clock that is set back holds nobody off", () => {
  const herd = new Herd();
  for (let i = 0; i < 1_000; i++) herd.delay(LATE, NOW, 0.5);
  expect(herd.delay(0, NOW - 3_600_000, 0.5)).toBe(0);
});
