// A vitest reporter that only counts, for the last line of `npm test`. run.ts says where to write.
import { writeFileSync } from "node:fs";
import { relative } from "node:path";
import type { Reporter, TestModule } from "vitest/node";

export interface Tally {
  passed: number;
  failed: number;
  skipped: number;
  /** Test files with skipped tests, and how many. */
  skippedIn: Record<string, number>;
}

export default class TallyReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly unknown[]): void {
    const path = process.env.LAMPLIGHTER_TALLY;
    if (path === undefined) return;
    const tally: Tally = { passed: 0, failed: unhandled.length, skipped: 0, skippedIn: {} };
    for (const module of modules) {
      let failedHere = 0;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === "passed") tally.passed++;
        else if (state === "failed") failedHere++;
        else {
          const file = relative(process.cwd(), module.moduleId);
          tally.skippedIn[file] = (tally.skippedIn[file] ?? 0) + 1;
          tally.skipped++;
        }
      }
      // A file that cannot be loaded, or a hook of a suite that throws, fails no test of its own.
      tally.failed += failedHere > 0 || module.ok() ? failedHere : 1;
    }
    writeFileSync(path, JSON.stringify(tally));
  }
}
