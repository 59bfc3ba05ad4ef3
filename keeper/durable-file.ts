import { open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";

/** Replaces a file so that a crash or a power cut leaves either what was there or all of the new, and the new once this has returned. */
export async function replaceFile(path: string, content: string | Buffer, mode = 0o600): Promise<void> {
  const fresh = `${path}.new`;
  const file = await open(fresh, "w", mode);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(fresh, path);
  await syncFolder(dirname(path));
}

/** Makes what was created, renamed or removed in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

export async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true });
}

export async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null)) !== null;
}
