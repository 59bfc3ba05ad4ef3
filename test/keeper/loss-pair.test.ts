import { afterAll, beforeAll, test } from "vitest";
import { LossRounds, ROUNDS } from "./loss-rounds.ts";

const COUNT = Math.ceil(ROUNDS * 0.3);
let rounds: LossRounds;

beforeAll(async () => {
  rounds = await LossRounds.make(2, 1);
});
afterAll(() => rounds?.close());

test(
  `${COUNT} rounds of a fault under concurrent commits, two keepers of whom one acknowledges: every acknowledged commit is there`,
  {
    timeout: 60_000 + COUNT * 20_000,
  },
  () => rounds.run(COUNT),
);
