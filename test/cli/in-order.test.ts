import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { allInOrder, inOrder } from "../../cli/in-order.ts";

test("several at a time and no more, answered in their order, with what failed in its place", async () => {
  let [under, most] = [0, 0];
  const work = async (n: number) => {
    most = Math.max(most, ++under);
    await sleep(n % 2 === 0 ? 8 : 1);
    under--;
    if (n === 3) throw new Error("three");
    return n;
  };
  const outcomes = [];
  for await (const outcome of inOrder([0, 1, 2, 3, 4, 5, 6], work, 3))
    outcomes.push(outcome.status === "fulfilled" ? outcome.value : (outcome.reason as Error).message);
  expect(outcomes).toEqual([0, 1, 2, "three", 4, 5, 6]);
  expect(most).toBe(3);
  await expect(allInOrder([1, 3, 5], work)).rejects.toThrow("three");
  expect(await allInOrder([], work)).toEqual([]);
});
