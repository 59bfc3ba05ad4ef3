import { expect, test } from "vitest";
import { isWell } from "../../objects/alarm-pointer.ts";

const now = 1_000_000;

test.each([
  ["none is set and none is wanted", null, null, true],
  ["none is set and one is wanted", null, now + 10, false],
  ["it is where it is wanted", now + 10, now + 10, true],
  ["it would ring too late", now + 20, now + 10, false],
  ["it rings soon, a little early", now + 10, now + 20, true],
  ["it rings soon, and in vain", now + 10, null, true],
  ["it would ring in vain in an hour", now + 3_600_000, null, false],
  ["it would ring far too early in an hour", now + 3_600_000, now + 7_200_000, false],
  ["it has rung, and none is wanted", now - 1, null, true],
  ["it has rung, and one is wanted", now - 1, now + 10, false],
])("an alarm does when %s", (_when, pointer, wanted, well) => {
  expect(isWell(pointer, wanted, now)).toBe(well);
});
