import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { chmod, mkdir, open, rename, rm, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { z } from "zod";
import type { Account } from "../process/account.ts";
import { bootId } from "../process/pid.ts";
import { giveTo } from "./account.ts";
import { syncAll } from "./archive.ts";
import { endOfLog, readControlFile } from "./control-file.ts";
import { majorOf, mostOfLog } from "./damage.ts";
import type { LocalCluster } from "./ladder.ts";

/** What is remembered of a database beside its data folder, and outlives it. */
export const Mark = z.object({
  /** The highest term that this host was given: nothing is done for a lower one. */
  fence: z.int().nonnegative(),
  /** The term under which the data folder was last opened as a writer. */
  opened: z.int().nonnegative(),
  /** Where the writer listens. Stays the same while it can. */
  port: z.int().nullable(),
  /**
   * The data folder was made, and not all of it need be on disk yet: it counts only while the machine has not been started again since. The boot's
   * id, or why there is none.
   */
  unsynced: z.string().nullable().default(null),
});
export type Mark = z.infer<typeof Mark>;

const UNMARKED: Mark = { fence: 0, opened: 0, port: null, unsynced: null };

const marking = new Map<string, Promise<void>>();

const MOST_SOCKET_PATH = 90;

/** The folder of one database on this host. */
export class Cluster {
  readonly folder: string;
  readonly #account: Account;

  constructor(root: string, database: string, account: Account) {
    this.folder = join(root, "clusters", database);
    this.#account = account;
  }

  get pgdata(): string {
    return join(this.folder, "pgdata");
  }

  /** Where a restore is made until it is complete. */
  get incoming(): string {
    return join(this.folder, "incoming");
  }

  /** What was here before, until the writer of what took its place is ready. */
  get outgoing(): string {
    return join(this.folder, "outgoing");
  }

  get configFile(): string {
    return join(this.folder, "postgresql.conf");
  }

  get logFile(): string {
    return join(this.folder, "postgresql.log");
  }

  /** For its socket: the kernel takes no long paths for one. */
  get socketFolder(): string {
    const wanted = join(this.folder, "run");
    const short = `lamplighter-${createHash("sha256").update(wanted).digest("hex").slice(0, 12)}`;
    return wanted.length > MOST_SOCKET_PATH ? join(tmpdir(), short) : wanted;
  }

  async make(): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o711 });
    // Somebody may have emptied the disk while a start was under way, and what it made then is its own alone.
    await chmod(this.folder, 0o711);
  }

  mark(): Mark {
    const path = join(this.folder, "mark.json");
    return existsSync(path) ? Mark.parse(JSON.parse(readFileSync(path, "utf8"))) : UNMARKED;
  }

  /** Durable once this has returned. */
  setMark(change: Partial<Mark>): Promise<Mark> {
    const path = join(this.folder, "mark.json");
    // One after the other, whoever changes it, or what one has raised another would lower again.
    const turn = (marking.get(path) ?? Promise.resolve()).then(async () => {
      const mark = { ...this.mark(), ...change };
      await writeDurably(path, `${JSON.stringify(mark)}\n`, 0o600);
      return mark;
    });
    const settled = turn.then(
      () => {},
      () => {},
    );
    marking.set(path, settled);
    void settled.then(() => marking.get(path) === settled && marking.delete(path));
    return turn;
  }

  /** Written by the agent, read by PostgreSQL. */
  async write(name: string, content: string, mode = 0o640): Promise<void> {
    const path = join(this.folder, name);
    const file = await open(path, "w", mode);
    await file.writeFile(content).finally(() => file.close());
    await giveTo(this.#account, path);
  }

  /** The copy that is here, as far as it can be told without starting it. */
  async local(): Promise<LocalCluster | null> {
    const { pgdata } = this;
    if (!existsSync(pgdata)) return null;
    const { opened, unsynced } = this.mark();
    if (unsynced !== null && unsynced !== bootId()) return { state: "restoring" };
    if (existsSync(join(pgdata, "recovery.signal"))) return { state: "restoring" };
    const control = await readControlFile(pgdata);
    if (control === null) return damaged("its control file (global/pg_control) is missing or damaged");
    if ((await majorOf(pgdata)) === null) return damaged("which version made it (PG_VERSION) cannot be read");
    const { systemIdentifier, timeline } = control;
    const head = { systemIdentifier, timeline, openedTerm: opened };
    const state = control.state === "shut down" ? "clean" : "crashed";
    const log = state === "clean" ? endOfLog(pgdata, control) : mostOfLog(pgdata, control);
    const end = await log.catch((error: Error) => error);
    return typeof end === "bigint" ? { ...head, state, end } : damaged(`its log: ${end.message}`);
  }

  /** An empty place for a new data folder. */
  async clearIncoming(): Promise<string> {
    await rm(this.incoming, { recursive: true, force: true });
    await mkdir(this.incoming, { mode: 0o700 });
    await giveTo(this.#account, this.incoming);
    return this.incoming;
  }

  /** The data folder is from now on what was made in `incoming`. What it was opened as before says nothing of it. */
  async acceptIncoming(): Promise<void> {
    const { pgdata, outgoing } = this;
    // What was put aside stays there until something stands in its place. What is in its place now never did.
    const aside = existsSync(outgoing) ? join(this.folder, "failed") : outgoing;
    await rm(join(this.folder, "failed"), { recursive: true, force: true });
    // The old one goes in one step: half of it must never be taken for a copy.
    await rename(pgdata, aside).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
    await this.setMark({ opened: 0, unsynced: bootId() ?? "this system does not tell" });
    await rename(this.incoming, pgdata);
    await syncFolder(this.folder);
    if (aside !== outgoing) void rm(aside, { recursive: true, force: true }).catch(() => {});
  }

  /** The writer is ready: what was here before it goes, and what was made in its place is brought onto the disk. Nobody has to wait for it. */
  async settle(): Promise<void> {
    await rm(this.outgoing, { recursive: true, force: true });
    const { opened, unsynced } = this.mark();
    if (unsynced === null) return;
    await syncAll(this.pgdata);
    // Another one may have taken its place meanwhile.
    if (this.mark().opened === opened) await this.setMark({ unsynced: null });
  }

  async remove(): Promise<void> {
    for (const folder of [this.folder, this.socketFolder]) await rm(folder, { recursive: true, force: true });
    await rmdir(dirname(this.folder)).catch(() => {});
  }
}

const damaged = (why: string): LocalCluster => ({ state: "damaged", why });

export async function writeDurably(path: string, content: string, mode: number): Promise<void> {
  const file = await open(`${path}.new`, "w", mode);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
  await syncFolder(dirname(path));
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  await folder.sync().finally(() => folder.close());
}
