import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { isAlive, isStopped, Pid, signal } from "../process/pid.ts";
import { killCluster, runningOn } from "./postmaster.ts";

/**
 * How long a writer may go on without a word from the control plane. Two clocks, and whichever says so first: the monotonic one cannot be
 * set, and the wall clock also counts while the machine is suspended.
 */
export const Lease = z.object({
  database: z.string(),
  term: z.int().positive(),
  pgdata: z.string(),
  /** Null from before it is spawned: then it is whichever runs on the data folder. */
  postmaster: Pid.nullable(),
  until_monotonic_ms: z.number(),
  until_wall_ms: z.number(),
});
export type Lease = z.infer<typeof Lease>;

/** What ending a writer may take. It is over by then when the lease is. */
export const STOP_ALLOWANCE_MS = 2_000;

/** Of this machine since it was started, the same in every process. */
export const monotonicMs = (): number => Number(process.hrtime.bigint() / 1_000_000n);

export type Moment = { monotonic: number; wall: number };
export const thisMoment = (): Moment => ({ monotonic: monotonicMs(), wall: Date.now() });

/** What the control plane granted. It counts from when the request for it was *sent*, and the control plane itself cannot have counted from earlier. */
export type Renewal = { sent: Moment; ttlMs: number };

export function leaseOf(
  writer: { database: string; term: number; pgdata: string; postmaster: Pid | null },
  { sent, ttlMs }: Renewal,
): Lease {
  const forMs = Math.max(0, ttlMs - STOP_ALLOWANCE_MS);
  return { ...writer, until_monotonic_ms: sent.monotonic + forMs, until_wall_ms: sent.wall + forMs };
}

export const isOver = (lease: Pick<Lease, "until_monotonic_ms" | "until_wall_ms">, now: Moment): boolean =>
  now.monotonic >= lease.until_monotonic_ms || now.wall >= lease.until_wall_ms;

/** The leases of this host's writers: a file each, which the watchdog reads. */
export class Leases {
  readonly #folder: string;
  #granting: Promise<void> = Promise.resolve();

  constructor(root: string) {
    this.#folder = join(root, "leases");
  }

  /** One after the other: the control plane and keepers may say at the same time that a writer may go on. */
  grant(lease: Lease): Promise<void> {
    const turn = this.#granting.then(async () => {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      const path = this.#pathOf(lease.database);
      await writeFile(`${path}.new`, JSON.stringify(lease), { mode: 0o600 });
      await rename(`${path}.new`, path);
    });
    this.#granting = turn.catch(() => {});
    return turn;
  }

  async drop(database: string): Promise<void> {
    await rm(this.#pathOf(database), { force: true });
  }

  async all(): Promise<Lease[]> {
    const files = await readdir(this.#folder).catch(() => []);
    const texts = files
      .filter((file) => file.endsWith(".json"))
      .map((file) => readFile(join(this.#folder, file), "utf8").catch(() => null));
    return (await Promise.all(texts)).flatMap((text) => {
      const lease = text === null ? null : Lease.safeParse(JSON.parse(text));
      return lease?.success ? [lease.data] : [];
    });
  }

  /** Ends every writer whose lease is over. Answers which. Harmless to do in several processes. */
  async enforce(now: Moment = thisMoment()): Promise<Lease[]> {
    const over = (await this.all()).filter((lease) => isOver(lease, now));
    await Promise.all(
      over.map(async (lease) => {
        await endWriter(lease);
        // A lease that was granted meanwhile is another writer's, and stays.
        const kept = await readFile(this.#pathOf(lease.database), "utf8").catch(() => "");
        if (kept === JSON.stringify(lease)) await this.drop(lease.database);
      }),
    );
    return over;
  }

  #pathOf(database: string): string {
    return join(this.#folder, `${database}.json`);
  }
}

/** As a crash. What is stopped by SIGSTOP does not hear SIGQUIT, and must not be there when it is let go on. */
async function endWriter({ pgdata, postmaster: known }: Lease): Promise<void> {
  const postmaster = known ?? (await runningOn(pgdata));
  if (postmaster === null) return;
  if (await isAlive(postmaster)) {
    signal(postmaster.pid, "SIGQUIT");
    const end = monotonicMs() + STOP_ALLOWANCE_MS / 4;
    while (monotonicMs() < end && !isStopped(postmaster.pid) && (await isAlive(postmaster)))
      await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await killCluster(pgdata, postmaster);
}
