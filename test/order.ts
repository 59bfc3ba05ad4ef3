// In which order test files run: those of whole systems, which wait more than they work, are spread among those that work, the longest first.
import { relative } from "node:path";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** What waits longest, in its order: vitest knows how long a file took only where it has run before, and goes by its size otherwise. */
const LONGEST = [
  "database-outages",
  "database-partitions",
  "engines",
  "chaos",
  "deployments",
  "instance-proxy",
  "lifecycle",
  "instances",
  "database-faults",
  "databases",
  "engine-kills",
  "hosts",
].map((name) => `test/end-to-end/${name}.test.ts`);

export default class Order extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const of = (is: (project: string) => boolean) => sorted.filter(({ project }) => is(project.name));
    const whole = of((project) => project === "end-to-end").sort((a, b) => rank(a) - rank(b));
    // Whoever runs those of `worker` goes on to the next one of them, as long as nothing else comes in between.
    return [
      ...spread(
        whole,
        of((project) => project !== "end-to-end" && project !== "worker"),
      ),
      ...of((project) => project === "worker"),
    ];
  }
}

function rank({ moduleId }: TestSpecification): number {
  const at = LONGEST.indexOf(relative(process.cwd(), moduleId));
  return at === -1 ? LONGEST.length : at;
}

/** Both lists at an even pace. */
function spread<T>(...lists: T[][]): T[] {
  const placed = lists.flatMap((list) => list.map((one, i) => ({ one, at: (i + 0.5) / list.length })));
  return placed.sort((a, b) => a.at - b.at).map(({ one }) => one);
}
