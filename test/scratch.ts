// Temporary folders of tests. Projects that make some have `remove-scratch.ts` among their `setupFiles`.
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const made: string[] = [];

/** A folder that the user PostgreSQL runs as can get to. It goes after the tests of a file, or with the process. */
export function scratch(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `lamp-${name}-`));
  chmodSync(folder, 0o711);
  if (made.length === 0) process.once("exit", removeScratch);
  made.push(folder);
  return folder;
}

export function removeScratch(): void {
  for (const folder of made.splice(0)) rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
}
