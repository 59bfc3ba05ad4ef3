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

export type Held = {
  /** Says that it will be free soon, to whoever waits for it. */
  stopping(): void;
  release(): void;
};

type Holder = { pid: number; url: string; stopping: boolean };

/** How long a holder may take that is stopping, and one of which that will be seen in a moment, ms. */
const PATIENCE_MS = { stopping: 15_000, running: 700 };

/**
 * Takes the data folder for this process. The lock is SQLite's, which is the operating system's: it ends with the process, however that
 * ends, so there is never a stale one.
 */
export async function holdDataFolder(dataDir: string, url: string): Promise<Held> {
  const holderPath = join(dataDir, "up.json");
  const database = new DatabaseSync(join(dataDir, "up.lock"));
  const since = Date.now();
  while (!locks(database)) {
    const holder = readHolder(holderPath);
    if (Date.now() - since > PATIENCE_MS[holder?.stopping === true ? "stopping" : "running"]) {
      const who = holder === null ? "" : `: process ${holder.pid}, ${holder.url}`;
      throw new Failure(`a \`lamplighter up\` is already running on ${dataDir}${who}`, {
        hint: "Use that one, stop it with Ctrl-C, or give this one another folder with --data.",
      });
    }
    await sleep(50);
  }
  const write = (stopping: boolean) =>
    writeFileSync(holderPath, `${JSON.stringify({ pid: process.pid, url, stopping } satisfies Holder)}\n`, {
      mode: 0o600,
    });
  write(false);
  return { stopping: () => write(true), release: () => database.close() };
}

function locks(database: DatabaseSync): boolean {
  try {
    database.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;");
    return true;
  } catch (error) {
    const SQLITE_BUSY = 5;
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error;
    return false;
  }
}

function readHolder(path: string): Holder | null {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Holder;
  } catch {
    return null;
  }
}
