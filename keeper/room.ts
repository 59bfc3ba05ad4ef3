import { statfs } from "node:fs/promises";

/** A segment that is filled, a copy of it should a write fail, and what is written beside them. */
const ROOM_LEAST_BYTES = 40 * 1024 * 1024;

/** Throws, as a write would, when a disk is too full for the log to go on. */
export async function roomAt(folder: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize >= ROOM_LEAST_BYTES) return;
  throw Object.assign(new Error("no space is left on the keeper's disk"), { code: "ENOSPC" });
}
