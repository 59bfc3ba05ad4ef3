import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { SourceFailure } from "../source/failure.ts";

const MIB = 1024 * 1024;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** How much memory the rows may take. */
export class MemoryLimit {
  readonly limitMb: number;

  constructor(limitMb: number) {
    this.limitMb = limitMb;
  }

  get usedMb(): number {
    const { heapUsed, external } = process.memoryUsage();
    return (heapUsed + external) / MIB;
  }

  /** @param doing what would need more */
  check(doing: string): void {
    // Garbage that was not collected yet counts too: only what is left after a collection is in use.
    if (this.usedMb <= this.limitMb) return;
    collect();
    const used = this.usedMb;
    if (used > this.limitMb)
      throw new SourceFailure(
        "oom",
        `${doing} needs more than ${this.limitMb} MiB (${Math.ceil(used)} MiB are in use): choose a larger size`,
      );
  }
}
