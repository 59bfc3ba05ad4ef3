import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

/**
 * Keeps a second keeper off the folder for as long as this process lives: two would write the same segments. The lock is SQLite's on a file of
 * its own, because Node has no flock; it ends with the process, however that ends.
 */
export function holdFolder(dataDir: string): { release(): void } {
  const pidPath = join(dataDir, "keeper.pid");
  const db = new DatabaseSync(join(dataDir, "hold.db"));
  try {
    db.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE; COMMIT;");
  } catch (error) {
    db.close();
    if (!/locked|busy/i.test((error as Error).message)) throw error;
    const pid = readFileSync(pidPath, "utf8").trim();
    throw new Error(
      `Another keeper (process ${pid}) works on ${dataDir}. Stop it first, or give this one a folder of its own.`,
    );
  }
  writeFileSync(pidPath, `${process.pid}\n`);
  return { release: () => db.close() };
}
