// A disk that can be filled and emptied again.
import { execFileSync } from "node:child_process";
import { chmodSync, closeSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";

export class SmallDisk {
  readonly folder: string;

  /** Mounts it; what was in the folder is hidden meanwhile. */
  constructor(folder: string, megabytes: number) {
    this.folder = folder;
    mkdirSync(folder, { recursive: true });
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", folder]);
    chmodSync(folder, 0o711);
  }

  /** To the last byte. */
  fill(): void {
    const file = openSync(join(this.folder, "filling"), "a");
    try {
      for (const size of [1024 ** 2, 4096]) {
        const bytes = Buffer.alloc(size, 1);
        try {
          for (;;) if (writeSync(file, bytes) < size) break;
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
        }
      }
    } finally {
      closeSync(file);
    }
  }

  empty(): void {
    rmSync(join(this.folder, "filling"), { force: true });
  }

  get left(): number {
    const { bavail, bsize } = statfsSync(this.folder);
    return bavail * bsize;
  }

  remove(): void {
    execFileSync("umount", ["-l", this.folder]);
  }
}
