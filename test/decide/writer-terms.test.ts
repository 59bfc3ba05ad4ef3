// Any order of starts, crashes, wiped and spoiled disks, partitions and lost keepers: a writer that clients are let in to has every acknowledged commit.
import { describe, expect, test } from "vitest";
import { random } from "../random.ts";
import { WriterWorld } from "./writer-world.ts";

const RUNS = Number(process.env.LAMPLIGHTER_MODEL_RUNS ?? 1_000);
const STEPS = 40;

describe.each([
  { keepers: 1, quorum: 1 },
  { keepers: 2, quorum: 2 },
  { keepers: 3, quorum: 2 },
  { keepers: 3, quorum: 1 },
])("$keepers keepers, of whom $quorum acknowledge", ({ keepers, quorum }) => {
  test("nothing acknowledged is missing, whatever is lost or spoiled but a keeper's disk", () => {
    for (let seed = 0; seed < RUNS; seed++) {
      const { world, refused } = run(seed, keepers, quorum, false);
      expect(refused, `seed ${seed}\n${world.told.join("\n")}`).not.toContain("not_restorable");
    }
  });

  test("where a keeper loses its disk, a start is refused rather than one that lacks something", () => {
    for (let seed = 0; seed < RUNS; seed++) run(seed, keepers, quorum, true);
  });
});

function run(seed: number, keepers: number, quorum: number, losesKeepers: boolean) {
  const rnd = random(seed);
  const world = new WriterWorld(rnd, 2, keepers, quorum);
  const refused: string[] = [];
  for (let step = 0; step < STEPS; step++) {
    const at = rnd.int(2);
    const dice = rnd.next();
    if (dice < 0.5) world.commit(at);
    else if (dice < 0.75) {
      const reachable = world.keepers.filter(() => rnd.chance(0.8));
      const refusal = world.order(at, reachable, rnd.chance(0.75) ? "ready" : "dies early");
      if (refusal !== null) refused.push(refusal);
    } else if (dice < 0.83) world.crash(at);
    else if (dice < 0.9) world.stop(at);
    else if (dice < 0.94) world.wipe(at);
    else if (dice < 0.97) world.spoil(at, losesKeepers || rnd.chance(0.5));
    else if (losesKeepers) world.loseKeeper(rnd.int(keepers));
    expect(world.missing(), `seed ${seed}, step ${step}\n${world.told.join("\n")}`).toEqual([]);
  }
  return { world, refused };
}
