import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../failure.ts";

export const agentDir = (dataDir: string): string => join(dataDir, "agent");
export const tokenPath = (dataDir: string): string => join(dataDir, "root-token");

/**
 * Only its owner sees what is in it. Where the owner is root, workloads run as another user and must get through it to their own folders:
 * they may pass, but not look.
 */
export function makeDataFolder(dataDir: string): void {
  const mode = process.getuid?.() === 0 ? 0o711 : 0o700;
  try {
    mkdirSync(dataDir, { recursive: true, mode });
    chmodSync(dataDir, mode);
  } catch (error) {
    throw new Failure(`cannot use ${dataDir} for the state: ${(error as Error).message}`, { cause: error });
  }
}

export type Held = { release: () => void };

/** A moment's patience: an earlier run may be putting its things away. */
const PATIENCE_MS = 4_000;

/**
 * Takes the data folder for this process. The lock is SQLite's, which is the operating system's: it ends with the process, however that
 * ends, so there is never a stale one.
 */
export async function holdDataFolder(dataDir: string, url: string): Promise<Held> {
  const holderPath = join(dataDir, "up.json");
  const database = new DatabaseSync(join(dataDir, "up.lock"));
  for (const deadline = Date.now() + PATIENCE_MS; ; await sleep(100)) {
    try {
      database.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;");
      break;
    } catch (error) {
      if ((error as { errcode?: number }).errcode !== 5) throw error;
      if (Date.now() < deadline) continue;
      const holder = readHolder(holderPath);
      throw new Failure(
        `a \`lamplighter up\` is already running on ${dataDir}${holder === null ? "" : `: process ${holder.pid}, ${holder.url}`}`,
        {
          hint: "Use that one, stop it with Ctrl-C, or give this one another folder with --data.",
        },
      );
    }
  }
  writeFileSync(holderPath, `${JSON.stringify({ pid: process.pid, url, since: new Date().toISOString() })}\n`, {
    mode: 0o600,
  });
  return { release: () => database.close() };
}

function readHolder(path: string): { pid: number; url: string } | null {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as { pid: number; url: string };
  } catch {
    return null;
  }
}
