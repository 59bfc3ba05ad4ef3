// In which order test files run: those that wait and those that work at the same time, and what waits longest first.
import { basename, relative } from "node:path";
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

/** Several of those at once are too much for an engine. */
const OF_CONTAINERS = /docker|podman|container/;

export default class Order extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
    // Whoever runs one of `worker` goes on to the next one, as long as nothing else comes in between.
    const { worker = [], ...lists } = Object.groupBy(sorted, list);
    return [...spread(Object.values(lists) as TestSpecification[][]), ...worker];
  }
}

const list = ({ project, moduleId }: TestSpecification): string =>
  project.name !== "end-to-end" && OF_CONTAINERS.test(basename(moduleId)) ? "of containers" : project.name;

function rank({ moduleId }: TestSpecification): number {
  const at = LONGEST.indexOf(relative(process.cwd(), moduleId));
  return at === -1 ? LONGEST.length : at;
}

/** All lists at an even pace. */
function spread<T>(lists: T[][]): T[] {
  const placed = lists.flatMap((list) => list.map((one, i) => ({ one, at: (i + 0.5) / list.length })));
  return placed.sort((a, b) => a.at - b.at).map(({ one }) => one);
}
