import { chmod, chown, mkdir, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isPlainPath } from "../../contract/volume-rules.ts";
import type { WorkloadSpec } from "../../contract/workload.ts";
import type { Account } from "./account.ts";
import { removeFolder } from "./folder.ts";

/**
 * Configs and secrets as files, in a folder that the agent owns and the program only reads; `$LAMPLIGHTER_FILES` names it. Not in the working folder: what
 * is there belongs to the program, and an agent that is root must not write along its symbolic links.
 */
export async function writeFiles(
  folder: string,
  files: NonNullable<WorkloadSpec["files"]>,
  account: Account,
): Promise<void> {
  await removeFolder(folder);
  await mkdir(dirname(folder), { recursive: true, mode: 0o711 });
  await ownFolder(folder, account);
  for (const { destination, content } of files) {
    const parts = destination.split("/").slice(0, -1);
    for (let depth = 1; depth <= parts.length; depth++)
      await ownFolder(join(folder, ...parts.slice(0, depth)), account);
    const path = join(folder, destination);
    await writeFile(`${path}.new`, content, { mode: 0o400 });
    if (account) await chown(`${path}.new`, account.uid, account.gid);
    await rename(`${path}.new`, path);
  }
}

/** The agent's own; the program's group may look into it. */
async function ownFolder(path: string, account: Account): Promise<void> {
  await mkdir(path, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
  if (account === null) return;
  await chown(path, process.getuid?.() ?? 0, account.gid);
  await chmod(path, 0o750);
}

/** The first destination that leads out of the folder, or that is a file and a folder at once; null when all are well. */
export function badDestination(files: NonNullable<WorkloadSpec["files"]>): string | null {
  const all = files.map(({ destination }) => destination);
  const bad = all.find(
    (path, i) => !isPlainPath(path) || all.indexOf(path) !== i || all.some((other) => other.startsWith(`${path}/`)),
  );
  return bad ?? null;
}
