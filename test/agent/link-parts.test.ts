import { expect, test } from "vitest";
import { Backoff } from "../../agent/link/backoff.ts";
import { Nonces } from "../../agent/link/nonces.ts";
import { refusalHint } from "../../agent/link/peer.ts";

test("a nonce counts once, for as long as it could be said again", () => {
  const nonces = new Nonces(100);
  expect(nonces.add("a", 0)).toBe(true);
  expect(nonces.add("a", 50)).toBe(false);
  expect(nonces.add("b", 60)).toBe(true);
  expect(nonces.add("a", 101)).toBe(true);
  expect(nonces.add("b", 101)).toBe(false);
});

test("attempts are spread over a bound that doubles from 50 ms to 5 s", () => {
  const most = new Backoff(() => 1);
  expect(Array.from({ length: 9 }, () => most.next())).toEqual([50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
  const least = new Backoff(() => 0);
  expect(Array.from({ length: 9 }, () => least.next())).toEqual(Array(9).fill(50));
});

test("a refusal names the clocks when they differ", () => {
  const date = (ms: number) => new Date(Date.now() + ms).toUTCString();
  expect(refusalHint(401, date(0))).toContain("agree");
  expect(refusalHint(401, null)).toContain("HTTP 401");
  expect(refusalHint(403, date(-400_000))).toMatch(/clock is (399|40[01]) s ahead of the control plane's/);
  expect(refusalHint(403, date(400_000))).toMatch(/clock is (399|40[01]) s behind/);
});
